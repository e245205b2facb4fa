"""One submission's rows in nbgrader's gradebook: made, filled, compared.

Nothing here commits: the caller's transaction takes all of it, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from nbgrader.api import (
    Assignment,
    BaseCell,
    Comment,
    Grade,
    GradeCell,
    Notebook,
    SolutionCell,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
    TaskCell,
)
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import parse_utc
from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from tlcourse.grading.records import CellGrade, NotebookResult, Result

_NO_RESPONSE = "No response."  # nbgrader's words
_ABSENT = ("missing", "unreadable")
_KINDS = {Grade: (GradeCell, TaskCell), Comment: (SolutionCell, TaskCell)}


class Mismatch(Exception):
    """The gradebook knows other notebooks or cells than the result."""


def save(db: Session, result: Result, late: AssignLatePenalties) -> None:
    """Fill in everything that ``nbgrader autograde`` would have, without a commit.

    Args:
        db: the gradebook's session, at the start of a transaction.
        result: what is to be saved.
        late: nbgrader's preprocessor for late penalties, its plugin made.

    Raises:
        Mismatch: the gradebook has another assignment.
    """
    with db.no_autoflush:  # rows are inserted with their points, not empty first
        submission = _submission(db, _lock(db, result), result)
        for notebook in submission.notebooks:
            own = _own(result, notebook.notebook.name)
            _fill(db, notebook, own)
            db.flush()
            notebook.late_submission_penalty = _penalty(db, notebook, own, late)


def _fill(db: Session, notebook: SubmittedNotebook, own: NotebookResult) -> None:
    cells = db.query(BaseCell).filter_by(notebook_id=notebook.notebook_id).all()
    grades, comments = (_rows(db, notebook, model, cells) for model in _KINDS)
    if other := set(grades) ^ {given.grade_id for given in own.grades}:
        raise Mismatch(
            f"the graded cells of {own.name} are others in the gradebook: "
            f"{', '.join(sorted(other))}"
        )
    for given in own.grades:
        grade = grades[given.grade_id]
        grade.auto_score = _points(given, own)
        grade.needs_manual_grade = _needs_a_person(given, own, grade.manual_score)
    for comment in comments.values():
        comment.auto_comment = _remark(comment.cell.name, comment.cell.type, own)


def agrees(db: Session, result: Result) -> bool:
    """Whether the rows say what :func:`save` would make them say.

    Late penalties are not compared: they follow from manual scores too.
    """
    submission = _find(db, result)
    if submission is None:
        return False
    moment = _moment(result.timestamp)
    if moment not in (None, submission.timestamp):
        return False
    said = {(n.name, g.grade_id): (g, n) for n in result.notebooks for g in n.grades}
    held = {(row.notebook, row.cell): row for row in _read(db, Grade, submission)}
    if said.keys() != held.keys():
        return False
    return all(
        held[key].auto_score == _points(given, own)
        and (  # a person may have looked at a manual score since then, or not
            held[key].manual_score is not None
            or held[key].needs_manual_grade == _needs_a_person(given, own, None)
        )
        for key, (given, own) in said.items()
    ) and all(
        row.auto_comment == _remark(row.cell, row.type, _own(result, row.notebook))
        for row in _read(db, Comment, submission)
    )


def _read(
    db: Session, model: type[Grade] | type[Comment], submission: SubmittedAssignment
) -> Iterator[Row]:
    """A submission's rows as plain columns, with the names of notebook and cell."""
    columns = {
        Grade: (Grade.auto_score, Grade.manual_score, Grade.needs_manual_grade),
        Comment: (Comment.auto_comment,),
    }[model]
    return db.execute(
        select(
            Notebook.name.label("notebook"),
            BaseCell.name.label("cell"),
            BaseCell.type,
            *columns,
        )
        .select_from(model)
        .join(SubmittedNotebook, SubmittedNotebook.id == model.notebook_id)
        .join(Notebook, Notebook.id == SubmittedNotebook.notebook_id)
        .outerjoin(BaseCell, BaseCell.id == model.cell_id)
        .where(SubmittedNotebook.assignment_id == submission.id)
    )


