"""Read a learner's notebook, and put it back to what the course says."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tlcourse.authoring import building
from tlcourse.course import Chapter, root

# What nbformat raises on files that are no notebooks.
_BROKEN = (ValueError, KeyError, TypeError, AttributeError)


def read_notebook(path: Path, chapter: Chapter) -> NotebookNode:
    """A learner's notebook of ``chapter``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is not a notebook.
    """
    mend = f"`tlcourse reset {chapter.number:02d}` restores it."
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {mend}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # copied cells share an id: no harm here
            notebook = nbformat.read(path, as_version=4)
            nbformat.validate(notebook)
    except (*_BROKEN, nbformat.ValidationError) as error:
        why = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise ValueError(f"{path} is not a notebook ({why}). {mend}") from error
    return notebook


@dataclass(frozen=True)
class Restored:
    """A notebook that was restored, and where the learner's version is kept."""

    path: Path
    backup: Path | None


def restore(chapter: Chapter) -> tuple[Restored, ...]:
    """Put a chapter's notebooks back to what ``lessons/`` says.

    Whatever differs, and be it an unreadable file, is copied aside first. A lesson
    keeps the outputs of the cells that nobody changed.

    Raises:
        ValueError: there is nothing to restore from.
    """
    folder = root() / "chapters" / chapter.folder
    made = [t for t in building.targets(root(), chapter) if t.path.parent == folder]
    if not made:
        raise ValueError(f"lessons/{chapter.folder} has no text to restore from.")
    return tuple(Restored(target.path, _restore(target, chapter)) for target in made)


def _restore(target: building.Target, chapter: Chapter) -> Path | None:
    backup, stored = None, None
    if target.path.is_file():
        try:
            stored = read_notebook(target.path, chapter)
        except ValueError:
            backup = building.keep_aside(target.path)
    if stored is not None and _sources(stored) != _sources(target.notebook):
        backup = building.keep_aside(target.path)
    if stored is not None and target.path.name == "lesson.ipynb":
        building.write(target)
    else:
        building.save(target.notebook, target.path)
    return backup


def _sources(notebook: NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]
