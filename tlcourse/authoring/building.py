"""Make chapters/ and solutions/ from lessons/, or check that they are up to date."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tlcourse.authoring.reading import is_as_made, read_lesson
from tlcourse.authoring.release import is_answered, student_version
from tlcourse.course import Chapter
from tlcourse.files import write_whole

_COMPARED = ("nbgrader", "tags", "tlcourse")


@dataclass(frozen=True)
class Target:
    """One notebook to make, and where it belongs."""

    path: Path
    notebook: NotebookNode


def targets(root: Path, chapter: Chapter) -> list[Target]:
    """The notebooks of one chapter, freshly made, without outputs."""
    lessons = root / "lessons" / chapter.folder
    made = []
    if (lessons / "lesson.py").is_file():
        path = root / "chapters" / chapter.folder / "lesson.ipynb"
        made.append(Target(path, read_lesson(lessons / "lesson.py")))
    if (lessons / "exercises.py").is_file():
        solution = read_lesson(lessons / "exercises.py")
        name = "exercises.ipynb"
        made.append(Target(root / "solutions" / chapter.folder / name, solution))
        student = student_version(solution)
        made.append(Target(root / "chapters" / chapter.folder / name, student))
    return made


def differences(target: Target) -> list[str]:
    """What the notebook on disk has that its source does not say; outputs aside."""
    path = target.path
    if not path.is_file():
        return [f"{path} is missing"]
    stored = nbformat.read(path, as_version=4).cells
    wanted = target.notebook.cells
    if [c.id for c in stored] != [c.id for c in wanted]:
        return [f"{path} has other cells than its source"]
    return [
        f"{path}: cell {cell.id} differs from its source"
        for cell, want in zip(stored, wanted, strict=True)
        if _content(cell, cell) != _content(want, cell)
    ]


def _content(cell: NotebookNode, stored: NotebookNode) -> tuple[object, ...]:
    # A learner may have answered: then only the recorded checksum is compared.
    source = (
        ""
        if is_answered(stored) and "checksum" in stored.metadata.nbgrader
        else (cell.source)
    )
    meta = {k: cell.metadata[k] for k in _COMPARED if k in cell.metadata}
    return cell.cell_type, source, meta


def write(target: Target) -> Path | None:
    """Write a notebook, keeping outputs; returns the backup of a learner's work.

    A notebook in which a learner has answered, or changed or added a cell, is copied
    aside first. Outputs are kept for cells that are unchanged.
    """
    backup = None
    if target.path.is_file():
        stored = nbformat.read(target.path, as_version=4)
        if any(_is_a_learners(c) for c in stored.cells):
            backup = keep_aside(target.path)
        _keep_outputs(stored, target.notebook)
    save(target.notebook, target.path)
    return backup


def _is_a_learners(cell: NotebookNode) -> bool:
    """Answered, changed or added since it was made. Cells of solutions/ are not."""
    if "nbgrader" in cell.metadata:
        return "checksum" in cell.metadata.nbgrader and is_answered(cell)
    return not is_as_made(cell)


def _keep_outputs(stored: NotebookNode, made: NotebookNode) -> None:
    old = {c.id: c for c in stored.cells if c.cell_type == "code"}
    for cell in made.cells:
        before = old.get(cell.id)
        if cell.cell_type == "code" and before and before.source == cell.source:
            cell.outputs = before.outputs
            cell.execution_count = before.execution_count


def keep_aside(path: Path) -> Path:
    """Copy a file beside itself under the first free numbered name."""
    number = 1
    while (
        copy := path.with_name(f"{path.stem}.backup-{number}{path.suffix}")
    ).exists():
        number += 1
    shutil.copy2(path, copy)
    return copy


def save(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook so that a crash leaves the old one or the new one."""
    text = nbformat.writes(notebook)
    write_whole(path, f"{text.rstrip()}\n".encode())
