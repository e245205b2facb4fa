"""The autograded folder is what nbgrader leaves, and never half of a file."""

import os
import stat

import pytest
from every_cell import NAME, make_course, make_result, make_submission

from tlcourse.grading.book.autograded import has_autograded, write_autograded
from tlcourse.grading.book.masters import load_course
from tlcourse.grading.records import Assignment

ASSIGNMENT = Assignment(
    name=NAME, masters=(), files={"data/numbers.csv": b"1,2\n", "help.py": b"ours"}
)


@pytest.fixture
def course(tmp_path):
    return load_course(make_course(tmp_path))


@pytest.fixture
def folder(course):
    return course.submitted.parent / "autograded" / "ada" / NAME


def content(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


def test_notebooks_own_files_and_the_sources_files_are_there(course, folder):
    files = {"help.py": b"theirs", "notes/a.txt": b"mine", "other.ipynb": b"{}"}
    submission = make_submission(**files).model_copy(update={"timestamp": "2026"})
    write_autograded(course, make_result(), ASSIGNMENT, submission)
    assert content(folder) == {
        "one.ipynb": b'{"cells": [], "one": 1}',
        "two.ipynb": b'{"cells": [], "two": 2}',
        "data/numbers.csv": b"1,2\n",
        "help.py": b"ours",
        "notes/a.txt": b"mine",
        "timestamp.txt": b"2026",
    }
    modes = {stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*") if p.is_file()}
    assert modes == {0o444}
    assert has_autograded(course, make_result())


def test_what_was_there_before_goes(course, folder):
    """Also a file where a folder must be now, and a folder where a file must be."""
    (folder / "help.py").mkdir(parents=True)
    (folder / "help.py" / "x").write_text("old")
    (folder / "data").write_text("old")
    (folder / "tmp1").write_text("of a crash")
    write_autograded(course, make_result(), ASSIGNMENT, make_submission())
    assert set(content(folder)) == {"one.ipynb", "two.ipynb", *ASSIGNMENT.files}


def test_a_missing_notebook_is_not_there(course, folder):
    write_autograded(course, make_result(), ASSIGNMENT, make_submission())
    gone = make_result(notebook=None)
    assert not has_autograded(course, gone)
    write_autograded(course, gone, ASSIGNMENT, make_submission())
    assert not (folder / "one.ipynb").exists()
    assert has_autograded(course, gone)


def test_an_error_of_the_grader_changes_nothing(course, folder):
    write_autograded(course, make_result(), ASSIGNMENT, make_submission())
    before = content(folder)
    error = make_result(status="error", notebook="{}")
    write_autograded(course, error, ASSIGNMENT, make_submission(x=b"1"))
    assert content(folder) == before
    assert not has_autograded(course, error)


def test_a_crash_leaves_whole_files_and_is_known(course, folder, monkeypatch):
    write_autograded(course, make_result(), ASSIGNMENT, make_submission())
    before, replace, calls = content(folder), os.replace, []

    def crash(source, target):
        calls.append(target)
        if len(calls) == 3:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", crash)
    new = make_result(notebook='{"new": 1}')
    with pytest.raises(KeyboardInterrupt):
        write_autograded(course, new, ASSIGNMENT, make_submission())
    assert content(folder) == before
    assert not has_autograded(course, new)


@pytest.mark.parametrize(
    "name", ["help.py/x", "data", "one.ipynb/x", "feedback/x", "a/__pycache__/x.pyc"]
)
def test_a_students_file_in_the_way_is_left_out(course, folder, name):
    submission = make_submission(**{name: b"x"})
    write_autograded(course, make_result(), ASSIGNMENT, submission)
    assert set(content(folder)) == {"one.ipynb", "two.ipynb", *ASSIGNMENT.files}


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x"])
def test_no_file_leaves_the_folder(course, name):
    submission = make_submission(**{name: b"x"})
    with pytest.raises(ValueError, match="leads out"):
        write_autograded(course, make_result(), ASSIGNMENT, submission)


@pytest.mark.parametrize("student", ["..", "a/b", ""])
def test_no_student_is_another_folder(course, student):
    with pytest.raises(ValueError, match="not the name of a folder"):
        write_autograded(
            course, make_result(student=student), ASSIGNMENT, make_submission()
        )
