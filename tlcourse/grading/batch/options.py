"""How a class is to be graded, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tlcourse.grading.records import Rule
from tlcourse.sandbox.limits import Limits


@dataclass(frozen=True)
class Options:
    """How a class is to be graded.

    Args:
        students: only these; ``None`` for everybody.
        workers: processes on this computer.
        scheduler: address of a dask scheduler, in place of ``workers``.
        regrade: also what is done already.
        rule: see :class:`Assignment`.
        limits: what a submission may use.
        unsafe: run student code without isolation.
    """

    students: tuple[str, ...] | None = None
    workers: int = 1
    scheduler: str | None = None
    regrade: bool = False
    rule: Rule = "corrected"
    limits: Limits = Limits()
    unsafe: bool = False


@dataclass(frozen=True)
class Summary:
    """What a run has come to.

    Args:
        counts: submissions by status.
        kept: how many of them were graded by an earlier run.
        errors: (student, message) of those that the grader itself failed on.
        html: the report, for people.
        json: the report, for programs.
    """

    counts: Mapping[str, int]
    kept: int
    errors: tuple[tuple[str, str], ...]
    html: Path
    json: Path


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Args:
        todo: students whose submissions would be graded.
        done: students whose results would be kept.
        isolation: what would keep student code from everything else.
        isolated: whether it would.
    """

    todo: tuple[str, ...]
    done: tuple[str, ...]
    isolation: str
    isolated: bool
