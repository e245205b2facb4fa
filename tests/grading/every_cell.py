"""A small nbgrader course without torch: every kind of cell that nbgrader knows."""

from pathlib import Path

import nbformat
import nbgrader.api
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tlcourse.grading.records import CellGrade, NotebookResult, Result, Submission

NAME = "ps1"
CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "small"
"""
# The graded cells of notebook `one`, in its order, with their points.
POINTS = {"squares": 1, "parts": 2, "why": 3, "plot": 4, "essay": 5}


def _meta(name: str, points: int | None = None, **marks: bool) -> dict:
    meta = {"grade": False, "solution": False, "locked": False, "task": False}
    meta |= {"schema_version": 3, "grade_id": name, **marks}
    return {"nbgrader": meta if points is None else {**meta, "points": points}}


def source_one() -> nbformat.NotebookNode:
    """Answer, hidden test, partial credit, manual text, manual code, task, locked."""
    answer = _meta("squares-answer", solution=True)
    test = {"grade": True, "locked": True}
    by_hand = {"grade": True, "solution": True}
    task = _meta("essay", 5, task=True, locked=True)
    cells = [
        new_markdown_cell("# Problem set", id="title"),
        new_code_cell(
            "def squares(n):\n    ### BEGIN SOLUTION\n"
            "    return [i * i for i in range(1, n + 1)]\n    ### END SOLUTION",
            id="answer",
            metadata=answer,
        ),
        new_code_cell(
            "assert squares(2) == [1, 4]\n### BEGIN HIDDEN TESTS\n"
            "assert squares(3) == [1, 4, 9]\n### END HIDDEN TESTS",
            id="test",
            metadata=_meta("squares", 1, **test),
        ),
        new_code_cell(
            "0.5 if squares(1) == [1] else 0",
            id="p",
            metadata=_meta("parts", 2, **test),
        ),
        new_markdown_cell("Because.", id="why", metadata=_meta("why", 3, **by_hand)),
        new_code_cell("plot()", id="plot", metadata=_meta("plot", 4, **by_hand)),
        new_markdown_cell(
            "Write an essay.\n\n=== BEGIN MARK SCHEME ===\n5 for length\n"
            "=== END MARK SCHEME ===",
            id="essay",
            metadata=task,
        ),
        new_markdown_cell(
            "Only read this.", id="read", metadata=_meta("read", locked=True)
        ),
    ]
    return _notebook(cells)


def source_two() -> nbformat.NotebookNode:
    """One test, and nothing else."""
    test = _meta("two", 2, grade=True, locked=True)
    return _notebook([new_code_cell("assert True", id="two", metadata=test)])


def _notebook(cells: list) -> nbformat.NotebookNode:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def make_course(folder: Path, db_url: str | None = None, more: str = "") -> Path:
    """A course folder with the source of one assignment of two notebooks."""
    place = folder / "source" / NAME
    (place / "data").mkdir(parents=True)
    line = f"c.CourseDirectory.db_url = {db_url!r}\n" if db_url else ""
    (folder / "nbgrader_config.py").write_text(CONFIG + line + more)
    nbformat.write(source_one(), place / "one.ipynb")
    nbformat.write(source_two(), place / "two.ipynb")
    (place / "data" / "numbers.csv").write_text("1,2\n")
    return folder


def make_result(student: str = "ada", status: str = "graded", **changes) -> Result:
    """A graded submission: 1 of 1, 1 of 2, two for a person, one left blank."""
    auto = {"squares": 1.0, "parts": 1.0, "why": None, "plot": 0.0, "essay": None}
    auto |= changes.pop("auto", {})
    one = NotebookResult(
        name="one",
        status=changes.pop("one", "graded"),
        grades=[
            CellGrade(grade_id=k, max_points=p, auto=auto[k], status="passed")
            for k, p in POINTS.items()
        ],
        no_response=changes.pop("no_response", ("plot", "essay")),
        notebook=changes.pop("notebook", '{"cells": [], "one": 1}'),
    )
    two = NotebookResult(
        name="two",
        status="graded",
        grades=[CellGrade(grade_id="two", max_points=2, auto=2.0, status="passed")],
        notebook='{"cells": [], "two": 2}',
    )
    return Result(
        student=student,
        assignment=NAME,
        digest="d",
        status=status,
        notebooks=(one, two),
        **changes,
    )


def make_submission(student: str = "ada", **files: bytes) -> Submission:
    """What a student handed in beside the notebooks."""
    return Submission(student=student, files=files)


def dump(db_url: str) -> dict:
    """All that a gradebook says about submissions, without its random ids."""
    said = {}
    with nbgrader.api.Gradebook(db_url) as book:
        for submission in book.db.query(nbgrader.api.SubmittedAssignment):
            key = (submission.student_id, submission.name)
            said[key] = {"timestamp": submission.timestamp}
            for notebook in submission.notebooks:
                said[*key, notebook.name] = {
                    "late": notebook.late_submission_penalty,
                    "flagged": notebook.flagged,
                    "score": notebook.score,
                    "max_score": notebook.max_score,
                }
                for g in notebook.grades:
                    said[*key, notebook.name, "grade", g.name] = (
                        *(g.auto_score, g.manual_score, g.extra_credit),
                        *(g.needs_manual_grade, g.max_score),
                    )
                for c in notebook.comments:
                    remark = (c.auto_comment, c.manual_comment)
                    said[*key, notebook.name, "comment", c.name] = remark
    return said


def without_alembic(monkeypatch) -> None:
    """A new gradebook asks the `alembic` command for a number: seconds, and known."""
    monkeypatch.setattr(nbgrader.api, "get_alembic_version", lambda: "e43177bfe90b")
