"""Stand-ins for a grader that a worker process can import."""

import ctypes
import os
import signal
import time

from tlcourse.grading.records import Assignment, Result, Submission

ASSIGNMENT = Assignment(name="hw", masters=())


class Fatal(Exception):
    pass


def submissions(*words):
    return [
        Submission(student=f"s{at:02}", files={"do": word.encode()})
        for at, word in enumerate(words)
    ]


def grade(assignment, submission):
    """Do what the submission says."""
    word, _, number = submission.files["do"].decode().partition(" ")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "hang":  # holds the interpreter's lock: no Python runs any more
        ctypes.PyDLL(None).sleep(600)
    elif word == "sleep":
        time.sleep(float(number))
    elif word == "raise":
        raise RuntimeError("a bug")
    elif word == "refuse":
        raise Fatal("no isolation here")
    return Result(
        student=submission.student,
        assignment=assignment.name,
        digest="d",
        status="graded",
        message=f"threads {os.environ['OMP_NUM_THREADS']}",
        notebooks=(),
    )
