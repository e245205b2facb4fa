"""The answers and stubs of lessons/*/exercises.py as objects."""

import ast
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

from nbgrader.utils import is_solution

from tlcourse.authoring.building import targets
from tlcourse.course import find_chapter

ROOT = Path(__file__).resolve().parents[1]


@lru_cache(maxsize=64)
def _notebooks(slug: str):
    made = targets(ROOT, find_chapter(slug))
    by_room = {
        target.path.parts[-3]: target.notebook
        for target in made
        if target.path.name == "exercises.ipynb"
    }
    return by_room


@lru_cache(maxsize=128)
def _namespace(slug: str, room: str) -> dict[str, Any]:
    """Run a notebook's code cells, checks aside; answers land under their grade id."""
    space: dict[str, Any] = {"__name__": "notebook"}
    for cell in _notebooks(slug)[room].cells:
        graded = cell.metadata.get("nbgrader", {}).get("grade", False)
        if cell.cell_type == "code" and not graded:
            exec(compile(cell.source, f"<{cell.id}>", "exec"), space)  # noqa: S102
            if is_solution(cell):
                exercise_id = _exercise_id(cell)
                space[exercise_id] = space[_last_definition(cell.source)]
    return space


def _exercise_id(cell) -> str:
    grade_id = cell.metadata.nbgrader.grade_id.removesuffix("-answer")
    return grade_id.replace("-", ".", 1)


def _last_definition(source: str) -> str:
    """A bug hunt's function has a name of its own; what is checked stands last."""
    names = [n.name for n in ast.parse(source).body if hasattr(n, "name")]
    return names[-1]


def printed_answer(exercise_id: str) -> Any:
    return _namespace(exercise_id.split(".")[0], "solutions")[exercise_id]


def stub(exercise_id: str) -> Any:
    return _namespace(exercise_id.split(".")[0], "chapters")[exercise_id]


def other_answer(exercise_id: str) -> Any:
    slug, name = exercise_id.split(".")
    path = ROOT / "tests" / "answers" / f"{slug}.py"
    spec = importlib.util.spec_from_file_location(f"answers_{slug}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def answer_sources(slug: str) -> dict[str, str]:
    return {
        _exercise_id(cell): cell.source
        for cell in _notebooks(slug)["solutions"].cells
        if cell.cell_type == "code" and is_solution(cell)
    }


def learner_cells(slug: str) -> list[str]:
    folder = ROOT / "chapters" / find_chapter(slug).folder
    import nbformat

    return [
        cell.source
        for path in sorted(folder.glob("*.ipynb"))
        if "backup" not in path.name
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    ]
