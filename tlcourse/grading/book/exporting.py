"""Grades as tables for other systems: plain CSV, Canvas, Moodle.

Each is an nbgrader exporter, so that this works too:
``nbgrader export --to grades.csv
--exporter=tlcourse.grading.book.exporting.CanvasExporter``

A cell that a spreadsheet would take for a formula starts with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from nbgrader.api import Assignment, Gradebook, Student, SubmittedAssignment
from nbgrader.plugins import ExportPlugin
from traitlets import Unicode

from tlcourse.files import write_whole
from tlcourse.grading.book.courses import Course, CourseError, opened

Cell = str | float | datetime | None

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Score(NamedTuple):
    """What one student has for one assignment.

    Args:
        timestamp: when it was handed in, if known.
        raw: the sum of the points.
        penalty: what is taken off for being late.
        unfinished: whether a person still has to grade a part.
    """

    timestamp: datetime | None
    raw: float
    penalty: float
    unfinished: bool

    @property
    def final(self) -> float:
        """Points after the penalty, never below zero."""
        return max(0.0, self.raw - self.penalty)


class _TableExporter(ExportPlugin):
    """Writes one table, in one step."""

    to = Unicode("grades.csv", help="file to write").tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        """What ``nbgrader export`` calls."""
        for remark in self.write(gradebook):
            self.log.warning(remark)

    def write(self, gradebook: Gradebook) -> list[str]:
        """Write the table; a crash leaves the old file or the new one.

        Returns:
            Sentences that the teacher should read.
        """
        wanted, only = set(map(str, self.assignment)), set(map(str, self.student))
        assignments = [
            a for a in gradebook.assignments if not wanted or a.name in wanted
        ]
        students = [s for s in gradebook.students if not only or s.id in only]
        scores = _scores(gradebook, {a.id for a in assignments})
        _write(Path(self.to), self.rows(assignments, students, scores))
        unfinished = sum(score.unfinished for score in scores.values())
        who = "submission waits" if unfinished == 1 else "submissions wait"
        by_hand = f"{unfinished} {who} for a person's points."
        return [by_hand] * bool(unfinished) + self.remarks(assignments)

    def remarks(self, assignments: Sequence[Assignment]) -> list[str]:
        """What the receiving system needs to be told."""
        return []

    def rows(
        self,
        assignments: Sequence[Assignment],
        students: Sequence[Student],
        scores: dict[tuple[str, str], Score],
    ) -> Iterator[Sequence[Cell]]:
        """The table's rows, header first."""
        raise NotImplementedError


class CsvExporter(_TableExporter):
    """nbgrader's own columns, one row for each assignment and student."""

    def rows(self, assignments, students, scores):  # noqa: D102
        yield (
            *("assignment", "duedate", "timestamp", "student_id", "last_name"),
            *("first_name", "email", "raw_score", "late_submission_penalty"),
            *("score", "max_score"),
        )
        nothing = Score(None, 0.0, 0.0, False)
        for assignment in assignments:
            for student in students:
                score = scores.get((assignment.id, student.id), nothing)
                yield (
                    *(assignment.name, assignment.duedate, score.timestamp),
                    *(student.id, student.last_name, student.first_name),
                    *(student.email, score.raw, score.penalty, score.final),
                    assignment.max_score,
                )


class CanvasExporter(_TableExporter):
    """Canvas's gradebook import: a row a student, a column an assignment.

    The student's id is the SIS login ID; nbgrader's ``lms_user_id``, where there is
    one, is Canvas's own ID. An empty cell leaves what Canvas has.
    """

    def rows(self, assignments, students, scores):  # noqa: D102
        names = [assignment.name for assignment in assignments]
        yield ("Student", "ID", "SIS User ID", "SIS Login ID", "Section", *names)
        points = [assignment.max_score for assignment in assignments]
        yield ("Points Possible", "", "", "", "", *points)
        for student in students:
            own = [scores.get((a.id, student.id)) for a in assignments]
            yield (
                *(_sorted_name(student), student.lms_user_id, "", student.id, ""),
                *(score and score.final for score in own),
            )

    def remarks(self, assignments):  # noqa: D102
        return [
            f"Canvas skips a column with `final` in its name: {assignment.name}. "
            "Give the column another name, and Canvas's assignment the same."
            for assignment in assignments
            if "final" in assignment.name.lower()
        ]


class MoodleExporter(_TableExporter):
    """Moodle's grade import: choose the column that identifies users at the import.

    Moodle takes an empty cell for "no grade" and refuses a whole file for one user
    that it does not know: who handed in nothing has no row.
    """

    def rows(self, assignments, students, scores):  # noqa: D102
        names = [assignment.name for assignment in assignments]
        people = ("First name", "Last name", "Username", "ID number", "Email address")
        yield (*people, *names)
        for student in students:
            own = [scores.get((a.id, student.id)) for a in assignments]
            if any(own):
                yield (
                    *(student.first_name, student.last_name, student.id),
                    *(student.lms_user_id, student.email),
                    *(score and score.final for score in own),
                )

    def remarks(self, assignments):  # noqa: D102
        maxima = ", ".join(f"{a.name} {a.max_score:g}" for a in assignments)
        return [f"Moodle's grade items must allow these points: {maxima}."]


_EXPORTERS = {"csv": CsvExporter, "canvas": CanvasExporter, "moodle": MoodleExporter}


def export(
    course: Course,
    assignment: str | None,
    to: Literal["csv", "canvas", "moodle"],
    path: Path,
) -> list[str]:
    """Write a course's grades to a file.

    Args:
        course: whose gradebook is read.
        assignment: only this one; ``None`` for all.
        to: the receiving system.
        path: the file, made or replaced in one step.

    Returns:
        Sentences that the teacher should read.

    Raises:
        CourseError: the gradebook has no such assignment, or there is none at all.
    """
    with opened(course), Gradebook(course.db_url, course.course_id) as book:
        names = [found.name for found in book.assignments]
        if assignment not in (None, *names) or not names:
            known = f"It has {', '.join(names)}." if names else "It is empty."
            raise CourseError(f"The gradebook has no {assignment or 'grades'}. {known}")
        chosen = [] if assignment is None else [assignment]
        return _EXPORTERS[to](to=str(path), assignment=chosen).write(book)


def _scores(book: Gradebook, assignments: set[str]) -> dict[tuple[str, str], Score]:
    """By assignment's id and student's id, in one query."""
    found = book.db.query(
        SubmittedAssignment.assignment_id,
        SubmittedAssignment.student_id,
        SubmittedAssignment.timestamp,
        SubmittedAssignment.score,
        SubmittedAssignment.late_submission_penalty,
        SubmittedAssignment.needs_manual_grade,
    )
    return {(a, s): Score(*rest) for a, s, *rest in found if a in assignments}


def _sorted_name(student: Student) -> str:
    return (
        ", ".join(filter(None, (student.last_name, student.first_name))) or student.id
    )


def _safe(cell: Cell) -> str:
    """A cell's text. Numbers stay numbers; text never starts a formula."""
    if cell is None:
        return ""
    if isinstance(cell, int | float):
        return f"{cell:.10g}"
    text = str(cell)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _write(path: Path, rows: Iterator[Sequence[Cell]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_safe(cell) for cell in row] for row in rows)
    write_whole(path.absolute(), text.getvalue().encode(), 0o600)
