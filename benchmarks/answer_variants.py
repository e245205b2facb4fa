"""Answers to an assignment's exercises as text: right, in another style, and wrong.

Wrong answers are the keys' mutants, written out with whatever they use, so that a
submission holds them as a learner would have typed them.
"""

from __future__ import annotations

import ast
import copy
import inspect
import sys
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_solution

from tlcourse.authoring.release import student_version
from tlcourse.exercises import Report, get
from tlcourse.exercises.judging import verdict
from tlcourse.exercises.observing import observe

_ANSWERS = Path(__file__).resolve().parents[1] / "tests" / "answers"


class Variants:
    """An assignment's notebook, and the answers that can be put into it."""

    def __init__(self, course: Path, assignment: str) -> None:
        """Read the source notebook of an assignment."""
        from tlcourse.grading.assigning.seeds import seed_of
        from tlcourse.grading.book.masters import load_course

        place = load_course(course)
        folder = place.format_path(place.source_directory, ".", assignment)
        self.source = nbformat.read(Path(folder) / "exercises.ipynb", as_version=4)
        self.assignment = assignment
        self.seed, self.per_student = seed_of(course, assignment)
        self._earned: dict[tuple[str, str, int], float] = {}

    @cached_property
    def max_points(self) -> dict[str, float]:
        """Full marks of everything that is graded, by grade id."""
        keys = [c.metadata.nbgrader for c in self.source.cells if is_grade(c)]
        return {key.grade_id: float(key.points) for key in keys}

    @cached_property
    def exercises(self) -> dict[str, str]:
        """What each exercise's check looks at: the name of a function or class."""
        checks = [c for c in self.source.cells if c.cell_type == "code" and is_grade(c)]
        calls = [ast.parse(cell.source).body[-1].value for cell in checks]
        return {call.args[0].value: call.args[1].id for call in calls}

    def notebook(self, chosen: dict[str, str]) -> NotebookNode:
        """What a learner hands in who answered so; see :meth:`text`."""
        notebook = student_version(self.source)
        for cell in notebook.cells:
            name = _answers_to(cell)
            if name and chosen[name] != "stub":
                cell.source = self.text(name, chosen[name])
        return notebook

    def right(self) -> NotebookNode:
        """Every exercise as the course solves it."""
        return self.notebook(dict.fromkeys(self.exercises, "solution"))

    def text(self, exercise: str, which: str) -> str:
        """An answer's source: ``solution``, ``another style``, or a mutant's name."""
        if which == "solution":
            cell = next(c for c in self.source.cells if _answers_to(c) == exercise)
            lines = cell.source.split("\n")
            return "\n".join(line for line in lines if "### " not in line)
        if which == "another style":
            slug, name = exercise.split(".")
            found = extract(_ANSWERS / f"{slug}.py", name)
        else:
            mutant = next(m for m in get(exercise).key.mutants if m.name == which)
            name = mutant.fn.__name__
            found = extract(Path(inspect.getsourcefile(mutant.fn)), name)
        wanted = self.exercises[exercise]
        return found if name == wanted else f"{found}\n\n\n{wanted} = {name}"

    @cache  # noqa: B019, an object lives as long as the script
    def mutants(self, exercise: str) -> list[str]:
        """Mutants that can be written out, without the course's own functions."""
        return [m.name for m in get(exercise).key.mutants if _is_free(m.fn)]

    def points(self, exercise: str, which: str, student: str) -> float:
        """What an answer earns on the cases of the assignment's seed."""
        seed = self._seed_for(student)
        if (exercise, which, seed) not in self._earned:
            report = self._judge(exercise, which, seed)
            self._earned[exercise, which, seed] = report.points
        return self._earned[exercise, which, seed]

    def _seed_for(self, student: str) -> int:
        from tlcourse.grading.running.questions import seed_for

        return seed_for(self.seed, self.per_student, student)

    def _judge(self, exercise: str, which: str, seed: int) -> Report:
        """By the one judge, in this process: these answers are the course's own."""
        space: dict[str, Any] = {"__name__": "notebook"}
        for cell in self.notebook({**self._solved, exercise: which}).cells:
            if cell.cell_type == "code" and not is_grade(cell):
                exec(cell.source, space)
            if _answers_to(cell) == exercise:
                break
        definition = get(exercise)
        cases = definition.probe.make(seed)
        candidate = space[self.exercises[exercise]]
        run = observe(definition.probe, candidate, cases, guarded=True)
        return verdict(definition, run, cases, seed)

    @cached_property
    def _solved(self) -> dict[str, str]:
        return dict.fromkeys(self.exercises, "solution")


def _answers_to(cell: NotebookNode) -> str:
    """The exercise that an answer cell belongs to, else nothing."""
    if cell.cell_type != "code" or not is_solution(cell):
        return ""
    grade_id = cell.metadata.nbgrader.grade_id
    return grade_id.removesuffix("-answer").replace("-", ".", 1)


def extract(path: Path, name: str) -> str:
    """The source of a module's function with all that it uses, in the module's order.

    Raises:
        ValueError: it uses something of the course's own package.
    """
    found = _needed(path, name)
    text = "\n\n\n".join(ast.unparse(statement) for statement in found)
    if any(_from_course(statement) for statement in found):
        raise ValueError(f"{path}: {name} uses the course's own functions.")
    return text


def _needed(path: Path, name: str) -> list[ast.stmt]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    makers = {bound: i for i, s in enumerate(body) for bound in _binds(s)}
    wanted, todo = set(), [name]
    while todo:
        at = makers.get(todo.pop())
        if at is not None and at not in wanted:
            wanted.add(at)
            todo += [n.id for n in ast.walk(body[at]) if isinstance(n, ast.Name)]
    return [_without_docstring(body[at]) for at in sorted(wanted)]


def _binds(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [a.asname or a.name.split(".")[0] for a in names]
        case ast.Assign(targets=targets):
            parts = [n for target in targets for n in ast.walk(target)]
            return [n.id for n in parts if isinstance(n, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _without_docstring(statement: ast.stmt) -> ast.stmt:
    """Learners write none; and no annotations, which would need imports."""
    made = copy.deepcopy(statement)
    for node in ast.walk(made):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            if len(node.body) > 1 and ast.get_docstring(node):
                node.body = node.body[1:]
        elif isinstance(node, ast.arg):
            node.annotation = None
    return made


def _from_course(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and str(statement.module).startswith(
        "tlcourse"
    )


def _is_free(fn: Any) -> bool:
    """Whether a mutant is a module's function that can be written out alone."""
    if not inspect.isfunction(fn) or fn.__qualname__ != fn.__name__:
        return False
    if getattr(sys.modules[fn.__module__], fn.__name__, None) is not fn:
        return False
    try:
        extract(Path(inspect.getsourcefile(fn)), fn.__name__)
    except ValueError:
        return False
    return True
