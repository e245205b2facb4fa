"""The unit of work: one submission in, one result out, on whatever worker."""

from __future__ import annotations

import time
from functools import partial
from pathlib import PurePosixPath

from tlcourse.grading.digests import digest
from tlcourse.grading.judging.paper import Paper
from tlcourse.grading.records import Assignment, Result, Status, Submission
from tlcourse.grading.running.planning import Clock
from tlcourse.grading.running.serving import close_servers, kernels
from tlcourse.sandbox.isolation import NoIsolation

__all__ = ["close_servers", "digest", "grade_submission"]

_WORST: tuple[Status, ...] = ("graded", "stopped", "missing", "unreadable", "error")


def grade_submission(assignment: Assignment, submission: Submission) -> Result:
    """Grade one submission, whatever is in it.

    A failure of the grader itself gives the status ``error`` and no notebooks, after
    a second try with new fork servers.

    Raises:
        NoIsolation: nothing here isolates; nobody can be graded.
    """
    begun = time.monotonic()
    try:
        result = _graded(assignment, submission)
    except NoIsolation:
        raise
    except Exception:
        close_servers()
        result = _second_try(assignment, submission)
    return result.model_copy(update={"seconds": time.monotonic() - begun})


def _second_try(assignment: Assignment, submission: Submission) -> Result:
    try:
        return _graded(assignment, submission)
    except NoIsolation:
        raise
    except Exception as error:
        close_servers()
        return Result(
            student=submission.student,
            assignment=assignment.name,
            digest=digest(assignment, submission),
            status="error",
            message=f"The grader failed ({type(error).__name__}: {error}); nothing was "
            "graded. It is tried again next time.",
            notebooks=(),
            flags=submission.flags,
            timestamp=submission.timestamp,
        )


def _graded(assignment: Assignment, submission: Submission) -> Result:
    papers = [Paper(assignment, submission, m) for m in assignment.masters]
    seconds = assignment.limits.total_seconds
    clock, looking = Clock(seconds), Clock(seconds)
    begin = partial(kernels, assignment, _files(assignment, submission))
    results = tuple(paper.graded(begin, clock, looking) for paper in papers)
    worst = max(results, key=lambda result: _WORST.index(result.status))
    flags = (flag for paper in papers for flag in paper.flags)
    return Result(
        student=submission.student,
        assignment=assignment.name,
        digest=digest(assignment, submission),
        status=worst.status,
        message=worst.message,
        notebooks=results,
        flags=(*submission.flags, *flags),
        timestamp=submission.timestamp,
    )


def _files(assignment: Assignment, submission: Submission) -> dict[str, bytes]:
    """What lies in the working folder: the teacher's files come before a student's."""
    ours = assignment.files
    folders = {str(p) for name in ours for p in PurePosixPath(name).parents}
    theirs = {
        name: data
        for name, data in submission.files.items()
        if name not in folders
        and not any(str(p) in ours for p in PurePosixPath(name).parents)
    }
    files = {**theirs, **ours}
    return {n: data for n, data in files.items() if not n.endswith(".ipynb")}
