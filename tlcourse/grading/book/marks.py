"""What stands in the gradebook: points and comments, those of people included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgrader.api import (
    Assignment,
    BaseCell,
    Comment,
    Grade,
    Notebook,
    SubmittedAssignment,
    SubmittedNotebook,
)
from sqlalchemy import Select, create_engine, inspect, select
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from tlcourse.grading.book.courses import Course

Cell = tuple[str, str]  # notebook and grade id


@dataclass(frozen=True)
class Mark:
    """What the gradebook says of one graded cell.

    Args:
        score: points, extra credit included; 0 while nobody has graded it.
        max_points: full marks.
        by_hand: whether a person gave or changed the points.
        waiting: whether a person must still grade it.
    """

    score: float
    max_points: float
    by_hand: bool
    waiting: bool


@dataclass(frozen=True)
class Marks:
    """One student's assignment in the gradebook.

    Args:
        cells: marks by notebook and grade id.
        comments: a person's comments by notebook and grade id.
        penalties: points taken off for being late, by notebook.
    """

    cells: dict[Cell, Mark]
    comments: dict[Cell, str]
    penalties: dict[str, float]


class MarksReader:
    """Reads the marks of one assignment; a context manager with one connection."""

    def __init__(self, course: Course, assignment: str) -> None:
        """Connect to the course's gradebook; nothing is ever written to it."""
        self._engine = create_engine(course.db_url)
        self._session = Session(self._engine)
        self._assignment = assignment
        file = self._engine.url.database
        missing = self._engine.name == "sqlite" and not Path(file or "").is_file()
        # Connecting would make an empty file, which nbgrader takes for a gradebook.
        self._empty = missing or not inspect(self._engine).has_table("grade")

    def __enter__(self) -> MarksReader:
        """Nothing more to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the connection back."""
        self._session.close()
        self._engine.dispose()

    def of(self, student: str) -> Marks:
        """One student's marks; empty where the gradebook knows none."""
        theirs = SubmittedAssignment.student_id == student
        cells = {
            (notebook, cell): Mark(
                score=grade.score or 0.0,
                max_points=grade.max_score or 0.0,
                by_hand=grade.manual_score is not None,
                waiting=grade.needs_manual_grade,
            )
            for notebook, cell, grade in self._rows(Grade, Grade, theirs)
        }
        comments = {
            (notebook, cell): text
            for notebook, cell, text in self._rows(
                Comment, Comment.manual_comment, theirs
            )
            if text
        }
        taken = SubmittedNotebook.late_submission_penalty
        query = self._submitted(select(Notebook.name, taken)).where(theirs)
        penalties = {name: points for name, points in self._run(query) if points}
        return Marks(cells, comments, penalties)

    def by_hand(self) -> set[tuple[str, str, str]]:
        """(student, notebook, grade id) of everything that a person has graded."""
        graded = Grade.manual_score.is_not(None) & Grade.needs_manual_grade.is_(False)
        rows = self._rows(Grade, SubmittedAssignment.student_id, graded)
        return {(student, notebook, cell) for notebook, cell, student in rows}

    def _rows(self, table: Any, value: Any, condition: Any) -> Iterable[Any]:
        """Notebook, cell and ``value`` for rows of grades or comments."""
        query = self._submitted(select(Notebook.name, BaseCell.name, value))
        query = query.join(table, table.notebook_id == SubmittedNotebook.id)
        query = query.join(BaseCell, table.cell_id == BaseCell.id)
        return self._run(query.where(condition))

    def _run(self, query: Select) -> Iterable[Any]:
        return () if self._empty else self._session.execute(query)

    def _submitted(self, query: Select) -> Select:
        """The query, over the submitted notebooks of this assignment."""
        return (
            query.select_from(SubmittedNotebook)
            .join(Notebook, SubmittedNotebook.notebook_id == Notebook.id)
            .join(
                SubmittedAssignment,
                SubmittedNotebook.assignment_id == SubmittedAssignment.id,
            )
            .join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
            .where(Assignment.name == self._assignment)
        )
