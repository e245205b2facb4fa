"""Private seeds: which cases an assignment is graded on. One file, for the teacher.

``classroom/seeds.toml`` has a table for each assignment. Whoever knows a seed knows
the hidden cases, so only its owner may read the file, and git ignores it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from filelock import FileLock

from tlcourse.files import write_whole

_HEAD = """\
# Private: these seeds decide the cases that each assignment is graded on.
# Keep this file: without it the same submissions meet other cases.
"""


class NotAssigned(ValueError):
    """An assignment cannot be made, or its seed not be read; the message says why."""


def seeds_path(course_root: Path) -> Path:
    """Where the seeds of a course are kept."""
    return course_root / "classroom" / "seeds.toml"


def seed_of(course_root: Path, assignment: str) -> tuple[int, bool]:
    """The seed, and whether every student has cases of their own.

    ``(0, False)``, the published cases, where the assignment has no seed.

    Raises:
        NotAssigned: the file cannot be read, or says nothing sensible.
    """
    path = seeds_path(course_root)
    entry = _read(path).get(assignment, {"seed": 0, "per_student": False})
    match entry:
        case {"seed": int(seed), "per_student": bool(per_student)} if seed >= 0:
            return seed, per_student
    raise NotAssigned(
        f"{path}: [{assignment}] needs `seed = ` a whole number and `per_student = ` "
        "true or false."
    )


def keep_seed(course_root: Path, name: str, seed: int, per_student: bool) -> None:
    """Add an assignment's seed. A crash leaves the old file or the new one.

    Raises:
        NotAssigned: the name has a seed already: it was an assignment before.
    """
    path = seeds_path(course_root)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", mode=0o600):
        if name in _read(path):
            raise NotAssigned(
                f"{path} already has a seed for {name!r}. Choose another name, or take "
                "that entry out if nothing was graded with it."
            )
        before = path.read_text(encoding="utf-8") if path.is_file() else _HEAD
        flag = "true" if per_student else "false"
        entry = f"\n[{name}]\nseed = {seed}\nper_student = {flag}\n"
        text = before.rstrip("\n") + "\n" + entry
        write_whole(path, text.encode(), 0o600)


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NotAssigned(f"{path} cannot be read: {error}.") from error
