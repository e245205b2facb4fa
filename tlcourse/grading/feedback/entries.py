"""What the page says of each exercise and question, in words for the learner."""

from __future__ import annotations

import builtins
import contextlib
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup
from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_solution, is_task

from tlcourse.exercises.catalog import UnknownExercise, get_probe
from tlcourse.exercises.feedback import Report
from tlcourse.grading.book.marks import Mark, Marks
from tlcourse.grading.feedback.cells import error_of, is_learners, source_of
from tlcourse.grading.feedback.cleaning import Budget, markdown, plain
from tlcourse.grading.records import CellGrade, NotebookResult

_SAYS = {
    "passed": "All tests pass.",
    "failed": "A test fails.",
    "partial": "Some of the tests pass.",
    "crashed": "Your code ended Python itself here, or used more than it may (memory, "
    "processes). This exercise has no points; the others were graded.",
    "out of time": "Your code did not finish in the time it has. "
    "Is there a loop that never ends?",
    "not run": "The grader did not come to this exercise: "
    "the notebook ended or used up its time before.",
    "not attempted": "No answer was found here.",
    "manual": "Your teacher reads this answer.",
}
_HIDDEN = "This exercise has tests that are not shown."
_WITHHELD = (
    "error: {} (its text is left out: it could hold a hidden case. "
    "Run your code in the notebook on a case of this kind to see it.)"
)
_MAX_COMMENT = 5_000
# What the judge itself writes after "expected" and "got"; anything else is a
# learner's text, which could hold a hidden case.
_NUMBER = r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)"
_OWN_WORDS = re.compile(
    rf"{_NUMBER}(?: at \[[\d, ]{{1,40}}\])?|(?:float|int) {_NUMBER}|bool (?:True|False)"
    rf"|(?:tensor|array) (?:{_NUMBER}|of shape \([\d, ]*\)) \(\w+\)"
    r"|nothing|no error|None|(?:list|tuple|range|generator) of \d+|\d+ items"
)
_CHECK = re.compile(r"check\(\s*[\"']([a-z0-9_]+\.[a-z0-9_]+)[\"']")
_LONGEST = 48  # characters of one value that the judge writes


@dataclass(frozen=True)
class Entry:
    """One exercise or question.

    Args:
        grade_id: nbgrader's id of the cell.
        title: what to call it.
        status: see :class:`tlcourse.grading.records.CellGrade`.
        points: earned so far.
        max_points: full marks.
        waiting: whether a person must still grade it.
        by_hand: whether a person gave the points.
        groups: name, right and all cases of each group, for the kit's exercises.
        message: the sentence that helps.
        detail: expected, got, and the kind of case; or the error of a visible test.
        comments: what the teacher wrote, in Markdown as formgrader says.
        answer: to a question that a person grades, cleaned.
    """

    grade_id: str
    title: str
    status: str
    points: float
    max_points: float
    waiting: bool
    by_hand: bool
    groups: tuple[tuple[str, int, int], ...] = ()
    message: str = ""
    detail: str = ""
    comments: tuple[Markup, ...] = ()
    answer: Markup | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing was handed in for it."""
        return self.status == "not attempted"


def entries(
    result: NotebookResult,
    notebook: NotebookNode | None,
    marks: Marks,
    budget: Budget,
    *,
    hidden: Collection[str] = (),
    private: bool = False,
) -> list[Entry]:
    """One entry for each graded cell of the notebook, in its order.

    Args:
        result: what the grader found.
        notebook: the autograded one, if there is one.
        marks: the student's marks in the gradebook.
        budget: what the page may still hold.
        hidden: grade ids of cells with hidden tests; with one of them, no error
            text of any cell is shown, for code that ran beside a test can read it.
        private: whether the cases are secret: then nothing is shown that the
            learner's code could have put there.
    """
    cells = {_id(cell): cell for cell in notebook.cells} if notebook else {}
    comments = _comments(result, notebook, marks, budget)
    sealed = bool(hidden) or private
    found = []
    for grade in result.grades:
        cell = cells.get(grade.grade_id)
        mark = marks.cells.get((result.name, grade.grade_id))
        entry = _entry(grade, mark, comments.get(grade.grade_id, ()))
        if grade.report:
            source = "\n".join(c.source for c in cells.values() if is_learners(c))
            entry = _of_kit(entry, grade.report, source if private else None)
        elif cell is not None and is_solution(cell):
            answer = None if entry.empty else source_of(cell, budget)
            entry = replace(entry, title=f"Question {entry.title}", answer=answer)
        elif cell is not None:
            entry = _of_test(entry, cell, entry.grade_id in hidden, sealed)
        found.append(entry)
    return found


def _of_test(entry: Entry, cell: NotebookNode, hidden: bool, sealed: bool) -> Entry:
    """Add what may be told of a test cell, or a task, that made no report."""
    title = f"Task {entry.title}" if is_task(cell) else entry.title
    if asked := _CHECK.match(cell.source):
        with contextlib.suppress(UnknownExercise):
            title = get_probe(asked[1]).title
    message = f"{entry.message} {_HIDDEN}" if hidden else entry.message
    detail = "" if sealed else error_of(cell)
    return replace(entry, title=title, message=message, detail=detail)


def _entry(grade: CellGrade, mark: Mark | None, comments: tuple[Markup, ...]) -> Entry:
    status = "manual" if grade.auto is None else grade.status
    read = status == "manual" and mark is not None and mark.by_hand
    return Entry(
        grade_id=grade.grade_id,
        title=grade.grade_id,
        status=status,
        points=mark.score if mark else grade.auto or 0.0,
        max_points=grade.max_points,
        waiting=mark.waiting if mark else grade.auto is None,
        by_hand=bool(mark and mark.by_hand),
        message="" if read else _SAYS.get(status, ""),
        comments=comments,
    )


def _of_kit(entry: Entry, record: dict[str, Any], secret_from: str | None) -> Entry:
    """Add what the judge said; ``secret_from`` is the learner's source, or ``None``."""
    report = Report.from_json(record)
    detail = report.detail
    if secret_from is not None:
        report = _refused_plainly(report)
        guarded = (_guarded(line, secret_from) for line in _lines(detail))
        detail = "\n".join(filter(None, guarded))
    elif report.printed:
        detail += f"\nyour code printed:\n{report.printed}"
    return replace(
        entry,
        title=report.title,
        groups=tuple((g.name, g.right, g.cases) for g in report.groups),
        message=report.message or entry.message,
        detail=plain(detail.strip("\n")),
    )


