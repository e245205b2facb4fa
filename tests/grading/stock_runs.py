"""Classes for the parity tests: stock nbgrader grades them, and so do we."""

import copy
import shutil
from pathlib import Path

import nbformat
import nbgrader
from every_cell import NAME
from nbgrader.converters import Autograde
from nbgrader.utils import (
    compute_checksum,
    determine_grade,
    is_grade,
    is_solution,
    is_task,
)

from tlcourse.grading.book.courses import Course
from tlcourse.grading.records import Assignment, CellGrade, NotebookResult, Result

ROOT = Path(__file__).resolve().parents[2]
GUIDE = Path(nbgrader.__file__).parent / "docs" / "source" / "user_guide"
HEADER = "c.IncludeHeaderFooter.header = 'source/header.ipynb'\n"
PENALTY = "c.LateSubmissionPlugin.penalty_method = 'zero'\n"
RIGHT = "def squares(n):\n    return [i * i for i in range(1, n + 1)]"
WRONG = "def squares(n):\n    return [1, 4]"
LOUD = "import sys\nprint('careful', file=sys.stderr)\n"


def make_guide_course(folder: Path, more: str) -> Path:
    """nbgrader's own documentation course: what `nbgrader quickstart` makes."""
    shutil.copytree(GUIDE / "source", folder / "source")
    shutil.rmtree(folder / "source" / "ps1_autotest", ignore_errors=True)
    shutil.copytree(GUIDE / "submitted", folder / "submitted")
    config = "c = get_config()\nc.CourseDirectory.course_id = 'guide'\n"
    (folder / "nbgrader_config.py").write_text(config + HEADER + more)
    return folder


def make_kit_course(folder: Path, more: str) -> Path:
    """One of this project's chapters as an assignment, under the common name."""
    shutil.copytree(ROOT / "solutions" / "02_losses", folder / "solutions" / NAME)
    config = (ROOT / "nbgrader_config.py").read_text()
    (folder / "nbgrader_config.py").write_text(config + more)
    (folder / "classroom").mkdir()
    return folder


def make_kit_class(course: Course, assignment: Assignment) -> None:
    """The stub, and the reference."""
    (given,) = assignment.masters
    source = Path(course.root, "solutions", NAME, f"{given.name}.ipynb").read_text()
    for student, notebook in (("stub", given.notebook), ("reference", source)):
        place = course.submitted / student / NAME
        place.mkdir(parents=True)
        (place / f"{given.name}.ipynb").write_text(notebook)


def make_small_class(course: Course, assignment: Assignment) -> None:
    """Submissions of every kind that stock nbgrader does not choke on."""
    given = {m.name: nbformat.reads(m.notebook, 4) for m in assignment.masters}

    def hand_in(student: str, without: tuple[str, ...] = (), **sources: str) -> None:
        place = course.submitted / student / NAME
        place.mkdir(parents=True)
        for name, notebook in given.items():
            own = copy.deepcopy(notebook)
            own.cells = [c for c in own.cells if c.id not in without]
            for cell in own.cells:
                cell.source = sources.get(cell.id, cell.source)
            if name not in without:
                nbformat.write(own, place / f"{name}.ipynb")
        (place / "timestamp.txt").write_text("2026-03-01 12:00:00 UTC")

    hand_in("right", answer=RIGHT, why="Because it is so.", plot="1 + 1")
    hand_in("stub")
    hand_in("hidden", answer=WRONG, p="'half'")
    hand_in("loud", answer=RIGHT, test=LOUD + "assert False")
    hand_in("listed", answer=RIGHT + "\n" + LOUD, plot="print(squares(3))")
    hand_in("absent", without=("two",), answer=RIGHT)
    hand_in("deleter", without=("test", "why"), answer=WRONG)
    hand_in("broken", answer="def squares(n) return", title="x" * 1000)


def grade_with_stock(course: Course) -> None:
    """`nbgrader autograde` for every student, in this process."""
    course.assignment_id = NAME
    Autograde(coursedir=course, parent=course.parent).start()


def stock_result(course: Course, assignment: Assignment, student: str) -> Result:
    """What stock's autograded notebooks say, as a result of ours."""
    place = course.format_path(course.autograded_directory, student, assignment.name)
    stamp = Path(place, "timestamp.txt")
    return Result(
        student=student,
        assignment=assignment.name,
        digest="stock",
        status="graded",
        notebooks=[
            _read(m.name, nbformat.reads(m.notebook, 4), Path(place, f"{m.name}.ipynb"))
            for m in assignment.masters
        ],
        timestamp=stamp.read_text().strip() if stamp.exists() else None,
    )


def _read(name: str, master, path: Path) -> NotebookResult:
    graded = [c.metadata.nbgrader for c in master.cells if is_grade(c) or is_task(c)]
    if not path.exists():
        auto = {meta.grade_id: 0.0 for meta in graded}
        return NotebookResult(name=name, status="missing", grades=_grades(graded, auto))
    cells = [c for c in nbformat.read(path, 4).cells if "nbgrader" in c.metadata]
    auto = {
        c.metadata.nbgrader.grade_id: determine_grade(c)[0]
        for c in filter(is_grade, cells)
    }
    silent = [
        c.metadata.nbgrader.grade_id
        for c in cells
        if is_solution(c) and c.metadata.nbgrader.get("checksum") == compute_checksum(c)
    ]
    return NotebookResult(
        name=name,
        status="graded",
        grades=_grades(graded, auto),
        no_response=silent,
        notebook=path.read_text(),
    )


def _grades(graded: list, auto: dict) -> list[CellGrade]:
    return [
        CellGrade(
            grade_id=meta.grade_id,
            max_points=meta.points,
            auto=auto.get(meta.grade_id),
            status="manual",
        )
        for meta in graded
    ]
