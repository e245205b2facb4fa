"""The learner's progress: a small local file that only ever grows.

One JSON object per line. Appending a short line is one write, so two notebooks can
record at once and a crash loses at most the line being written. Lines that cannot
be read are left in the file and counted, never deleted.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from tlcourse.exercises.spec import NUM_HINTS

_unsaved: dict[Path, list[dict[str, Any]]] = {}


def progress_file() -> Path:
    """Where progress is kept: in ``TLCOURSE_HOME``, else the user's data folder."""
    home = os.environ.get("TLCOURSE_HOME")
    folder = Path(home) if home else user_data_path("tlcourse", appauthor=False)
    return folder / "progress.jsonl"


def record(kind: str, exercise: str, **facts: Any) -> str | None:
    """Append one event; returns why it could not be saved, or ``None``.

    A learner whose folder is read-only must still be able to check answers, so
    this does not raise; the event is remembered until Python ends.

    Args:
        kind: ``attempt`` or ``hint``.
        exercise: the exercise's id.
        **facts: what to remember, JSON-able.
    """
    event = {"kind": kind, "exercise": exercise, "at": int(time.time()), **facts}
    path = progress_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A crash may have left half a line: the newline in front ends it.
        line = f"\n{json.dumps(event)}\n".encode()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)
    except OSError as error:
        _unsaved.setdefault(path, []).append(event)
        return f"progress was not saved ({error.strerror}: {path})"
    return None


def events() -> tuple[list[dict[str, Any]], int]:
    """All readable events, unsaved ones last, and how many lines are unreadable."""
    try:
        raw = progress_file().read_bytes()
    except OSError:
        raw = b""
    good, bad = [], 0
    for line in filter(bytes.strip, raw.split(b"\n")):
        try:
            event = json.loads(line)
            if not isinstance(event["exercise"], str) or "kind" not in event:
                raise ValueError
            good.append(event)
        except (ValueError, KeyError, TypeError, RecursionError):
            bad += 1
    return good + _unsaved.get(progress_file(), []), bad


@dataclass
class Standing:
    """Where a learner stands with one exercise."""

    attempts: int = 0
    hints: int = 0
    best: float = 0.0  # share of the points, 0 to 1
    misconceptions: dict[str, int] = field(default_factory=dict)  # times met

    @property
    def open_misconceptions(self) -> tuple[str, ...]:
        """Mistakes met and, as long as the exercise is not solved, still open."""
        return () if self.best == 1 else tuple(self.misconceptions)


def standings(happened: Iterable[dict[str, Any]]) -> dict[str, Standing]:
    """Attempts, hints, best score and misconceptions by exercise id."""
    found: dict[str, Standing] = {}
    for event in happened:
        standing = found.setdefault(event["exercise"], Standing())
        if event["kind"] == "hint":
            standing.hints = max(
                standing.hints, _number(event.get("number"), NUM_HINTS)
            )
        elif event["kind"] == "attempt":
            standing.attempts += 1
            standing.best = max(standing.best, _number(event.get("score"), 1))
            name = event.get("misconception")
            if isinstance(name, str):
                count = standing.misconceptions.get(name, 0)
                standing.misconceptions[name] = count + 1
    return found


def _number(value: Any, most: int) -> float:
    """A number in ``[0, most]``, whatever stands in the file."""
    good = isinstance(value, int | float) and 0 <= value <= most  # NaN is not
    return value if good else 0
