"""The manifest: which chapters there are, in which order, and where they lie."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


class NotInCourse(FileNotFoundError):
    """The course folder (the one with ``course.toml``) was not found."""


@dataclass(frozen=True)
class Chapter:
    """One entry of ``course.toml``.

    Args:
        number: position in the course, 0 to 99.
        slug: name in ids and folders.
        title: as readers see it.
        part: the part of the course it belongs to.
        goals: what a learner is able to do afterwards.
        minutes: expected reading and working time.
        needs: slugs of the chapters it builds on.
    """

    number: int
    slug: str
    title: str
    part: str
    goals: tuple[str, ...]
    minutes: int
    needs: tuple[str, ...]

    @property
    def folder(self) -> str:
        """``NN_slug``, the name of its folders and its nbgrader assignment."""
        return f"{self.number:02d}_{self.slug}"


def root() -> Path:
    """The course folder: the nearest above the working folder, else the package's.

    Raises:
        NotInCourse: neither holds a ``course.toml``.
    """
    here, package = Path.cwd(), Path(__file__).resolve().parents[1]
    for folder in (here, *here.parents, package):
        if (folder / "course.toml").is_file():
            return folder
    raise NotInCourse(
        f"No course.toml in {here} or above it. Run this inside the course folder, "
        "the one you cloned."
    )


@lru_cache(maxsize=8)
def _read(path: Path) -> tuple[Chapter, ...]:
    manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Chapter(
            number=entry["number"],
            slug=entry["slug"],
            title=entry["title"],
            part=part["title"],
            goals=tuple(entry["goals"]),
            minutes=entry["minutes"],
            needs=tuple(entry.get("needs", ())),
        )
        for part in manifest["part"]
        for entry in part["chapter"]
    )


def all_chapters() -> tuple[Chapter, ...]:
    """Every chapter of the manifest, in order.

    Raises:
        NotInCourse: there is no manifest.
    """
    return _read(root() / "course.toml")


def chapter_order() -> tuple[str, ...]:
    """Slugs in order; empty where only the package is installed."""
    try:
        return tuple(chapter.slug for chapter in all_chapters())
    except NotInCourse:
        return ()


def find_chapter(name: str) -> Chapter:
    """A chapter by number (``"3"``, ``"03"``), slug or folder.

    Raises:
        ValueError: none is called that; the message lists them.
    """
    for chapter in all_chapters():
        if name.isdigit() and int(name) == chapter.number:
            return chapter
        if name in (chapter.slug, chapter.folder):
            return chapter
    known = ", ".join(chapter.folder for chapter in all_chapters())
    raise ValueError(f"There is no chapter {name!r}; there are: {known}.")
