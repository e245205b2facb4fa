"""What ends a run before its end: a person, a full disk, a gradebook out of reach."""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tlcourse.grading.batch.workers import Lost
from tlcourse.grading.book.gradebook import BookError

GO_ON = "What was graded is kept: run the same command again to go on."


class Stopped(RuntimeError):
    """The run could not go on; the message says why, and how to mend it."""


class Interrupted(KeyboardInterrupt):
    """A person, or the system, asked to stop; what was begun is put in order.

    Args:
        number: the signal's number.
    """

    def __init__(self, number: int) -> None:
        """Keep which signal it was."""
        super().__init__(number)
        self.number = number


@contextmanager
def explained() -> Iterator[None]:
    """Say what a full disk or a gradebook out of reach means for the run."""
    try:
        yield
    except BookError as error:
        raise Stopped(f"{error} {GO_ON}") from error
    except Lost as error:
        raise Stopped(str(error)) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" ({error.filename})" if error.filename else ""
        raise Stopped(f"The disk is full{where}. Make room. {GO_ON}") from error


@contextmanager
def signals() -> Iterator[list[int]]:
    """A list that gets the number of a signal to stop; a second one stops at once."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, before[number] or signal.SIG_DFL)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # none of Python's
