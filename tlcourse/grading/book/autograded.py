"""Put graded notebooks where nbgrader expects them: ``autograded/STUDENT/ASSIGNMENT``.

Every file is replaced in one step, so that a crash leaves the old one or the new one;
:func:`has_autograded` tells whether all of them are there.
"""

from __future__ import annotations

import fnmatch
from contextlib import suppress
from pathlib import Path, PurePosixPath

from nbgrader.converters import Autograde

from tlcourse.files import write_whole
from tlcourse.grading.book.courses import Course
from tlcourse.grading.records import Assignment, Result, Submission


def write_autograded(
    course: Course, result: Result, assignment: Assignment, submission: Submission
) -> None:
    """Make a student's autograded folder what ``nbgrader autograde`` would leave.

    The graded notebooks, the student's other files, and on top of these the files
    beside the source notebooks. What lay there before goes. A result with the status
    ``error`` changes nothing.
    """
    if result.status == "error":
        return
    folder = _folder(course, result)
    files = _other_files(course, assignment, submission, _notebooks(result))
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder, set(files))
    converter = Autograde(coursedir=course, parent=course.parent)
    mode = int(str(converter.permissions), 8)  # nbgrader writes 444 for 0o444
    for relative, data in files.items():
        write_whole(folder / relative, data, mode)
    converter.set_permissions(result.assignment, result.student)


def has_autograded(course: Course, result: Result) -> bool:
    """Whether exactly this result's notebooks lie in the autograded folder."""
    if result.status == "error":
        return False
    folder, wanted = _folder(course, result), _notebooks(result)
    try:
        there = {path.name: path.read_bytes() for path in folder.glob("*.ipynb")}
    except OSError:
        return False
    return folder.is_dir() and there == wanted


def _folder(course: Course, result: Result) -> Path:
    for name in (result.student, result.assignment):
        if name in ("", ".", "..") or Path(name).name != name:
            raise ValueError(f"{name!r} is not the name of a folder.")
    step = course.autograded_directory
    return Path(course.format_path(step, result.student, result.assignment))


def _notebooks(result: Result) -> dict[str, bytes]:
    return {
        f"{own.name}.ipynb": own.notebook.encode()
        for own in result.notebooks
        if own.notebook is not None
    }


def _other_files(
    course: Course,
    assignment: Assignment,
    submission: Submission,
    notebooks: dict[str, bytes],
) -> dict[str, bytes]:
    """All files of the folder; the teacher's win where the student's are in the way."""
    own = {**assignment.files, **notebooks}
    taken = {str(path) for name in own for path in (name, *PurePosixPath(name).parents)}
    files = {}
    if submission.timestamp:
        files["timestamp.txt"] = submission.timestamp.encode()
    for relative, data in submission.files.items():
        path = PurePosixPath(relative)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{relative!r} leads out of the submission.")
        above = {str(parent) for parent in path.parents}
        in_the_way = relative in taken or above & set(own)
        if not in_the_way and not _is_ignored(course, path):
            files[relative] = data
    return {**files, **own}


def _is_ignored(course: Course, path: PurePosixPath) -> bool:
    patterns = [*course.ignore, "*.ipynb"]
    return any(fnmatch.fnmatch(part, p) for part in path.parts for p in patterns)


def _clear(folder: Path, wanted: set[str]) -> None:
    """Remove what is not wanted, files first, then the folders that they leave."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # it is not empty
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