def _points(given: CellGrade, own: NotebookResult) -> float | None:
    return 0.0 if own.status in _ABSENT else given.auto


def _needs_a_person(
    given: CellGrade, own: NotebookResult, manual: float | None
) -> bool:
    """As SaveAutoGrades, and as Autograde where there is no notebook."""
    if own.status in _ABSENT:
        return False
    return manual is not None or given.auto is None


def _remark(cell: str, kind: str, own: NotebookResult) -> str | None:
    silent = cell in own.no_response and kind == "SolutionCell"
    return _NO_RESPONSE if silent else None


def _moment(timestamp: str | None) -> datetime | None:
    """nbgrader's time in UTC; what is no time is no timestamp."""
    with suppress(ValueError, OverflowError):
        return parse_utc(timestamp or None)
    return None


def _own(result: Result, name: str) -> NotebookResult:
    for own in result.notebooks:
        if own.name == name:
            return own
    raise Mismatch(f"the result has no notebook {name}, which the gradebook knows")


def _lock(db: Session, result: Result) -> Assignment:
    """Find the assignment and keep other writers out until the commit.

    A write comes first: from then on SQLite lets nobody else write, so that what is
    read next (a manual score, say) is still true when the grades are saved.
    """
    named = Assignment.name == result.assignment
    db.execute(update(Assignment).where(named).values(duedate=Assignment.duedate))
    assignment = db.query(Assignment).filter(named).one_or_none()
    if assignment is None:
        raise Mismatch("the gradebook does not know the assignment")
    return assignment


def _find(db: Session, result: Result) -> SubmittedAssignment | None:
    return (
        db.query(SubmittedAssignment)
        .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
        .filter(
            Assignment.name == result.assignment,
            SubmittedAssignment.student_id == result.student,
        )
        .one_or_none()
    )


def _submission(
    db: Session, assignment: Assignment, result: Result
) -> SubmittedAssignment:
    """The student's submission; student, submission and notebooks made where new."""
    if db.get(Student, result.student) is None:
        db.add(Student(id=result.student))
    submission = _find(db, result)
    if submission is None:
        submission = SubmittedAssignment(
            assignment=assignment, student_id=result.student
        )
        db.add(submission)
    if (moment := _moment(result.timestamp)) is not None:
        submission.timestamp = moment
    known = {notebook.notebook_id for notebook in submission.notebooks}
    for notebook in assignment.notebooks:
        if notebook.id not in known:
            db.add(SubmittedNotebook(notebook=notebook, assignment=submission))
    db.flush()
    return submission


def _rows(
    db: Session,
    notebook: SubmittedNotebook,
    model: type[Grade] | type[Comment],
    cells: list[BaseCell],
) -> dict[str, Grade] | dict[str, Comment]:
    """A submitted notebook's rows by cell: missing ones made, those of no cell gone."""
    due = {cell.id: cell for cell in cells if isinstance(cell, _KINDS[model])}
    rows = {}
    for row in db.query(model).filter_by(notebook_id=notebook.id).with_for_update():
        if row.cell_id in due:
            rows[due.pop(row.cell_id).name] = row
        else:  # its cell is no longer there: its points would still be counted
            db.delete(row)
    for cell in due.values():
        rows[cell.name] = row = model(cell=cell, notebook=notebook)
        db.add(row)
    return rows


def _penalty(
    db: Session,
    notebook: SubmittedNotebook,
    own: NotebookResult,
    late: AssignLatePenalties,
) -> float | None:
    """As AssignLatePenalties, which sees no missing notebook."""
    submission = notebook.assignment
    if not late.enabled or own.status in _ABSENT or not submission.assignment.duedate:
        return None
    if not (seconds := submission.total_seconds_late):
        return None
    db.refresh(notebook, ["score"])  # summed by the database
    penalty = late.plugin_inst.late_submission_penalty(
        submission.student_id, notebook.score, seconds
    )
    return penalty if penalty is None else late._check_late_penalty(notebook, penalty)