def _refused_plainly(report: Report) -> Report:
    """Name what was called only where the exercise itself names it."""
    known = get_probe(report.exercise).forbid if report.status == "refused" else ()
    if report.status != "refused" or any(
        f" {name}," in report.message for name in known
    ):
        return report
    return report.saying("Your answer calls what does the work you are asked to do.")


def _lines(detail: str) -> list[str]:
    """The judge's lines; others belong to an error's text, and so to the learner."""
    first, *others = detail.split("\n")
    starts = ("your line ", "error: ", "expected: ", "got: ")
    return [first, *(line for line in others if line.startswith(starts))]


def _guarded(line: str, source: str) -> str:
    """The line, without anything that code could have put a hidden case into."""
    head, _, rest = line.partition(": ")
    name = rest.split(":")[0]
    if head.startswith("your line"):
        return (
            line if re.fullmatch(r"your line \d{1,4}", head) and rest in source else ""
        )
    if head == "error":
        return _WITHHELD.format(name if _is_builtin(name) else "one of your own")
    if head in ("expected", "got"):
        if _OWN_WORDS.fullmatch(rest) and len(rest) <= _LONGEST:
            return line
        return f"{head}: {name if _is_builtin(name) else 'another kind of value'}"
    return line


def _is_builtin(name: str) -> bool:
    kind = getattr(builtins, name, None)
    return isinstance(kind, type) and issubclass(kind, BaseException)


def _id(cell: NotebookNode) -> str:
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))


def _comments(
    result: NotebookResult, notebook: NotebookNode | None, marks: Marks, budget: Budget
) -> dict[str, tuple[Markup, ...]]:
    """Comments by graded cell: nbgrader hangs them on the answer before the check."""
    said = {
        cell: markdown(text[:_MAX_COMMENT], budget, escape=True)
        for (name, cell), text in marks.comments.items()
        if name == result.name and text
    }
    found: dict[str, tuple[Markup, ...]] = {}
    open_: list[Markup] = []
    for cell in notebook.cells if notebook else ():
        if _id(cell) in said:
            open_.append(said.pop(_id(cell)))
        if is_grade(cell) or is_task(cell):
            found[_id(cell)], open_ = tuple(open_), []
    last = result.grades[-1].grade_id if result.grades else ""
    rest = (*open_, *said.values())
    return {**found, last: (*found.get(last, ()), *rest)}
