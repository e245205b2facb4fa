"""A course folder as nbgrader sees it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbgrader.apps.baseapp import NbGrader
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import chdir
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError


class CourseError(ValueError):
    """A course or an assignment is not as it must be; the text is for its teacher."""


class Course(CourseDirectory):
    """nbgrader's course directory, with the two folders that grading also needs."""

    @property
    def submitted(self) -> Path:
        """Where submissions are: ``submitted/STUDENT/ASSIGNMENT``."""
        return Path(self.root, self.submitted_directory)

    @property
    def reports(self) -> Path:
        """Where grading keeps its results: beside the autograded folder."""
        return Path(self.root, self.autograded_directory).parent / "reports"


@contextmanager
def standing_in(root: str | Path) -> Iterator[None]:
    """Be in the course folder: configurations may name files and modules there."""
    path = list(sys.path)
    sys.path.insert(0, str(root))
    with chdir(str(root)):
        try:
            yield
        finally:
            sys.path[:] = path


def load_course(root: str | Path) -> Course:
    """The course in a folder, as ``nbgrader`` would see it when run there.

    Args:
        root: the folder that holds ``nbgrader_config.py``.

    Raises:
        CourseError: there is no such file, or it does not load.
    """
    root = Path(root).resolve()
    if not (root / "nbgrader_config.py").is_file():
        raise CourseError(
            f"There is no nbgrader_config.py in {root}. "
            "Run this in the course folder, or make one with `nbgrader quickstart`."
        )
    app = NbGrader(log_level=logging.ERROR)
    app.load_cwd_config = False  # the one in the root is loaded anyway
    app.raise_config_file_errors = True
    app.log.handlers = [logging.NullHandler()]  # errors are raised, not printed
    try:
        with standing_in(root):
            app.initialize(argv=[], root=str(root))
            own = {} if "root" in app.config.CourseDirectory else {"root": str(root)}
            app.coursedir = course = Course(parent=app, **own)
            course.db_url = _absolute(course.db_url, course.root)
    except (Exception, SystemExit) as error:  # a config file may do anything
        raise CourseError(
            f"nbgrader_config.py in {root} does not load: {error!r}. "
            "Mend it until `nbgrader db assignment list` works there."
        ) from error
    if not (course.course_id or course.db_url.startswith("sqlite")):
        raise CourseError(  # nbgrader's tables refuse the empty id that it would use
            "A gradebook that is not SQLite needs a course id: set "
            "c.CourseDirectory.course_id in nbgrader_config.py."
        )
    return course


def _absolute(db_url: str, root: str) -> str:
    url = make_url(db_url)
    if url.get_backend_name() == "sqlite" and url.database not in (None, ":memory:"):
        url = url.set(database=str(Path(root, url.database)))
    return url.render_as_string(hide_password=False)


@contextmanager
def opened(course: Course) -> Iterator[None]:
    """Around what opens the gradebook: says so where that fails.

    nbgrader calls `alembic` by name: this environment's own must be found.

    Raises:
        CourseError: the gradebook is away.
    """
    old = os.environ.get("PATH", "")
    os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + old
    try:
        yield
    except SQLAlchemyError as error:
        url = make_url(course.db_url).render_as_string()
        reason = str(getattr(error, "orig", None) or error).strip()
        raise CourseError(f"The gradebook {url} does not open: {reason}") from error
    finally:
        os.environ["PATH"] = old
