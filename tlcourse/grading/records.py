"""What goes to a worker, and what comes back: plain records, no behaviour."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tlcourse.sandbox.limits import Limits

Rule = Literal["corrected", "stock"]
Status = Literal["graded", "unreadable", "missing", "stopped", "error"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Master(_Record):
    """A teacher's notebook as nbgrader saved it: answers out, hidden tests in.

    Args:
        name: the notebook's name, without ``.ipynb``.
        notebook: its JSON text.
    """

    name: str
    notebook: str


class Assignment(_Record):
    """What every submission of one assignment shares.

    Args:
        name: the assignment's folder.
        masters: its notebooks.
        files: the other files beside the source notebooks, by relative path.
        seed: decides the hidden cases; 0 is the published seed.
        per_student: whether every student gets cases of their own.
        rule: ``corrected``, or ``stock`` for exactly nbgrader's points.
        limits: what a submission may use.
        isolated: whether student code runs in a sandbox; only ``--unsafe`` says no.
    """

    name: str
    masters: tuple[Master, ...]
    files: dict[str, bytes] = {}
    seed: int = 0
    per_student: bool = False
    rule: Rule = "corrected"
    limits: Limits = Limits()
    isolated: bool = True


class Flag(_Record):
    """Something a teacher should look at. It never changes points by itself.

    Args:
        kind: a short fixed name ("edited test", "forbidden facility").
        where: notebook and cell, or file.
        what: one sentence.
    """

    kind: str
    where: str
    what: str


class Submission(_Record):
    """One student's files, as they were handed in.

    Args:
        student: the student's id.
        files: content by relative path; links and too large files are left out.
        timestamp: nbgrader's ``timestamp.txt``, if there is one.
        flags: what was left out, and why.
    """

    student: str
    files: dict[str, bytes]
    timestamp: str | None = None
    flags: tuple[Flag, ...] = ()


class CellGrade(_Record):
    """One graded cell.

    Args:
        grade_id: nbgrader's id of the cell.
        max_points: full marks.
        auto: points given by the machine; ``None`` where a person must grade.
        status: a report's status, or ``manual``, ``passed``, ``failed``, ``not run``.
        report: for the kit's own exercises, ``Report.to_json()``.
    """

    grade_id: str
    max_points: float
    auto: float | None
    status: str
    report: dict[str, Any] | None = None


class NotebookResult(_Record):
    """One notebook of a submission.

    Args:
        name: without ``.ipynb``.
        status: see :data:`Status`.
        message: a sentence for the learner where the status is not ``graded``.
        grades: one for each graded cell of the master, in its order.
        no_response: grade ids of answer cells left as they were handed out.
        notebook: the autograded notebook's JSON text; ``None`` if there is none.
    """

    name: str
    status: Status
    message: str = ""
    grades: tuple[CellGrade, ...]
    no_response: tuple[str, ...] = ()
    notebook: str | None = None


class Result(_Record):
    """What became of one submission.

    Args:
        student: the student's id.
        assignment: the assignment's name.
        digest: of everything that decides the result; equal digests, equal results.
        status: the worst of the notebooks' (``graded`` is the best).
        message: a sentence for the teacher where the status is not ``graded``.
        notebooks: one for each master, in its order.
        flags: what a teacher should look at.
        timestamp: when it was handed in, as nbgrader writes it.
        seconds: how long a worker was busy with it; not part of the result's content.
    """

    student: str
    assignment: str
    digest: str
    status: Status
    message: str = ""
    notebooks: tuple[NotebookResult, ...]
    flags: tuple[Flag, ...] = ()
    timestamp: str | None = None
    seconds: float = 0.0
