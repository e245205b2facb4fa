"""Write the pages where nbgrader, formgrader and the exchange look for them."""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests

from tlcourse.grading.assigning.seeds import seed_of
from tlcourse.grading.book.courses import opened
from tlcourse.grading.book.marks import Marks, MarksReader
from tlcourse.grading.feedback.cells import learners_cells, take_out_hidden_tests
from tlcourse.grading.feedback.cleaning import Budget
from tlcourse.grading.feedback.entries import entries
from tlcourse.grading.feedback.places import Place, stock_result
from tlcourse.grading.feedback.words import notes
from tlcourse.grading.journal import Journal
from tlcourse.grading.pages import render, write
from tlcourse.grading.records import Flag, NotebookResult, Result

if TYPE_CHECKING:
    from tlcourse.grading.book.courses import Course


def write_feedback(
    course: Course, assignment: str, students: Collection[str] | None = None
) -> list[Path]:
    """Write one page for each notebook of each student that has been graded.

    Pages lie where ``nbgrader generate_feedback`` puts them, with what the exchange
    needs beside them. A submission that the grader itself failed on gets none.

    Args:
        course: where the folders and the gradebook are.
        assignment: its name.
        students: only these; everyone by default.

    Returns:
        The pages, in the order they were written.
    """
    written: list[Path] = []
    with opened(course), MarksReader(course, assignment) as reader:
        writer = PageWriter(course, assignment)
        for result in results_of(course, assignment, students, reader):
            marks = reader.of(result.student)
            written += writer.write(result, marks)
    return written


class PageWriter:
    """Makes the pages of one assignment."""

    def __init__(self, course: Course, assignment: str) -> None:
        """Learn what is secret in this assignment."""
        self._course, self._assignment = course, assignment
        seed, _ = seed_of(Path(course.root), assignment)
        self._private = seed != 0
        clear = ClearHiddenTests(parent=course.parent)
        self._delimiter = clear.begin_test_delimeter

    def write(self, result: Result, marks: Marks) -> list[Path]:
        """Write the pages of one student."""
        place = Place(self._course, self._assignment, result.student)
        pages = [
            write(place.feedback / f"{name}.html", page, place.mode)
            for name, page in self.pages(result, marks).items()
        ]
        for name, text in place.passport().items() if pages else ():
            write(place.feedback / name, text, place.mode)
        return pages

    def pages(self, result: Result, marks: Marks) -> dict[str, str]:
        """The pages of one student, by notebook."""
        place = Place(self._course, self._assignment, result.student)
        return {
            notebook.name: self._page(place, result, notebook, marks)
            for notebook in result.notebooks
        }

    def _page(
        self, place: Place, result: Result, notebook: NotebookResult, marks: Marks
    ) -> str:
        node = _node(notebook.notebook)
        hidden = take_out_hidden_tests(node, self._delimiter) if node else frozenset()
        # What ran beside a secret can hold it; what was handed in cannot.
        sealed = bool(hidden) or self._private
        outputs = place.handed_in_outputs(notebook.name) if sealed and node else None
        budget = Budget()
        found = entries(
            notebook, node, marks, budget, hidden=hidden, private=self._private
        )
        penalty = marks.penalties.get(notebook.name, 0.0)
        return render(
            "feedback.html.j2",
            assignment=self._assignment,
            student=result.student,
            notebook=notebook,
            entries=found,
            points=sum(entry.points for entry in found) - penalty,
            max_points=sum(entry.max_points for entry in found),
            penalty=penalty,
            waiting=sum(entry.waiting for entry in found),
            notes=notes(_about(result, notebook)),
            cells=learners_cells(node, budget, outputs) if node else [],
            sealed=sealed,
        )


def _node(text: str | None) -> NotebookNode | None:
    """The autograded notebook; ``None`` where there is none that can be read."""
    try:
        return nbformat.reads(text, 4) if text else None
    except (ValueError, nbformat.ValidationError, nbformat.reader.NotJSONError):
        return None


def _about(result: Result, notebook: NotebookResult) -> Iterator[Flag]:
    """Flags of this notebook, and those of no notebook in particular."""
    others = [n.name for n in result.notebooks if n.name != notebook.name]
    for flag in result.flags:
        if not any(flag.where.startswith(name) for name in others):
            yield flag


def results_of(
    course: Course,
    assignment: str,
    students: Collection[str] | None,
    reader: MarksReader,
) -> Iterator[Result]:
    """Journalled results one by one, then of those whom only nbgrader has graded.

    Args:
        course: where the folders are.
        assignment: its name.
        students: only these; everyone by default.
        reader: of the gradebook.
    """
    journal = Journal(Path(course.reports) / assignment / "results")
    done = set()
    for result in journal.results() if students is None else ():
        done.add(result.student)
        yield result
    if students is None:
        students = sorted(_autograded(course, assignment) - done)
    for student in students:
        place = Place(course, assignment, student)
        result = journal.read(student) or stock_result(place, reader.of(student))
        if result is not None:
            yield result


def _autograded(course: Course, assignment: str) -> set[str]:
    """Students who have an autograded folder."""
    folder = course.format_path(course.autograded_directory, "*", assignment)
    pattern = course.format_path(
        course.autograded_directory, "(?P<student_id>.*)", assignment, escape=True
    )
    found = (re.fullmatch(pattern, path) for path in glob.glob(folder))
    return {match["student_id"] for match in found if match}
