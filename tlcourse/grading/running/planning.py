"""What is special in a notebook, and what became of its cells."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tlcourse.grading.running.questions import Question

Status = Literal["run", "late", "ended", "not run"]


class Clock:
    """The time of a whole submission; it starts with its first kernel."""

    def __init__(self, seconds: float) -> None:
        """Stop ``seconds`` after :meth:`start`."""
        self._seconds, self._until = seconds, 0.0

    def start(self) -> None:
        """Start, the first time only."""
        self._until = self._until or time.monotonic() + self._seconds

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._until - time.monotonic() if self._until else self._seconds


@dataclass
class CellRun:
    """What became of one code cell.

    Args:
        status: ``run`` covers errors; ``late`` was interrupted; ``ended`` took the
            kernel with it.
        why: the sentence's end for the last three: "used more memory than ...".
        failed: there was an error, shown or not.
        values: the texts of the values that it showed, cleared or not.
        cut: how much of its outputs was left out, if anything was.
        observed: for a check cell, what the kernel answered: a run, or its end.
        subverted: a canary did not do what it must, here or before.
    """

    status: Status = "not run"
    why: str = ""
    failed: bool = False
    values: tuple[str, ...] = ()
    cut: str = ""
    observed: Mapping[str, Any] | None = None
    subverted: bool = False


@dataclass(frozen=True)
class Plan:
    """What is special in a notebook, by the index of the cell.

    Args:
        questions: the kit's check cells.
        tests: test cells around which canaries run.
        own_names: names that the teacher's cells bind; see canaries.
    """

    questions: Mapping[int, Question] = field(default_factory=dict)
    tests: frozenset[int] = frozenset()
    own_names: frozenset[str] = frozenset()
