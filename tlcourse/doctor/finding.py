"""What a check of the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["OK", "NOTE", "FAIL"]

INSTALL = "Run `uv sync` in the course folder."


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        level: ``OK``; ``NOTE``: something is limited; ``FAIL``: it cannot run.
        what: what was looked at, and what was seen.
        mend: how to put it right; empty when all is well.
    """

    level: Level
    what: str
    mend: str = ""


def short(error: BaseException) -> str:
    """Type and first line of an error."""
    lines = str(error).strip().splitlines()
    return (
        f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
    )
