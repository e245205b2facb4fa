"""The bank of exercises: the lessons' exercises, cut into blocks that can be moved.

A block is what belongs to one exercise or question: its text, helpers, answer and
check. Names say what else it needs: an import, a helper, another's answer.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_solution

from tlcourse.authoring.reading import read_lesson
from tlcourse.course import root

_HEADING = re.compile(r"^## (?:(\d+)\. )?(.*)$", re.MULTILINE)
_COUNT = re.compile(r"\A\w+ exercises, \d+ points, and one question[^.]*\.\s*")


@dataclass(frozen=True)
class Chapter:
    """One lesson's exercises: what comes before them, and a block for each."""

    number: str
    slug: str
    preface: tuple[NotebookNode, ...]
    blocks: Mapping[str, tuple[NotebookNode, ...]]

    @cached_property
    def origins(self) -> dict[str, tuple[str, NotebookNode]]:
        """Where each name of the chapter comes from, the answers' names included."""
        cells = [*self.preface, *(c for block in self.blocks.values() for c in block)]
        found: dict[str, tuple[str, NotebookNode]] = {}
        for cell in cells:
            for bound, origin in bindings(cell).items():
                found.setdefault(bound, (origin, cell))
        return found


def read_bank(course_root: Path) -> dict[str, Chapter]:
    """Chapters with exercises by slug; the package's where a course has none."""
    folder = course_root / "lessons"
    folder = folder if folder.is_dir() else root() / "lessons"
    paths = sorted(folder.glob("[0-9][0-9]_*/exercises.py"))
    return {path.parent.name[3:]: _read_chapter(path) for path in paths}


def _read_chapter(path: Path) -> Chapter:
    """Cut a lesson: a block goes from a heading, or an answer, to what is graded."""
    number, slug = path.parent.name[:2], path.parent.name[3:]
    preface: list[NotebookNode] = []
    block: list[NotebookNode] | None = None
    blocks: dict[str, tuple[NotebookNode, ...]] = {}
    for cell in read_lesson(path).cells:
        if cell.cell_type == "markdown" and _HEADING.match(cell.source):
            preface += block or []
            block = []
            cell.source = _HEADING.sub(_say_chapter(number), cell.source, count=1)
        elif block is None and is_solution(cell):
            block = []
        (preface if block is None else block).append(cell)
        if is_grade(cell):
            grade_id = cell.metadata.nbgrader.grade_id
            name = grade_id if is_solution(cell) else grade_id.replace("-", ".", 1)
            blocks[name] = tuple(block or ())
            block = None
    return Chapter(number, slug, tuple(_without_title(preface, number)), blocks)


def _say_chapter(number: str) -> Callable[[re.Match[str]], str]:
    def heading(found: re.Match[str]) -> str:
        place = f", exercise {found[1]}" if found[1] else ""
        return f"## {found[2]} (chapter {number}{place})"

    return heading


def _without_title(cells: list[NotebookNode], number: str) -> Iterator[NotebookNode]:
    """What a chapter says once for all exercises, its title and counts left out."""
    for cell in cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            paragraphs = cell.source.split("\n\n")[2:]
            text = _COUNT.sub("", "\n\n".join(paragraphs))
            if not text:
                continue
            cell = nbformat.v4.new_markdown_cell(
                f"*For the exercises of chapter {number}.* {text}", id=f"{cell.id}c"
            )
        yield cell


def exercise_of(answer: NotebookNode) -> str:
    """The id of the exercise that an answer cell belongs to."""
    grade_id = answer.metadata.nbgrader.grade_id
    return grade_id.removesuffix("-answer").replace("-", ".", 1)


def bindings(cell: NotebookNode) -> dict[str, str]:
    """Names that a code cell binds, and what each stands for.

    The same import in two cells is the same thing; all else is its cell's own.
    """
    if cell.cell_type != "code":
        return {}
    table = symtable.symtable(cell.source, "cell", "exec").get_symbols()
    names = (s.get_name() for s in table if s.is_assigned() or s.is_imported())
    found = {name: f"{cell.id}:{name}" for name in names}
    for node in ast.parse(cell.source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                found[name] = f"{module}{alias.name}"
    return found


def used_names(cell: NotebookNode) -> set[str]:
    """Names that a code cell takes from outside its functions."""
    if cell.cell_type != "code":
        return set()
    tables = [symtable.symtable(cell.source, "cell", "exec")]
    found: set[str] = set()
    for table in tables:
        top = table.get_type() == "module"
        symbols = (s for s in table.get_symbols() if top or s.is_global())
        found |= {s.get_name() for s in symbols if s.is_referenced()}
        tables.extend(table.get_children())
    return found
