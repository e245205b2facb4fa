"""Check cells of the kit: found in the master, observed inside, judged outside."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.utils import is_grade, is_solution

from tlcourse.exercises import PUBLIC_SEED, wire
from tlcourse.exercises.catalog import UnknownExercise, get
from tlcourse.exercises.feedback import Report
from tlcourse.exercises.judging import verdict
from tlcourse.exercises.observing import Run
from tlcourse.exercises.spec import Case, Exercise
from tlcourse.grading.judging.concealing import without_cases
from tlcourse.grading.running.kernels import KernelEnded

_ENDINGS = re.compile(
    r"exit -?\d{1,3}|signal \d{1,2}|memory|processes|disk|killed|quit|output|silent"
)


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


def run_of(
    question: Question, said: Mapping[str, Any] | None, why: str
) -> Run | Report:
    """What was observed, or the report that says why nothing was.

    Args:
        question: what was asked.
        said: the kernel's answer, or how the copy it kept came to its end.
        why: where there is no answer.

    Raises:
        wire.WireError: what was observed is no run.
    """
    if said is None:
        return _report(question, "not run", why)
    text, how = said.get("run"), said.get("how")
    if said.get("status") == "ok" and isinstance(text, str):
        return wire.decode_run(text, question.cases)
    if how == "out of time":
        return out_of_time(question)
    # Whoever has taken over a kernel chooses these words, and knows hidden cases.
    how = how if isinstance(how, str) and _ENDINGS.fullmatch(how) else "no answer"
    return crashed(question, f"Your answer {KernelEnded(how).sentence}.")


def judged(question: Question, run: Run, sources: str) -> Report:
    """The report on a run that came back from a kernel.

    Args:
        question: what was asked.
        run: as the kernel sent it.
        sources: all of the learner's code; only lines of it are quoted.
    """
    if question.hidden:
        run = without_cases(run, sources, question.exercise.probe.forbid)
    report = verdict(question.exercise, run, question.cases, question.seed)
    return out_of_time(question) if report.status == "out of time" else report


def crashed(question: Question, sentence: str) -> Report:
    """The report where the learner's code ended Python."""
    return _report(question, "crashed", sentence)


def missing(question: Question, status: str, sentence: str) -> Report:
    """The report where the name that is checked does not exist."""
    return _report(question, status, sentence)


def out_of_time(question: Question) -> Report:
    """The report where the answer did not stop."""
    return _report(
        question,
        "out of time",
        f"Your code was stopped after {question.seconds:g} s. Is there a loop that "
        "never ends, or one over single numbers?",
    )


def _report(question: Question, status: str, sentence: str) -> Report:
    return replace(Report.not_run(question.exercise, sentence), status=status)


def put(report: Report, cell: NotebookNode) -> None:
    """Make a report the value of its check cell, as ``check`` itself would."""
    data = report._repr_mimebundle_()
    shown = new_output("execute_result", data=data)
    shown.execution_count = cell.execution_count
    cell.outputs = [shown]


def is_missing(run: Run) -> bool:
    """Whether the name that was checked does not exist."""
    raised = [seen.raised for seen in run.observations]
    return bool(raised) and all(
        r and r.type == "NameError" and r.message == wire.MISSING_MESSAGE
        for r in raised
    )
