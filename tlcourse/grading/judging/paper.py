"""One notebook of a submission on its way to a result."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import compute_checksum, is_grade, is_locked, is_solution, is_task

from tlcourse.exercises import PUBLIC_SEED, judge, wire
from tlcourse.exercises.feedback import Report
from tlcourse.exercises.forbidding import blames_another
from tlcourse.exercises.observing import Run
from tlcourse.grading.judging import checking
from tlcourse.grading.judging.explaining import (
    flags_of,
    how_it_stopped,
    number,
    why_missing,
)
from tlcourse.grading.judging.rules import points
from tlcourse.grading.judging.scanning import scan
from tlcourse.grading.reading.matching import merge
from tlcourse.grading.reading.notebooks import Unreadable, read_notebook
from tlcourse.grading.reading.stock import merge_stock
from tlcourse.grading.reading.submissions import missing_message
from tlcourse.grading.records import (
    Assignment,
    CellGrade,
    Flag,
    Master,
    NotebookResult,
    Status,
    Submission,
)
from tlcourse.grading.running import canaries
from tlcourse.grading.running.cells import NotebookRun
from tlcourse.grading.running.kernels import Kernel
from tlcourse.grading.running.planning import CellRun, Clock, Plan
from tlcourse.grading.running.questions import Question, check_cells, seed_for

# Kernels whose view of the package is made for these exercises.
Kernels = Callable[[Sequence[str]], AbstractContextManager[Callable[[], Kernel]]]
Again = Callable[[int], CellRun]  # looks a second time at the check cell of this index


class Paper:
    """One notebook of a submission.

    Args:
        assignment: what all submissions share.
        submission: the student's files.
        source: the teacher's notebook.

    Raises:
        UnusableCheck: the teacher's notebook cannot be graded.
    """

    def __init__(
        self, assignment: Assignment, submission: Submission, source: Master
    ) -> None:
        """Read and merge; nothing runs yet."""
        self.assignment, self.submission = assignment, submission
        self.name, self.flags = source.name, list[Flag]()
        self.master = nbformat.reads(source.notebook, as_version=4)
        self._corrected = assignment.rule == "corrected"
        self.checks = check_cells(self.master)
        self._status: Status = "graded"
        self._message = ""
        self.merged = self._merge()

    def _merge(self) -> NotebookNode | None:
        """The notebook that is run; ``None`` if there is none to be had."""
        data = self.submission.files.get(f"{self.name}.ipynb")
        if data is None:
            self._status = "missing"
            self._message = missing_message(self.submission, self.name)
            return None
        try:
            submitted = read_notebook(data)
        except Unreadable as error:
            self._status, self._message = "unreadable", str(error)
            return None
        how = merge if self._corrected else merge_stock
        merged = how(self.master, submitted, self.name)
        own = [*self._own_modules(), *self._own_code(merged.notebook)]
        self.flags += [*merged.flags, *scan(own, self.assignment.files)]
        return merged.notebook

    def _own_code(self, notebook: NotebookNode) -> Iterator[tuple[str, str]]:
        """Where and what: the code that the learner wrote."""
        given = {cell.source for cell in self.master.cells}
        for index, cell in enumerate(notebook.cells):
            own = cell.cell_type == "code" and cell.source not in given
            if own and not is_locked(cell):
                where = f"{self.name}, code cell {number(notebook.cells, index)}"
                yield where, cell.source

    def _own_modules(self) -> Iterator[tuple[str, str]]:
        """Where and what: Python files that were handed in beside the notebook."""
        for name, data in sorted(self.submission.files.items()):
            if name.endswith(".py") and name not in self.assignment.files:
                yield name, data.decode("utf-8", "replace")

    def _graded_cells(self) -> Iterator[tuple[str, float]]:
        for cell in self.master.cells:
            if is_grade(cell) or is_task(cell):
                marks = cell.metadata.nbgrader
                yield marks.grade_id, float(marks.points)

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where in the merged notebook each graded cell stands."""
        cells = enumerate(self.merged.cells)
        graded = ((i, c) for i, c in cells if is_grade(c) or is_task(c))
        return {cell.metadata.nbgrader.grade_id: index for index, cell in graded}

    def graded(self, kernels: Kernels, clock: Clock, looking: Clock) -> NotebookResult:
        """Run the notebook and judge it, within the submission's two times."""
        if self.merged is None:
            return self._ungraded()
        limits, exercises = self.assignment.limits, self._exercises
        with kernels(exercises) as begin:
            plan = self._plan()
            run = NotebookRun(self.merged, plan, begin, limits, clock, looking)
            asyncio.run(run.run())
        again = partial(self._once_more, run, kernels, looking)
        grades = [
            self._grade(run, again, name, most) for name, most in self._graded_cells()
        ]
        self.flags += flags_of(run, self.name)
        message = how_it_stopped(run, self.name)
        return NotebookResult(
            name=self.name,
            status="stopped" if message else "graded",
            message=message,
            grades=tuple(grades),
            no_response=tuple(self._unanswered()),
            notebook=nbformat.writes(self.merged).encode("utf-8", "replace").decode(),
        )

    @property
    def _exercises(self) -> tuple[str, ...]:
        return tuple(sorted(check.exercise for check in self.checks.values()))

    def _ungraded(self) -> NotebookResult:
        """Nothing for each cell; none of them waits for a person."""
        grades = tuple(
            CellGrade(grade_id=name, max_points=most, auto=0.0, status="not run")
            for name, most in self._graded_cells()
        )
        return NotebookResult(
            name=self.name, status=self._status, message=self._message, grades=grades
        )

    def _unanswered(self) -> Iterator[str]:
        for cell in self.merged.cells:
            marks = cell.metadata.get("nbgrader", {})
            if is_solution(cell) and marks.get("checksum") == compute_checksum(cell):
                yield marks.grade_id

    @property
    def _seed(self) -> int:
        """Stock nbgrader runs ``check`` itself, which knows the published cases."""
        if not self._corrected:
            return PUBLIC_SEED
        shared = self.assignment.seed, self.assignment.per_student
        return seed_for(*shared, self.submission.student)

    def _plan(self) -> Plan:
        seconds = self.assignment.limits.cell_seconds
        questions = {
            self._places[name]: Question.of(check, self._seed, seconds)
            for name, check in self.checks.items()
            if name in self._places
        }
        if not self._corrected:
            return Plan(questions)
        tests = frozenset(
            index
            for index in self._places.values()
            if index not in questions and is_locked(self.merged.cells[index])
        )
        sources = [c.source for c in self.master.cells if c.cell_type == "code"]
        return Plan(questions, tests, canaries.bound_names(sources))

    def _grade(
        self, run: NotebookRun, again: Again, name: str, most: float
    ) -> CellGrade:
        index = self._places.get(name)
        if index is None:  # deleted: by the stock rule a person grades it
            return CellGrade(
                grade_id=name, max_points=most, auto=None, status="not run"
            )
        cell = self.merged.cells[index]
        if index in run.plan.questions:
            report = self._report(run, again, index)
            checking.put(report, cell)
            return CellGrade(
                grade_id=name,
                max_points=most,
                auto=report.points,
                status=report.status,
                report=report.to_json(),
            )
        if is_task(cell):
            return CellGrade(grade_id=name, max_points=most, auto=None, status="manual")
        found = points(cell, run.runs.get(index), self.assignment.rule)
        for kind, what in found.flags:
            self._flag(kind, name, what)
        return CellGrade(
            grade_id=name, max_points=most, auto=found.auto, status=found.status
        )

    def _flag(self, kind: str, grade_id: str, what: str) -> None:
        where = f"{self.name}: {grade_id}"
        self.flags.append(Flag(kind=kind, where=where, what=what))

    def _report(self, run: NotebookRun, again: Again, index: int) -> Report:
        """The verdict on one check cell."""
        question, ran = run.plan.questions[index], run.runs.get(index, CellRun())
        try:
            seen = checking.run_of(question, ran.observed, ran.why)
            if isinstance(seen, Run) and blames_another(
                question.exercise.probe, seen.forbidden
            ):
                ran = again(index)
                seen = checking.run_of(question, ran.observed, ran.why)
            if isinstance(seen, Report):
                return seen
            if checking.is_missing(seen):
                return checking.missing(question, *why_missing(run, index, self.master))
            own = "\n".join(c.source for c in self.merged.cells)
            return checking.judged(question, seen, own)
        except Exception as error:
            # A key that fails is the grader's failure; else it was what came back.
            if not isinstance(error, wire.WireError):
                judge(question.exercise, question.exercise.key.reference, question.seed)
            what = "What came back from a check was no observation; it gives nothing."
            name = self.merged.cells[index].metadata.nbgrader.grade_id
            self._flag("unreadable observation", name, what)
            said = "What your answer gave could not be read."
            return checking.crashed(question, said)

    def _once_more(
        self, run: NotebookRun, kernels: Kernels, clock: Clock, index: int
    ) -> CellRun:
        """Ask again where the package lacks only what this exercise forbids.

        Else an answer would be refused for what only another exercise forbids.
        """
        question, limits = run.plan.questions[index], self.assignment.limits
        notebook = copy.deepcopy(self.merged)
        notebook.cells = notebook.cells[: index + 1]
        with kernels([question.check.exercise]) as begin:
            plan = Plan({index: question})
            again = NotebookRun(notebook, plan, begin, limits, clock, clock)
            asyncio.run(again.run())
        return again.runs.get(index, CellRun())
