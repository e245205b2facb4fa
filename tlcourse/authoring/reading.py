"""Read lesson text (py:percent) into notebooks with nbgrader's metadata.

Short keys on a cell say what it is: ``answer="slug.function"`` holds an answer
between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` (and, for a bug hunt, the
code to mend between ``### BEGIN STUB`` and ``### END STUB``), ``check="…"`` checks
it, ``question="name" points=2`` is graded by a person (the question stands before
``=== BEGIN MARK SCHEME ===``), ``quiz=true`` is replaced by the chapter's quiz,
``fold=true`` stores the output folded.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from tlcourse.authoring.quiz import quiz_cells
from tlcourse.exercises import get

_STUB = re.compile(r"### BEGIN STUB\n(.*?)### END STUB\n", re.DOTALL)
_MARK_SCHEME = "=== BEGIN MARK SCHEME ==="
_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python"}


class LessonError(ValueError):
    """A lesson's text is not as it must be; the message names file and cell."""


def read_lesson(path: Path) -> NotebookNode:
    """The notebook of one py:percent file; the same text, the same cells.

    Raises:
        LessonError: a key is unknown, an answer has no solution, an id is taken.
        UnknownExercise: an answer or check names no exercise.
    """
    text = path.read_text(encoding="utf-8")
    source = jupytext.reads(text, fmt="py:percent")
    notebook = nbformat.v4.new_notebook()
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {**_KERNEL, "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    taken: dict[str, int] = {}
    for cell in source.cells:
        for made in _expand(cell, path):
            made["id"] = _unique(made["id"], taken, path)
            notebook.cells.append(made)
    notebook.nbformat_minor = 5
    return notebook


def _expand(cell: NotebookNode, path: Path) -> list[NotebookNode]:
    keys = {k: v for k, v in cell.metadata.items() if k != "lines_to_next_cell"}
    if keys.pop("quiz", False):
        return [
            _cell("markdown", text) for text in quiz_cells(path.with_name("quiz.toml"))
        ]
    makers = {"answer": _answer, "check": _check, "question": _question}
    for key, maker in makers.items():
        if key in keys:
            try:
                return maker(cell, keys)
            except ValueError as error:
                raise LessonError(f"{path}: cell {keys[key]!r}: {error}") from error
    made = _cell(cell.cell_type, cell.source)
    if keys.pop("fold", False):
        made.metadata["jupyter"] = {"outputs_hidden": True}
    if "tags" in keys:
        made.metadata["tags"] = keys.pop("tags")
    if keys:
        raise LessonError(f"{path}: unknown cell keys {sorted(keys)}.")
    return [made]


def _cell(kind: str, source: str) -> NotebookNode:
    new = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    made = new[kind](source)
    made["id"] = _fingerprint(made)
    return made


def _fingerprint(cell: NotebookNode) -> str:
    text = f"{cell.cell_type}\n{cell.source}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_as_made(cell: NotebookNode) -> bool:
    """Whether a cell without a grade id has the text that it was made with."""
    return cell.get("id", "")[:12] == _fingerprint(cell)


def _answer(cell: NotebookNode, keys: dict[str, Any]) -> list[NotebookNode]:
    exercise = get(keys["answer"])
    source = cell.source + "\n"
    stub = _STUB.search(source)
    source = _STUB.sub("", source).rstrip("\n")
    if "### BEGIN SOLUTION" not in source or "### END SOLUTION" not in source:
        raise ValueError("no '### BEGIN SOLUTION' … '### END SOLUTION'.")
    made = _cell("code", source)
    made.metadata["nbgrader"] = _nbgrader(f"{exercise.id}.answer", solution=True)
    if stub:
        made.metadata["tlcourse"] = {"stub": stub.group(1).rstrip("\n")}
    made["id"] = made.metadata.nbgrader.grade_id
    return [made]


def _check(cell: NotebookNode, keys: dict[str, Any]) -> list[NotebookNode]:
    exercise = get(keys["check"])
    made = _cell("code", cell.source)
    made.metadata["nbgrader"] = _nbgrader(exercise.id, points=exercise.points)
    made.metadata["tags"] = ["nbval-check-output"]
    made["id"] = made.metadata.nbgrader.grade_id
    return [made]


def _question(cell: NotebookNode, keys: dict[str, Any]) -> list[NotebookNode]:
    """Two cells: nbgrader empties the one that is graded, so the question is apart."""
    points = keys.get("points")
    asked, mark, scheme = cell.source.partition(_MARK_SCHEME)
    if not isinstance(points, int) or points < 1 or not mark:
        raise ValueError(f"a question needs whole points and '{_MARK_SCHEME}'.")
    made = _cell("markdown", mark + scheme)
    made.metadata["nbgrader"] = _nbgrader(
        keys["question"], points=points, solution=True
    )
    made["id"] = made.metadata.nbgrader.grade_id
    return [_cell("markdown", asked.strip()), made]


def _nbgrader(
    name: str, *, points: int | None = None, solution: bool = False
) -> dict[str, Any]:
    """nbgrader's keys. A cell with points is graded; a check is locked too."""
    keys = {
        "grade": points is not None,
        "grade_id": name.replace(".", "-"),
        "locked": points is not None and not solution,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    return keys if points is None else {**keys, "points": points}


def _unique(cell_id: str, taken: dict[str, int], path: Path) -> str:
    """Equal cells get numbered ids; a grade id may stand only once."""
    count = taken.get(cell_id, 0)
    taken[cell_id] = count + 1
    if count and "-" in cell_id:
        raise LessonError(f"{path}: the id {cell_id!r} is used twice.")
    return f"{cell_id}{count}" if count else cell_id
