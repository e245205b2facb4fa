"""Read what students handed in: bytes by name, no link followed, memory bounded."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch

from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import parse_utc

from tlcourse.grading.reading.naming import LONGEST_PATH, misnamed, odd_name, printable
from tlcourse.grading.records import Assignment, Flag, Submission

MAX_FILES = 1_000
MAX_DEPTH = 12  # folders inside folders
MAX_NAMES = 20_000  # names that are looked at
MAX_FLAGS = 20  # the rest is counted
_TIMESTAMP = "timestamp.txt"
_MAX_TIMESTAMP = 100  # bytes
_JUNK = (".DS_Store", "__MACOSX", "._*", "Thumbs.db", "desktop.ini")
_STUDENT = "\0"  # stands for the student's id in a path: no path can hold it
_SAFE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def students_of(course: CourseDirectory, assignment: str) -> list[str]:
    """Ids of those who have handed in the assignment, sorted; only names are read."""
    parent, prefix, suffix, inner = _layout(course, assignment)
    excluded = set(course.student_id_exclude.split(","))
    students = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(parent):
            student = name.removeprefix(prefix).removesuffix(suffix)
            if (
                name == prefix + student + suffix
                and not name.startswith(".")  # nbgrader's glob passes these over
                and student not in excluded
                and os.path.lexists(os.path.join(parent, name, *inner))
            ):
                students.append(student)
    return sorted(students)


def read_submissions(
    course: CourseDirectory,
    assignment: Assignment,
    students: Iterable[str] | None = None,
) -> Iterator[Submission]:
    """The submissions, one at a time: only one is in memory.

    A link is never followed, a device or pipe never read. What is left out is in the
    submission's flags. Whatever lies in a student's folder, nothing is raised.

    Args:
        course: nbgrader's folders.
        assignment: its name, the names of its notebooks and the limits count.
        students: whose, in this order; everybody's by default.
    """
    parent, prefix, suffix, inner = _layout(course, assignment.name)
    if students is None:
        students = students_of(course, assignment.name)
    for student in students:
        reader = _Reader(assignment, course.ignore)
        if odd_name(student):
            reader.flag("odd name", student, "is no possible student id: not read.")
        else:
            reader.read(parent, (prefix + student + suffix, *inner))
        yield reader.submission(student)


def missing_message(submission: Submission, name: str) -> str:
    """Why the notebook ``name`` is not among the files: a sentence for the learner."""
    wanted = f"{name}.ipynb"
    said = (flag.what for flag in submission.flags if flag.where == wanted)
    return next(said, f"No {wanted!r} was handed in.")


def _layout(
    course: CourseDirectory, assignment: str
) -> tuple[str, str, str, tuple[str, ...]]:
    """The folder of the students, what stands about their ids, the folders below."""
    path = course.format_path(course.submitted_directory, _STUDENT, assignment)
    before, _, after = os.path.normpath(path).partition(_STUDENT)
    if _STUDENT in after:
        raise ValueError(
            "CourseDirectory.directory_structure must name {student_id} once, "
            f"got {course.directory_structure!r}."
        )
    parent, prefix = os.path.split(before)
    suffix, *inner = after.split(os.sep)
    return parent, prefix, suffix, tuple(inner)


class _Full(Exception):
    """No more files or names are looked at."""


class _Reader:
    """Reads one student's folder."""

    def __init__(self, assignment: Assignment, ignore: Iterable[str]) -> None:
        self._files: dict[str, bytes] = {}
        self._timestamp: str | None = None
        self._flags: list[Flag] = []
        self._wanted = [f"{master.name}.ipynb" for master in assignment.masters]
        self._ignore = (*ignore, *_JUNK)
        self._largest = assignment.limits.file_mb << 20
        self._room = 3 * self._largest  # for the bytes of all files together
        self._names = MAX_NAMES
        self._left_out: set[str] = set()

    def flag(self, kind: str, where: str, what: str) -> None:
        """Say what was left out; ``what`` goes on from the name."""
        self._left_out.add(where)
        where = printable(where)
        self._flags.append(Flag(kind=kind, where=where, what=f"{where!r} {what}"))

    def submission(self, student: str) -> Submission:
        """What was read."""
        flags = [*misnamed(self._wanted, self._files, self._left_out), *self._flags]
        if (more := len(flags) - MAX_FLAGS) > 0:
            what = f"{more:,} more files or folders were left out."
            last = Flag(kind="too many files", where="", what=what)
            flags = [*flags[:MAX_FLAGS], last]
        return Submission(
            student=printable(student),
            files=self._files,
            timestamp=self._timestamp,
            flags=tuple(flags),
        )

    def read(self, parent: str, parts: tuple[str, ...]) -> None:
        """Read the folder ``parent/parts``; none of the parts may be a link."""
        with contextlib.ExitStack() as stack:
            part = parent
            try:
                at = stack.enter_context(_opened(parent, os.O_RDONLY | os.O_CLOEXEC))
                for part in parts:
                    opened = _opened(part, _SAFE | os.O_DIRECTORY, at)
                    at = stack.enter_context(opened)
                self._read_timestamp(at)
                for name in self._wanted:  # before anything else uses up the room
                    self._entry(at, name, name, 0)
                self._folder(at, "", 0)
            except OSError as error:
                self.flag("bad folder", part, f"cannot be read: {_why(error)}.")
            except _Full:
                what = f"holds too many files: {len(self._files):,} were read."
                self.flag("too many files", parts[-1], what)

    def _folder(self, at: int, path: str, depth: int) -> None:
        names = []
        with os.scandir(at) as entries:
            for entry in entries:
                self._names -= 1
                if self._names < 0:
                    break
                names.append(entry.name)
        for name in sorted(names):
            inside = f"{path}/{name}" if path else name
            if inside not in self._files and inside not in self._left_out:
                self._entry(at, name, inside, depth)
        if self._names < 0:
            raise _Full

    def _entry(self, at: int, name: str, path: str, depth: int) -> None:
        """One file or folder in the opened folder ``at``."""
        if path == _TIMESTAMP:
            return
        if any(fnmatch(name, pattern) for pattern in self._ignore):
            self._left_out.add(path)
            return
        if odd_name(name) or name.startswith("-") or len(path) > LONGEST_PATH:
            self.flag("odd name", path, "has a name that is not used: left out.")
            return
        try:
            mode = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                what = "is a link, and no link is followed: hand in the file itself."
                self.flag("rejected link", path, what)
            elif stat.S_ISDIR(mode):
                self._inner_folder(at, name, path, depth + 1)
            elif stat.S_ISREG(mode):
                self._file(at, name, path)
            else:
                self.flag("rejected file", path, "is a device or a pipe: left out.")
        except FileNotFoundError:
            return
        except OSError as error:
            self.flag("rejected file", path, f"cannot be read: {_why(error)}.")

    def _inner_folder(self, at: int, name: str, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.flag("too deep", path, "lies too deep in folders: left out.")
            return
        with _opened(name, _SAFE | os.O_DIRECTORY, at) as inner:
            self._folder(inner, path, depth)

    def _file(self, at: int, name: str, path: str) -> None:
        if len(self._files) >= MAX_FILES:
            raise _Full
        largest = min(self._largest, self._room)
        with _opened(name, _SAFE, at) as opened:
            # What was looked at may have been replaced since: ask what was opened.
            info = os.fstat(opened)
            if not stat.S_ISREG(info.st_mode):
                self.flag("rejected file", path, "is no plain file: left out.")
                return
            content = None if info.st_size > largest else _content(opened, largest)
        if content is None or len(content) > largest:
            size = f"at most {self._largest >> 20} MiB a file and "
            size += f"{3 * self._largest >> 20} MiB together are read"
            self.flag("too large", path, f"is too large: {size}.")
        else:
            self._files[path] = content
            self._room -= len(content)

    def _read_timestamp(self, at: int) -> None:
        """nbgrader's note of when this was handed in, if nbgrader can read it."""
        try:
            with _opened(_TIMESTAMP, _SAFE, at) as opened:
                plain = stat.S_ISREG(os.fstat(opened).st_mode)
                raw = _content(opened, _MAX_TIMESTAMP) if plain else b"no plain file"
            text = raw.decode().strip()
            if text:
                parse_utc(text)
                self._timestamp = text
        except FileNotFoundError:
            return
        except Exception:  # dateutil raises many kinds on what is no date
            self.flag("bad timestamp", _TIMESTAMP, "holds no time: it is not used.")


@contextlib.contextmanager
def _opened(name: str, flags: int, at: int | None = None) -> Iterator[int]:
    opened = os.open(name, flags, dir_fd=at)
    try:
        yield opened
    finally:
        os.close(opened)


def _content(opened: int, most: int) -> bytes:
    """At most ``most + 1`` bytes: a file may grow, or hold more than it says."""
    with open(opened, "rb", closefd=False) as stream:
        return stream.read(most + 1)


def _why(error: OSError) -> str:
    """The system's reason; a link in the place of a folder has a code of its own."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "it is a link or a file, not a folder"
    return (error.strerror or "unknown reason").lower()
