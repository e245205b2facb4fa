"""Choose exercises from the bank into a new nbgrader assignment, with a private seed.

The notebook is made from the same lesson text as the chapters, by the same builder:
``solutions/NAME/exercises.ipynb`` is an ordinary nbgrader source. The seed decides
the cases that the grader uses; learners' own checks use the published ones.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_solution

from tlcourse.authoring.building import save
from tlcourse.exercises import get
from tlcourse.grading.assigning.bank import (
    Chapter,
    bindings,
    exercise_of,
    read_bank,
    used_names,
)
from tlcourse.grading.assigning.seeds import NotAssigned, keep_seed, seed_of, seeds_path
from tlcourse.grading.book.masters import load_course

__all__ = ["NotAssigned", "assign", "seed_of", "seeds_path"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}
_LARGEST_SEED = 2**53  # also exact where a number is a float, as in JSON
_INTRO = """\
# {title}

Answer each cell that says `YOUR CODE HERE`, run it, then run the check below it. \
Stuck? `hint("{first}")` gives one of three hints. The checks here use published \
cases; your work is graded on others of the same kind.

{counts}"""


def assign(
    course_root: Path,
    name: str,
    exercises: Sequence[str],
    *,
    title: str | None = None,
    per_student: bool = False,
    seed: int | None = None,
) -> Path:
    """Make a new assignment; returns its source notebook.

    Args:
        course_root: the folder that holds ``nbgrader_config.py``.
        name: the assignment's name; no chapter's, and not yet taken.
        exercises: in their order: ``losses.cross_entropy``; ``losses-why``, a
            question that a person grades; ``losses.*``, a chapter's exercises;
            ``losses``, these and its question.
        title: the notebook's heading; by default the name.
        per_student: whether every student is graded on cases of their own.
        seed: decides the cases, 1 or more; by default a random one.

    Raises:
        NotAssigned: the name is taken or looks like a chapter's, an exercise is
            asked for that is not there, or one that needs another's answer.
        UnknownExercise: no exercise has this id.
    """
    bank = read_bank(course_root)
    _check_name(name, bank)
    if seed is not None and not 1 <= seed <= _LARGEST_SEED:
        raise NotAssigned(f"A seed is a whole number from 1 to 2**53, not {seed}.")
    notebook = _compose(_chosen(exercises, bank), title or name)
    course = load_course(course_root)
    folder = course.format_path(course.source_directory, ".", name)
    path = Path(folder) / "exercises.ipynb"
    try:
        path.parent.mkdir(parents=True)  # whoever makes the folder has the name
    except FileExistsError:
        raise NotAssigned(
            f"{path.parent} exists already. Choose another name; an assignment is "
            "never overwritten."
        ) from None
    drawn = seed or 1 + secrets.randbelow(_LARGEST_SEED)
    _save(notebook, path, lambda: keep_seed(course_root, name, drawn, per_student))
    return path


def _save(notebook: NotebookNode, path: Path, keep: Callable[[], None]) -> None:
    """Write the notebook; it has its name only when its seed is kept."""
    draft = path.with_suffix(".draft")
    try:
        save(notebook, draft)
        keep()
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        path.parent.rmdir()
        raise


def _check_name(name: str, bank: Mapping[str, Chapter]) -> None:
    if not _NAME.fullmatch(name):
        raise NotAssigned(
            f"An assignment's name is a letter, then up to 63 letters, digits, '_' or "
            f"'-', such as hw1; got {name!r}."
        )
    if name.lower().replace("-", "_") in bank:
        raise NotAssigned(f"{name!r} is a chapter's name; choose another, such as hw1.")


def _chosen(
    wanted: Sequence[str], bank: Mapping[str, Chapter]
) -> list[tuple[Chapter, str]]:
    """(chapter, block) of everything asked for, each once, in its first place."""
    found: dict[str, tuple[Chapter, str]] = {}
    for word in wanted:
        slug = re.split(r"[.-]", word, maxsplit=1)[0]
        chapter = bank.get(slug)
        if chapter and word in (slug, f"{slug}.*"):
            names = [n for n in chapter.blocks if word == slug or "." in n]
        elif chapter and word in chapter.blocks:
            names = [word]
        else:
            raise _unknown(word, bank)
        found |= {name: (chapter, name) for name in names if name not in found}
    if not found:
        raise NotAssigned("Name at least one exercise, such as losses.cross_entropy.")
    return list(found.values())


def _unknown(word: str, bank: Mapping[str, Chapter]) -> Exception:
    if "." in word and not word.endswith(".*"):
        get(word)  # names the nearest ids
        return NotAssigned(f"No lesson in lessons/ has the exercise {word!r}.")
    questions = [n for c in bank.values() for n in c.blocks if "." not in n]
    return NotAssigned(
        f"There is no {word!r}. Chapters: {', '.join(bank)}. "
        f"Questions: {', '.join(questions)}."
    )


def _compose(chosen: list[tuple[Chapter, str]], title: str) -> NotebookNode:
    cells: list[NotebookNode] = []
    bound: dict[str, str] = {}
    said: set[str] = set()
    for chapter, name in chosen:
        own = chapter.blocks[name]
        for cell in (*_preface(chapter, said), *_set_up(chapter, name, bound), *own):
            cells.append(nbformat.from_dict(cell))
            bound |= bindings(cell)
    notebook = nbformat.v4.new_notebook(cells=[_introduce(title, chosen, cells)])
    notebook.cells += cells
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    )
    taken: dict[str, int] = {}
    for cell in notebook.cells:
        count = taken[cell.id] = taken.get(cell.id, -1) + 1
        cell.id += str(count or "")
    return notebook


def _preface(chapter: Chapter, said: set[str]) -> Iterator[NotebookNode]:
    """What the chapter says to all its exercises, before the first of them."""
    if chapter.slug not in said:
        said.add(chapter.slug)
        yield from (c for c in chapter.preface if c.cell_type == "markdown")


def _set_up(
    chapter: Chapter, name: str, bound: Mapping[str, str]
) -> list[NotebookNode]:
    """Cells that must run before a block: the chapter's own, and what it uses.

    A name that another exercise has bound to something else is bound again.

    Raises:
        NotAssigned: the block uses another exercise's answer that is not there.
    """
    block = chapter.blocks[name]
    used = set().union(*map(used_names, block)) - set().union(*map(bindings, block))
    used |= {n for cell in chapter.preface for n in bindings(cell)}
    needed: list[NotebookNode] = []
    missing: list[str] = []
    for word in sorted(used & chapter.origins.keys()):
        origin, cell = chapter.origins[word]
        if bound.get(word) == origin or any(cell is other for other in needed):
            continue
        if is_solution(cell):
            missing.append(exercise_of(cell))
        else:
            needed.append(cell)
    if missing:
        raise NotAssigned(
            f"{name} may use the learner's {' and '.join(missing)}: "
            f"name {' '.join(missing)} before it."
        )
    order = {id(cell): at for at, (_, cell) in enumerate(chapter.origins.values())}
    return sorted(needed, key=lambda cell: order[id(cell)])


def _introduce(
    title: str, chosen: list[tuple[Chapter, str]], cells: list[NotebookNode]
) -> NotebookNode:
    points = sum(c.metadata.nbgrader.points for c in cells if is_grade(c))
    ids = [name for _, name in chosen if "." in name]
    questions = len(chosen) - len(ids)
    counts = f"Exercises: {len(ids)}. Points: {points}."
    if questions:
        counts += f" Questions that a person marks: {questions}."
    first = ids[0] if ids else "losses.cross_entropy"
    text = _INTRO.format(title=title, first=first, counts=counts)
    return nbformat.v4.new_markdown_cell(text, id="introduction")
