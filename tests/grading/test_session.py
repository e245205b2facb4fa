"""A whole run, with work that takes no time: what is kept, written and said."""

import contextlib
import errno
import json
import os
import shutil
import signal
import sqlite3

import nbformat
import pytest
import small_class
from nbgrader.api import Gradebook
from nbgrader.utils import is_grade
from small_class import NAME

from tlcourse.grading.batch import session
from tlcourse.grading.batch.holding import Held, hold
from tlcourse.grading.batch.options import Options
from tlcourse.grading.batch.stopping import Interrupted, Stopped
from tlcourse.grading.book.gradebook import Book
from tlcourse.grading.digests import digest
from tlcourse.grading.records import CellGrade, NotebookResult, Result
from tlcourse.sandbox.isolation import Isolation, NoIsolation
from tlcourse.sandbox.limits import Limits

STUDENTS = ["Bob O'Neil", "ada", "carl", "dora", "eve"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A course whose assignment is generated: copied for each test."""
    folder = small_class.make(tmp_path_factory.mktemp("made"))
    small_class.fill(folder)
    course = session.load_course(folder)
    session.load_assignment(course, NAME)
    return folder


class Worker:
    """Grades in this process; remembers whom."""

    def __init__(self):
        self.seen = []

    def __call__(self, assignment, submission):
        self.seen.append(submission.student)
        (master,) = assignment.masters
        notebook = nbformat.reads(master.notebook, 4)
        grades = tuple(
            CellGrade(
                grade_id=cell.metadata.nbgrader.grade_id,
                max_points=cell.metadata.nbgrader.points,
                auto=1.0,
                status="partial",
            )
            for cell in notebook.cells
            if is_grade(cell)
        )
        paper = NotebookResult(
            name=master.name, status="graded", grades=grades, notebook=master.notebook
        )
        return Result(
            student=submission.student,
            assignment=assignment.name,
            digest=digest(assignment, submission),
            status="graded",
            notebooks=(paper,),
        )


class Pool:
    """Stands in for dask's."""

    def __init__(self, client, assignment, work, seconds, fatal):
        self.assignment, self.work = assignment, work

    def run(self, submissions, tick):
        for submission in submissions:
            yield submission, self.work(self.assignment, submission)
            tick({})


@pytest.fixture
def course(made, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "open_client", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(session, "Pool", Pool)
    monkeypatch.setattr(session, "find_isolation", lambda: Isolation("namespaces"))
    return shutil.copytree(made, tmp_path / "course")


def grade(course, worker=None, **options):
    return session.grade(course, NAME, Options(**options), work=worker or Worker())


def points(course):
    """What nbgrader's own gradebook says, and how often."""
    with Gradebook(f"sqlite:///{course}/classroom/gradebook.db") as book:
        return {s.student.id: s.score for s in book.assignment_submissions(NAME)}


def test_everybody_is_graded_and_written(course):
    summary = grade(course)
    assert dict(summary.counts) == {"graded": 5} and summary.kept == 0
    assert points(course) == dict.fromkeys(STUDENTS, 2.0)
    room = course / "classroom"
    for student in STUDENTS:
        assert (room / "autograded" / student / NAME / "exercises.ipynb").is_file()
    assert summary.html.is_file() and json.loads(summary.json.read_text())
    assert summary.html.parent == room / "reports" / NAME


def test_a_second_run_grades_nobody_and_starts_no_worker(course, monkeypatch):
    grade(course)
    monkeypatch.setattr(session, "open_client", None)
    worker = Worker()
    summary = grade(course, worker)
    assert worker.seen == []
    assert dict(summary.counts) == {"graded": 5} and summary.kept == 5


def test_what_is_handed_in_again_is_graded_again(course):
    grade(course)
    small_class.submit(course, "eve", small_class.notebook(course))
    worker = Worker()
    grade(course, worker)
    assert worker.seen == ["eve"]


def test_other_limits_and_another_rule_grade_again(course):
    grade(course)
    for change in ({"limits": Limits(cell_seconds=9)}, {"rule": "stock"}):
        worker = Worker()
        grade(course, worker, **change)
        assert worker.seen == STUDENTS


def test_regrade_and_students(course):
    grade(course)
    worker = Worker()
    summary = grade(course, worker, regrade=True, students=("ada", "eve"))
    assert worker.seen == ["ada", "eve"]
    assert dict(summary.counts) == {"graded": 2}
    everybody = json.loads(summary.json.read_text())
    assert all(f'"{s}"' in json.dumps(everybody) for s in STUDENTS)


def test_what_gradebook_or_autograded_lack_is_put_back(course):
    grade(course)
    room = course / "classroom"
    shutil.rmtree(room / "autograded" / "ada")
    with Gradebook(f"sqlite:///{room}/gradebook.db") as book:
        book.remove_submission(NAME, "carl")
    worker = Worker()
    grade(course, worker)
    assert worker.seen == []
    assert points(course) == dict.fromkeys(STUDENTS, 2.0)
    assert (room / "autograded" / "ada" / NAME / "exercises.ipynb").is_file()


def test_a_broken_journal_file_is_set_aside_and_said(course, capsys):
    grade(course)
    path = course / "classroom" / "reports" / NAME / "results" / "ada.json"
    path.write_text(path.read_text()[:99])
    worker = Worker()
    grade(course, worker)
    assert worker.seen == ["ada"]
    assert "ada.json.unreadable cannot be read" in capsys.readouterr().out


def test_an_error_is_no_grade_and_is_tried_again(course):
    def failing(assignment, submission):
        result = Worker()(assignment, submission)
        if submission.student == "carl":
            broken = {"status": "error", "message": "torch is gone", "notebooks": ()}
            result = result.model_copy(update=broken)
        return result

    summary = grade(course, failing)
    assert summary.errors == (("carl", "torch is gone"),)
    assert dict(summary.counts) == {"graded": 4, "error": 1}
    assert "carl" not in points(course)
    worker = Worker()
    summary = grade(course, worker)
    assert worker.seen == ["carl"] and not summary.errors
    assert points(course) == dict.fromkeys(STUDENTS, 2.0)


def test_a_result_that_does_not_fit_costs_only_itself(course):
    def odd(assignment, submission):
        result = Worker()(assignment, submission)
        if submission.student == "carl":
            (paper,) = result.notebooks
            paper = paper.model_copy(update={"grades": paper.grades[1:]})
            result = result.model_copy(update={"notebooks": (paper,)})
        return result

    summary = grade(course, odd)
    assert [student for student, _ in summary.errors] == ["carl"]
    assert points(course) == dict.fromkeys({*STUDENTS} - {"carl"}, 2.0)


@pytest.mark.parametrize("moment", ["journal", "book", "autograded"])
def test_a_crash_between_two_writes_loses_nothing(course, monkeypatch, moment):
    class Crash(BaseException):
        pass

    places = {
        "journal": (session.Journal, "write"),
        "book": (session.Book, "write"),
        "autograded": (session, "write_autograded"),
    }
    real = getattr(*places[moment])
    calls = []

    def crash(*words):
        calls.append(words)
        if len(calls) == 3:
            raise Crash
        return real(*words)

    with monkeypatch.context() as patch:
        patch.setattr(*places[moment], crash)
        with pytest.raises(Crash):
            grade(course)
    worker = Worker()
    summary = grade(course, worker)
    assert len(worker.seen) == (3 if moment == "journal" else 2)
    assert dict(summary.counts) == {"graded": 5}
    assert points(course) == dict.fromkeys(STUDENTS, 2.0)


def test_ctrl_c_finishes_nothing_new_and_keeps_what_is_done(course):
    class Pressed(Worker):
        def __call__(self, assignment, submission):
            if len(self.seen) == 1:
                signal.raise_signal(signal.SIGINT)
            return super().__call__(assignment, submission)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as stopped:
        grade(course, Pressed())
    assert stopped.value.number == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before
    assert len(points(course)) == 2
    worker = Worker()
    grade(course, worker)
    assert len(worker.seen) == 3


def test_a_full_disk_is_a_sentence(course, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Stopped, match="The disk is full.*same command again"):
            grade(course)
    assert dict(grade(course).counts) == {"graded": 5}


def test_a_gradebook_that_stays_locked_is_a_sentence(course, monkeypatch):
    class Locking(Worker):
        def __call__(self, assignment, submission):
            if not self.seen:
                other.execute("BEGIN EXCLUSIVE")
            return super().__call__(assignment, submission)

    monkeypatch.setattr(
        session.Book,
        "of",
        lambda course: Book(course.db_url, course.course_id, patience=0.2),
    )
    path = course / "classroom" / "gradebook.db"
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other,
        pytest.raises(Stopped, match="locked.*same command again"),
    ):
        grade(course, Locking())
    worker = Worker()
    grade(course, worker)
    assert worker.seen == STUDENTS[1:]  # the first one's result was in the journal
    assert points(course) == dict.fromkeys(STUDENTS, 2.0)


def test_two_graders_at_once(course):
    with (
        hold(course / "classroom" / "reports" / NAME, NAME),
        pytest.raises(Held, match="is running"),
    ):
        grade(course)


def test_fails_closed(course, monkeypatch):
    def nothing():
        raise NoIsolation("Install bubblewrap.")

    monkeypatch.setattr(session, "find_isolation", nothing)
    worker = Worker()
    with pytest.raises(NoIsolation):
        grade(course, worker)
    assert worker.seen == [] and not (course / "classroom" / "reports").exists()
    assert dict(grade(course, worker, unsafe=True).counts) == {"graded": 5}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"students": ("adda",)}, "'adda' has handed in nothing.*'?ada"),
        ({"students": ("zoë",)}, "'zoë' has handed in nothing for hw.$"),
    ],
)
def test_unknown_students(course, options, says):
    with pytest.raises(Stopped, match=says):
        grade(course, **options)


def test_nobody_has_handed_in(course):
    shutil.rmtree(course / "classroom" / "submitted")
    with pytest.raises(Stopped, match="Nobody has handed in hw"):
        grade(course)


def contents(folder):
    return {
        path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_plan_touches_nothing(course):
    grade(course, students=("ada",))
    before = contents(course)
    plan = session.plan(course, NAME, Options())
    assert plan.done == ("ada",) and plan.isolation == "namespaces"
    assert set(plan.todo) == {*STUDENTS} - {"ada"}
    assert contents(course) == before
