"""Exercises that judge themselves and know which mistake was made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tlcourse.exercises import store
from tlcourse.exercises.catalog import (
    UnknownExercise,
    all_exercises,
    get,
    get_probe,
    has_keys,
)
from tlcourse.exercises.feedback import Report
from tlcourse.exercises.judging import judge, verdict
from tlcourse.exercises.observing import observe
from tlcourse.exercises.overview import Progress
from tlcourse.exercises.spec import (
    NUM_HINTS,
    Case,
    Exercise,
    Key,
    Limits,
    Mutant,
    Probe,
    Property,
    Tolerance,
)

__all__ = [
    "Case",
    "Exercise",
    "Key",
    "Limits",
    "Mutant",
    "Probe",
    "Progress",
    "Property",
    "Report",
    "Tolerance",
    "UnknownExercise",
    "all_exercises",
    "check",
    "get",
    "get_probe",
    "hint",
    "judge",
    "progress",
    "remember",
]

PUBLIC_SEED = 0  # published checks use it; a teacher's seed is private


def check(exercise_id: str, candidate: Any) -> Report:
    """Check an answer and remember the attempt.

    Args:
        exercise_id: for example ``"losses.cross_entropy"``.
        candidate: the function or class you wrote, itself: ``check(id, my_loss)``.

    Returns:
        A report that shows the points, the likely mistake, and the next hint. Where
        answers are graded, in a sandbox, it says that the grader checks them.

    Raises:
        UnknownExercise: no such id.
    """
    if not has_keys():
        return _left_to_the_grader(get_probe(exercise_id))
    exercise = get(exercise_id)
    cases = exercise.probe.make(PUBLIC_SEED)
    run = observe(exercise.probe, candidate, cases, guarded=True)
    return remember(verdict(exercise, run, cases, PUBLIC_SEED))


def _left_to_the_grader(probe: Probe) -> Report:
    message = "The grader checks this answer, outside your notebook."
    return Report(probe.id, probe.title, "not run", 0.0, probe.points, message=message)


def remember(report: Report) -> Report:
    """Record an attempt; the report then knows the next hint, and what went wrong."""
    unsaved = None
    if report.status not in ("not attempted", "not run"):
        unsaved = store.record(
            "attempt",
            report.exercise,
            score=report.score,
            status=report.status,
            misconception=report.misconception,
        )
    used = _hints_used(report.exercise)
    if unsaved:
        report = report.saying(f"{report.message} ({unsaved})".strip())
    return replace(report, next_hint=used + 1 if used < NUM_HINTS else None)


def _hints_used(exercise_id: str) -> int:
    standing = store.standings(store.events()[0]).get(exercise_id)
    return int(standing.hints) if standing else 0


class Hint(str):
    """A hint that shows itself as text."""

    def __repr__(self) -> str:
        return str(self)


def hint(exercise_id: str) -> Hint:
    """The next of three hints: a question, the formula, almost the code.

    Using one is recorded. After the third, the third is repeated.

    Raises:
        UnknownExercise: no such id.
    """
    probe = get_probe(exercise_id)
    number = min(_hints_used(probe.id) + 1, NUM_HINTS)
    unsaved = store.record("hint", probe.id, number=number)
    text = f"Hint {number} of {NUM_HINTS}: {probe.hints[number - 1]}"
    return Hint(f"{text} ({unsaved})" if unsaved else text)


def progress() -> Progress:
    """Points, attempts and open misconceptions of every exercise."""
    return Progress.read()
