"""What a class did, as numbers: small rows in, one record out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from tlcourse.grading.records import CellGrade, Flag, NotebookResult, Result, Status
from tlcourse.grading.report.items import Item, Tally

Cell = tuple[str, str]  # notebook and grade id
Done = tuple[str, str, str]  # student, notebook and grade id

_WITH_GRADES: frozenset[Status] = frozenset({"graded", "stopped"})
_OF_QUESTIONS = ("manual", "not attempted")  # without a report: one left empty
_MAX_FLAGS = 5
_MAX_TEXT = 300
_BAR_WIDTHS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_MAX_BARS = 20


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Histogram(_Record):
    """Submissions by points: bar ``i`` counts ``edges[i] <= points < edges[i + 1]``.

    The last bar holds full marks where they are a multiple of the width.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Row(_Record):
    """One submission, without its notebooks.

    Args:
        student: the student's id.
        status: see :data:`tlcourse.grading.records.Status`.
        message: why it is not ``graded``.
        points: earned by machine; ``None`` where nothing could be graded.
        notebooks: names of those that have an autograded file.
        flags: the first few; ``more_flags`` were left out.
        seconds: how long a worker was busy with it.
    """

    student: str
    status: Status
    message: str
    points: float | None
    notebooks: tuple[str, ...]
    flags: tuple[Flag, ...]
    more_flags: int
    seconds: float


class Waiting(_Record):
    """Answers to one question that a person must still grade."""

    notebook: str
    grade_id: str
    answers: int


class ClassReport(_Record):
    """What one assignment's submissions amount to.

    Args:
        assignment: its name.
        statuses: how many submissions ended in each status.
        max_points: full marks of what a machine grades.
        points: median and mean of the graded submissions, and their histogram.
        items: the exercises, in their order.
        waiting: questions with answers that wait for a person.
        seconds: a worker's seconds for a submission: median, 95 %, and all together.
        rows: every submission, by student.
    """

    assignment: str
    statuses: dict[Status, int]
    max_points: float
    median_points: float | None
    mean_points: float | None
    histogram: Histogram | None
    items: tuple[Item, ...]
    waiting: tuple[Waiting, ...]
    median_seconds: float | None
    slow_seconds: float | None
    all_seconds: float
    rows: tuple[Row, ...]


def describe(
    assignment: str, results: Iterable[Result], by_hand: Set[Done] = frozenset()
) -> ClassReport:
    """Everything the report says, from one pass over the results.

    Args:
        assignment: its name.
        results: in any order; only a small row of each is kept.
        by_hand: what a person has graded already.
    """
    gathered = _Gathered()
    for result in results:
        gathered.add(result, by_hand)
    return gathered.report(assignment)


@dataclass
class _Gathered:
    rows: list[Row] = field(default_factory=list)
    tallies: dict[Cell, Tally] = field(default_factory=dict)
    waiting: Counter[Cell] = field(default_factory=Counter)

    def add(self, result: Result, by_hand: Set[Done]) -> None:
        """Take from a result what is needed, and forget the rest."""
        graded = [n for n in result.notebooks if n.status in _WITH_GRADES]
        earned: dict[Cell, float] = {}
        for notebook in result.notebooks:
            for grade in notebook.grades:
                self._add_grade(result.student, notebook, grade, earned, by_hand)
        for cell, points in earned.items():
            self.tallies[cell].rest[result.student] = sum(earned.values()) - points
        points = sum(earned.values()) if graded else None
        self.rows.append(_row(result, points))

    def _add_grade(
        self,
        student: str,
        notebook: NotebookResult,
        grade: CellGrade,
        earned: dict[Cell, float],
        by_hand: Set[Done],
    ) -> None:
        if notebook.status not in _WITH_GRADES or not grade.max_points:
            return
        cell = (notebook.name, grade.grade_id)
        if grade.auto is None:
            self.waiting[cell] += (student, *cell) not in by_hand
        elif grade.report or grade.status not in _OF_QUESTIONS:
            tally = self.tallies.setdefault(cell, Tally(*cell, grade.max_points))
            tally.add(student, grade)
            earned[cell] = grade.auto

    def report(self, assignment: str) -> ClassReport:
        """All of it as one record."""
        rows = sorted(self.rows, key=lambda row: row.student)
        points = np.array([r.points for r in rows if r.points is not None])
        seconds = np.array([r.seconds for r in rows if r.seconds > 0])
        full = float(sum(t.max_points for t in self.tallies.values()))
        return ClassReport(
            assignment=assignment,
            statuses=dict(Counter(r.status for r in rows).most_common()),
            max_points=full,
            median_points=_or_none(np.median, points),
            mean_points=_or_none(np.mean, points),
            histogram=histogram(points, full) if len(points) and full else None,
            items=tuple(t.item() for t in self.tallies.values()),
            waiting=tuple(
                Waiting(notebook=n, grade_id=g, answers=count)
                for (n, g), count in self.waiting.items()
                if count
            ),
            median_seconds=_or_none(np.median, seconds),
            slow_seconds=_or_none(lambda s: np.quantile(s, 0.95), seconds),
            all_seconds=float(seconds.sum()),
            rows=tuple(rows),
        )


def histogram(points: np.ndarray, full: float) -> Histogram:
    """Bars of a round width, at most :data:`_MAX_BARS` of them and one for the top."""
    width = next((w for w in _BAR_WIDTHS if full / w <= _MAX_BARS), full / _MAX_BARS)
    # Points are hundredths: rounding keeps 0.3 / 0.1 from falling into a lower bar.
    index = np.floor(np.round(np.clip(points, 0, full) / width, 6)).astype(int)
    bars = int(np.floor(round(full / width, 6))) + 1
    counts = np.bincount(index, minlength=bars)
    edges = np.round(np.arange(bars + 1) * width, 6)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def _row(result: Result, points: float | None) -> Row:
    flags = tuple(
        Flag(kind=_cut(f.kind), where=_cut(f.where), what=_cut(f.what))
        for f in result.flags[:_MAX_FLAGS]
    )
    return Row(
        student=result.student,
        status=result.status,
        message=_cut(result.message),
        points=points,
        notebooks=tuple(n.name for n in result.notebooks if n.notebook is not None),
        flags=flags,
        more_flags=len(result.flags) - len(flags),
        seconds=result.seconds,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _or_none(statistic: Any, values: np.ndarray) -> float | None:
    return float(statistic(values)) if len(values) else None
