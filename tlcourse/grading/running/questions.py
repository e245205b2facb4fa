"""What the kit's check cells ask: found in the master, put to a kernel with cases."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_solution

from tlcourse.exercises import PUBLIC_SEED, wire
from tlcourse.exercises.catalog import UnknownExercise, get
from tlcourse.exercises.spec import Case, Exercise


class UnusableCheck(ValueError):
    """A graded cell calls ``check`` in a form that cannot be judged outside."""


@dataclass(frozen=True)
class Check:
    """What a check cell asks: this exercise, of the object of this name."""

    exercise: str
    name: str


@dataclass(frozen=True)
class Question:
    """A check with its cases, ready to be put to a kernel.

    Args:
        check: what the cell says.
        exercise: what it means.
        cases: those of ``seed``.
        seed: decides the cases.
        seconds: for all cases together.
    """

    check: Check
    exercise: Exercise
    cases: Sequence[Case]
    seed: int
    seconds: float

    @classmethod
    def of(cls, check: Check, seed: int, most_seconds: float) -> Question:
        """The cases of ``seed``, within the probe's time or ``most_seconds``."""
        exercise = get(check.exercise)
        seconds = min(exercise.probe.limits.seconds, most_seconds)
        return cls(check, exercise, exercise.probe.make(seed), seed, seconds)

    @property
    def hidden(self) -> bool:
        """Whether the cases are a secret: not those that the learner's check uses."""
        return self.seed != PUBLIC_SEED

    def preparation(self) -> dict[str, Any]:
        """What the kernel is told at the check cell: nothing that is hidden."""
        return {"exercise": self.check.exercise, "name": self.check.name}

    def content(self) -> dict[str, Any]:
        """What the kernel is told when all cells have run."""
        return {
            "exercise": self.check.exercise,
            "cases": wire.encode_cases(self.cases),
            "seconds": self.seconds,
        }


def seed_for(seed: int, per_student: bool, student: str) -> int:
    """The seed of a student's cases: the assignment's, or one of their own."""
    if not per_student:
        return seed
    text = hashlib.sha256(f"{seed}:{student}".encode()).digest()
    return 1 + int.from_bytes(text[:4], "big") % (2**31 - 1)  # never the public one


def check_cells(master: NotebookNode) -> dict[str, Check]:
    """The kit's check cells of a master by grade id.

    Raises:
        UnusableCheck: a graded cell checks an exercise, but not by that call alone.
    """
    found = {}
    for cell in master.cells:
        if cell.cell_type != "code" or not is_grade(cell) or is_solution(cell):
            continue
        calls = list(_checks_in(cell.source))
        if not calls:
            continue
        grade_id = cell.metadata.nbgrader.grade_id
        check, alone = calls[0]
        if check in found.values():
            raise UnusableCheck(f"{check.exercise!r} is checked by two graded cells.")
        if check is None or not alone:
            raise UnusableCheck(
                f"The graded cell {grade_id!r} calls check(). It must be that one "
                'call alone, with an id and a name: check("losses.mmd", mmd).'
            )
        found[grade_id] = check
    return found


def _checks_in(source: str) -> Iterator[tuple[Check | None, bool]]:
    """Calls of ``check`` with a known id; whether the call is all there is."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # magics: it is no check cell
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        named = node.func.attr if isinstance(node.func, ast.Attribute) else None
        named = node.func.id if isinstance(node.func, ast.Name) else named
        first = node.args[0]
        if named != "check" or not isinstance(first, ast.Constant):
            continue
        if not _is_known(first.value):
            continue
        only = len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr)
        alone = only and tree.body[0].value is node and isinstance(node.func, ast.Name)
        plain = len(node.args) == 2 and isinstance(node.args[1], ast.Name)
        plain = plain and not node.keywords
        yield (Check(first.value, node.args[1].id) if plain else None), alone


def _is_known(exercise_id: object) -> bool:
    try:
        return isinstance(exercise_id, str) and get(exercise_id) is not None
    except UnknownExercise:
        return False
