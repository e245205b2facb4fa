"""One grader at a time for an assignment, and its temporary files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX = "tlcourse-grade-"


class Held(RuntimeError):
    """Another process is grading this assignment."""


@contextmanager
def hold(folder: Path, assignment: str) -> Iterator[Path]:
    """Hold an assignment; yields a folder for temporary files, removed afterwards.

    The system lets go of the lock when this process ends, however it ends. What a
    killed run left in its temporary folder is removed here.

    Args:
        folder: the assignment's folder of reports.
        assignment: its name.

    Raises:
        Held: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Held(
            f"Another `tlcourse grade {assignment}` is running. Wait until it has "
            "ended, or stop it with Ctrl-C."
        ) from None
    note = folder / ".temporary"
    try:
        _remove_left(note)
        scratch = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            note.write_text(str(scratch), encoding="utf-8")
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            note.unlink(missing_ok=True)
    finally:
        lock.release()


def _remove_left(note: Path) -> None:
    """Remove the temporary folder of a run that was killed."""
    with suppress(OSError, UnicodeDecodeError):
        left = Path(note.read_text(encoding="utf-8"))
        if left.name.startswith(_PREFIX) and left.parent == Path(tempfile.gettempdir()):
            shutil.rmtree(left, ignore_errors=True)
