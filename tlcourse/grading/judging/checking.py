"""The verdict on the kit's check cells: observed inside, judged outside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from tlcourse.exercises import wire
from tlcourse.exercises.feedback import Report
from tlcourse.exercises.judging import verdict
from tlcourse.exercises.observing import Run
from tlcourse.grading.judging.concealing import without_cases
from tlcourse.grading.running.kernels import KernelEnded
from tlcourse.grading.running.questions import Question

_ENDINGS = re.compile(
    r"exit -?\d{1,3}|signal \d{1,2}|memory|processes|killed|quit|output|silent"
)


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
