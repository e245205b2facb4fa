"""Files of a student that the page needs, read as what they are: a stranger's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbgrader.utils import parse_utc

from tlcourse.grading.records import CellGrade, NotebookResult, Result

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from tlcourse.grading.book.courses import Course
    from tlcourse.grading.book.marks import Marks

_LARGEST = 20_000_000  # bytes of a submitted notebook that is looked into
_SECRET = re.compile(r"[0-9A-Za-z]{16,256}\s*")


class Place:
    """One student's folders for one assignment."""

    def __init__(self, course: Course, assignment: str, student: str) -> None:
        """Find the folders; they need not be there."""

        def folder(step: str) -> Path:
            return Path(course.format_path(step, student, assignment))

        self.student = student
        self.assignment = assignment
        self.submitted = folder(course.submitted_directory)
        self.autograded = folder(course.autograded_directory)
        self.feedback = folder(course.feedback_directory)
        self.mode = 0o664 if course.groupshared else 0o644

    def autograded_notebook(self, name: str) -> str | None:
        """The text of an autograded notebook."""
        return _read(self.autograded / f"{name}.ipynb", _LARGEST)

    def handed_in_outputs(self, name: str) -> dict[str, list[Any]]:
        """Outputs by source, as the learner handed them in; none if unreadable."""
        try:
            cells = json.loads(_read(self.submitted / f"{name}.ipynb", _LARGEST) or "")
            return {
                _source(cell): cell["outputs"]
                for cell in cells["cells"]
                if cell.get("cell_type") == "code" and isinstance(cell["outputs"], list)
            }
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}

    def passport(self) -> dict[str, str]:
        """The two files beside the page that the exchange's release asks for."""
        found = {}
        for name, is_right in (
            ("timestamp.txt", _is_time),
            ("submission_secret.txt", _SECRET.fullmatch),
        ):
            for folder in (self.autograded, self.submitted):
                text = _read(folder / name, 1_000)
                if text is not None and is_right(text):
                    found[name] = text
                    break
        return found


def stock_result(place: Place, marks: Marks) -> Result | None:
    """What can be said of a student whom nbgrader itself has graded, if it has."""
    notebooks = []
    for path in sorted(place.autograded.glob("*.ipynb")):
        name = path.stem
        text = place.autograded_notebook(name)
        cells = nbformat.reads(text, 4).cells if text else []
        grades = [_stock_grade(cell, name, marks) for cell in cells]
        kept = tuple(grade for grade in grades if grade is not None)
        notebooks.append(
            NotebookResult(name=name, status="graded", grades=kept, notebook=text)
        )
    if not notebooks:
        return None
    return Result(
        student=place.student,
        assignment=place.assignment,
        digest="",
        status="graded",
        notebooks=tuple(notebooks),
    )


def _stock_grade(cell: NotebookNode, name: str, marks: Marks) -> CellGrade | None:
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
    mark = marks.cells.get((name, grade_id))
    if mark is None:
        return None
    read = mark.by_hand or mark.waiting
    share = mark.score / mark.max_points if mark.max_points else 1
    status = "passed" if share >= 1 else "partial" if share > 0 else "failed"
    return CellGrade(
        grade_id=grade_id,
        max_points=mark.max_points,
        auto=None if read else mark.score,
        status="manual" if read else status,
    )


def _read(path: Path, limit: int) -> str | None:
    """The text of an ordinary file that is really there, not behind a link."""
    try:
        if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
            return None
        with path.open("rb") as file:
            content = file.read(limit + 1)
        return None if len(content) > limit else content.decode()
    except (OSError, ValueError):
        return None


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _is_time(text: str) -> bool:
    try:
        return parse_utc(text.strip()) is not None
    except (ValueError, OverflowError, TypeError):
        return False
