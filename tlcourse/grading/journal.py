"""The journal: one file per student with what became of the submission.

A result is journalled before it reaches the gradebook, so a crash between the two
loses nothing: the next run finds it here and applies it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from tlcourse.files import DRAFT, write_whole
from tlcourse.grading.records import Result

_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SUFFIX, _ASIDE = ".json", ".unreadable"


class Journal:
    """The results of one assignment, by student.

    Args:
        folder: where the files are; made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is made or read yet."""
        self.folder = folder

    def path(self, student: str) -> Path:
        """The student's file. No id leaves the folder or meets another's file."""
        return self.folder / f"{_file_name(student)}{_SUFFIX}"

    def read(self, student: str) -> Result | None:
        """The student's result; ``None`` if there is none that can be read."""
        result = _parse(self.path(student))
        return result if result is not None and result.student == student else None

    def write(self, result: Result) -> None:
        """Keep a result. A crash, at any moment, leaves the old file or the new one.

        Raises:
            OSError: it cannot be written; the old file is as it was.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        text = result.model_dump_json()
        write_whole(self.path(result.student), text.encode(), 0o600)

    def results(self) -> Iterator[Result]:
        """All results that can be read, one in memory at a time, sorted by file."""
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            result = _parse(path)
            if result is not None and self.path(result.student) == path:
                yield result

    def set_aside(self) -> list[Path]:
        """Rename the files that cannot be read; returns their new names.

        What a crash left half-written is removed.
        """
        for path in self.folder.glob(f".*{DRAFT}"):
            path.unlink()
        moved = []
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            if _parse(path) is None:
                moved.append(path.with_name(path.name + _ASIDE))
                path.replace(moved[-1])
        return moved


def _file_name(student: str) -> str:
    """The id itself where it is plain; else readable and with a digest.

    Ids that differ only in case must not meet where file names ignore case.
    """
    if _PLAIN.fullmatch(student):
        return student
    digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{quote(student, safe='', errors='replace')[:64]}.{digest}"


def _parse(path: Path) -> Result | None:
    try:
        return Result.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
