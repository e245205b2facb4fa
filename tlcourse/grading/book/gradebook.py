"""Write results into nbgrader's gradebook: one transaction a submission, or nothing.

nbgrader's own ``Gradebook`` commits after every call, so that a crash leaves half a
submission. Here its models and its session are used, and committed once. What is
written is, row for row, what ``nbgrader autograde`` would have written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from nbgrader.api import Gradebook, InvalidEntry
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import Session
from traitlets import TraitError

from tlcourse.grading.book.courses import Course, CourseError, standing_in
from tlcourse.grading.book.rows import Mismatch, agrees, save
from tlcourse.grading.records import Result

T = TypeVar("T")

_LONGEST_WAIT = 2.0  # seconds between two tries


class BookError(RuntimeError):
    """The gradebook did not take a result; nothing of it was written."""


class Refused(BookError):
    """The gradebook is there, but this one result does not fit into it."""


class _Away(Exception):
    """The file of the gradebook is not there now."""


# It would be the same tomorrow.
_HOPELESS = (Mismatch, DataError, ProgrammingError)
# Locked, full, gone or restarting; or another grader made the same row just now.
_PASSING = (_Away, SQLAlchemyError, InvalidEntry)


class Book(AbstractContextManager):
    """The one writer of a gradebook. Use it in a ``with`` statement.

    Args:
        db_url: SQLAlchemy's URL of the gradebook, as in nbgrader's configuration.
        course_id: nbgrader's id of the course.
        late: nbgrader's preprocessor for late penalties; by default there are none.
        patience: seconds to try again while the database is locked or away.
    """

    def __init__(
        self,
        db_url: str,
        course_id: str = "default_course",
        *,
        late: AssignLatePenalties | None = None,
        patience: float = 60.0,
    ) -> None:
        """Open nothing yet: the first call does."""
        self._url = make_url(db_url)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        if self._is_sqlite:
            # A lock is waited for inside SQLite. Its write-ahead log is left off: a
            # teacher copies gradebook.db as one file, and may have it on a share.
            patient = {"timeout": str(min(5.0, patience))}
            self._url = self._url.update_query_dict(patient)
        self._course_id = course_id
        self._late = late or AssignLatePenalties()
        self._late.init_plugin()
        self._patience = patience
        self._book: Gradebook | None = None

    @classmethod
    def of(cls, course: Course) -> Self:
        """The gradebook of a course, with its configured late penalties.

        Raises:
            CourseError: the configured plugin cannot be used.
        """
        try:
            with standing_in(course.root):  # where a penalty plugin may be
                late = AssignLatePenalties(parent=course)
                return cls(course.db_url, course.course_id, late=late)
        except TraitError as error:
            raise CourseError(
                f"nbgrader_config.py asks for late penalties that do not load: {error}"
            ) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Let the database go. The next call would open it again."""
        if self._book is not None:
            with suppress(SQLAlchemyError):  # it may be gone
                self._book.close()
            self._book = None

    def write(self, result: Result) -> None:
        """Save everything of one submission, or nothing. Twice is the same as once.

        Manual scores, extra credit and manual comments stay. A cell with a manual
        score asks for a look again, as after ``nbgrader autograde``. A result with
        the status ``error`` is the grader's own failure: nothing is written.

        Raises:
            Refused: the gradebook knows other cells, or cannot hold the student's id.
            BookError: the database stayed locked or away.
        """
        if result.status != "error":
            self._patiently(lambda db: save(db, result, self._late), result)

    def has(self, result: Result) -> bool:
        """Whether the gradebook already says exactly this.

        What a person did since then (manual scores and comments) does not count.

        Raises:
            BookError: the database stayed locked or away.
        """
        if result.status == "error":
            return False
        return self._patiently(lambda db: agrees(db, result), result)

    def _open(self) -> Gradebook:
        if self._book is None:
            file = self._url.database
            if self._is_sqlite and not Path(file).exists():
                raise _Away(f"there is no file {file}")  # and none is made, empty
            text = self._url.render_as_string(hide_password=False)
            self._book = Gradebook(text, self._course_id)
        return self._book

    def _patiently(self, act: Callable[[Session], T], result: Result) -> T:
        end, wait = time.monotonic() + self._patience, 0.05
        while True:
            try:
                book = self._open()
                done = act(book.db())
                book.db.commit()
                return done
            except _HOPELESS as error:
                self.close()
                end_of_it = "It is graded again by the next run."
                raise Refused(self._sentence(result, error, end_of_it)) from error
            except _PASSING as error:
                self.close()
                if time.monotonic() + wait > end:
                    kept = "Nothing is lost: the result is kept in the reports folder."
                    raise BookError(self._sentence(result, error, kept)) from error
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            except BaseException:
                self.close()  # half a submission is rolled back
                raise

    def _sentence(self, result: Result, error: Exception, then: str) -> str:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return (
            f"The gradebook {self._url.render_as_string()} did not take the grades of "
            f"{result.student} for {result.assignment}: {reason}. {then} Mend this and "
            "run the command again."
        )
