"""What is written is what stock nbgrader writes, all of it or nothing of it."""

import itertools
import os
import shutil
import sqlite3
import threading
from datetime import datetime

import pytest
from every_cell import NAME, dump, make_course, make_result, without_alembic
from nbgrader.api import Grade, Gradebook, MissingEntry
from sqlalchemy import text
from sqlalchemy.engine import make_url

from tlcourse.grading.book import rows
from tlcourse.grading.book.gradebook import Book, BookError, Refused
from tlcourse.grading.book.masters import load_assignment, load_course

ON_SQLITE = pytest.mark.parametrize("template", ["sqlite"], indirect=True)
ON_POSTGRES = pytest.mark.parametrize("template", ["postgres"], indirect=True)
PENALTY = "c.LateSubmissionPlugin.penalty_method = 'zero'\n"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def template(request, tmp_path_factory):
    """A course folder with an empty class, and how to copy its gradebook."""
    folder = tmp_path_factory.mktemp("course")
    cluster, url = None, None
    if request.param == "postgres":
        cluster = request.getfixturevalue("postgres")
        url = cluster.new()
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_alembic(monkeypatch)
        load_assignment(load_course(make_course(folder, url)), NAME)
    return folder, cluster, url


@pytest.fixture
def course(template, tmp_path):
    """A course of its own for one test."""
    folder, cluster, url = template
    shutil.copytree(folder, tmp_path / "own")
    config = tmp_path / "own" / "nbgrader_config.py"
    if cluster is not None:
        new = cluster.new(template=make_url(url).database)
        config.write_text(config.read_text().replace(url, new))
    config.write_text(config.read_text() + PENALTY)
    return load_course(tmp_path / "own")


@pytest.fixture
def book(course):
    with Book.of(course) as opened:
        yield opened


def grade_of(db: Gradebook, cell: str, student: str = "ada") -> Grade:
    return db.find_grade(cell, "one", NAME, student)


def test_everything_of_a_submission_is_there(course, book):
    book.write(make_result(timestamp="2026-03-01 12:00:00 UTC"))
    said = dump(course.db_url)
    one = {k[4]: v for k, v in said.items() if k[2:4] == ("one", "grade")}
    assert one == {
        "squares": (1.0, None, None, False, 1.0),
        "parts": (1.0, None, None, False, 2.0),
        "why": (None, None, None, True, 3.0),
        "plot": (0.0, None, None, False, 4.0),
        "essay": (None, None, None, True, 5.0),
    }
    remarks = {k[4]: v for k, v in said.items() if k[2:4] == ("one", "comment")}
    assert remarks == {
        "squares-answer": (None, None),
        "why": (None, None),
        "plot": ("No response.", None),
        "essay": (None, None),  # nbgrader makes no such remark on a task
    }
    assert said["ada", NAME]["timestamp"] == datetime(2026, 3, 1, 12)
    assert said["ada", NAME, "two"]["score"] == 2


def test_writing_twice_is_writing_once(course, book):
    book.write(make_result())
    once = dump(course.db_url)
    book.write(make_result())
    assert dump(course.db_url) == once


def test_has_knows_this_result_and_no_other(book):
    result = make_result(timestamp="2026-03-01 12:00:00 UTC")
    assert not book.has(result)
    book.write(result)
    assert book.has(result)
    assert not book.has(make_result(timestamp="2026-03-01 12:00:01 UTC"))
    assert not book.has(make_result(auto={"parts": 0.5}))
    assert not book.has(make_result(no_response=("essay",)))
    assert not book.has(make_result(student="bob"))


def test_a_regrade_keeps_what_a_person_did(course, book):
    book.write(make_result())
    with Gradebook(course.db_url, "small") as db:
        for cell, manual, extra in (("why", 2.5, 1.0), ("squares", 0.5, None)):
            grade = grade_of(db, cell)
            grade.manual_score, grade.extra_credit = manual, extra
            grade.needs_manual_grade = False
        comment = db.find_comment("plot", "one", NAME, "ada")
        comment.manual_comment = "Nice."
        db.db.commit()
    assert book.has(make_result())
    book.write(make_result(auto={"squares": 0.0}))
    said = dump(course.db_url)
    key = ("ada", NAME, "one")
    assert said[*key, "grade", "why"] == (None, 2.5, 1.0, True, 3.0)
    assert said[*key, "grade", "squares"] == (0.0, 0.5, None, True, 1.0)
    assert said[*key, "comment", "plot"] == ("No response.", "Nice.")


def test_an_absent_notebook_has_zeros_and_needs_nobody(course, book):
    auto = dict.fromkeys(("squares", "parts", "why", "plot", "essay"), 0.0)
    book.write(make_result())
    absent = make_result(one="missing", auto=auto, no_response=(), notebook=None)
    book.write(absent)
    with Gradebook(course.db_url, "small") as db:
        grades = db.find_submission_notebook("one", NAME, "ada").grades
        assert {(g.auto_score, g.needs_manual_grade) for g in grades} == {(0, False)}
    assert book.has(absent)


def test_an_error_of_the_grader_is_no_grade(course, book):
    book.write(make_result(status="error"))
    assert not book.has(make_result(status="error"))
    assert dump(course.db_url) == {}
    with Gradebook(course.db_url, "small") as db, pytest.raises(MissingEntry):
        db.find_student("ada")


def half_way(monkeypatch, end):
    """Let the writer come to its end after the first of two notebooks."""
    notebooks = itertools.count(1)

    def penalty(*_):
        if next(notebooks) == 2:
            end()

    monkeypatch.setattr(rows, "_penalty", penalty)


def test_a_failure_half_way_leaves_the_old_rows(course, book, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    book.write(make_result())
    before = dump(course.db_url)
    half_way(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        book.write(make_result(auto={"squares": 0.0}))
    assert dump(course.db_url) == before


def test_a_writer_that_dies_half_way_leaves_the_old_rows(course, book, monkeypatch):
    changed = make_result(auto={"squares": 0.0})
    book.write(make_result())
    before = dump(course.db_url)
    book.close()  # no connection may be shared with the child
    if (child := os.fork()) == 0:
        try:
            half_way(monkeypatch, lambda: os._exit(7))
            book.write(changed)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert dump(course.db_url) == before
    book.write(changed)
    assert book.has(changed)


def test_late_work_is_fined_as_configured(course, book):
    with Gradebook(course.db_url, "small") as db:
        due = "2026-03-01 11:00:00 UTC"
        db.update_or_create_assignment(NAME, duedate=due)
    book.write(make_result(timestamp="2026-03-01 10:59:59 UTC"))
    assert dump(course.db_url)["ada", NAME, "one"]["late"] is None
    book.write(make_result(timestamp="2026-03-01 11:00:01 UTC"))
    said = dump(course.db_url)
    assert (said["ada", NAME, "one"]["late"], said["ada", NAME, "two"]["late"]) == (
        2,
        2,
    )


def test_a_result_for_other_cells_is_refused(course, book):
    result = make_result()
    one = result.notebooks[0]
    fewer = one.model_copy(update={"grades": one.grades[1:]})
    with pytest.raises(Refused, match="squares"):
        book.write(
            result.model_copy(update={"notebooks": (fewer, result.notebooks[1])})
        )
    with pytest.raises(Refused, match="no notebook two"):
        book.write(result.model_copy(update={"notebooks": (one,)}))
    with pytest.raises(BookError, match="does not know the assignment"):
        book.write(_renamed(result))
    assert dump(course.db_url) == {}


def _renamed(result):
    return result.model_copy(update={"assignment": "ps9"})


def test_rows_of_cells_that_are_gone_count_no_more(course, book):
    book.write(make_result())
    with Gradebook(course.db_url, "small") as db:
        notebook = db.find_submission_notebook("one", NAME, "ada")
        other = db.find_grade_cell("two", "two", NAME)
        db.db.add(Grade(cell_id=other.id, notebook=notebook, auto_score=100.0))
        db.db.delete(grade_of(db, "parts"))
        db.db.commit()
    assert not book.has(make_result())
    book.write(make_result())
    assert book.has(make_result())
    assert dump(course.db_url)["ada", NAME, "one"]["score"] == 2


@ON_POSTGRES
def test_an_id_too_long_for_the_database_is_that_students_trouble(course, book):
    with pytest.raises(Refused, match="too long"):
        book.write(make_result(student="x" * 129))
    book.write(make_result())


def test_names_of_every_language(course, book):
    student = "Žofie Ὑπατία 学生 'x' \"y\" %s"
    book.write(make_result(student=student))
    assert book.has(make_result(student=student))
    assert (student, NAME) in dump(course.db_url)


def test_two_writers_at_once(course):
    """Two runs by accident: each row is made once, and none is lost."""
    failures = []

    def write(names):
        try:
            with Book.of(course) as own:
                for name in names:
                    own.write(make_result(student=name))
        except BaseException as error:
            failures.append(error)

    names = [f"s{i}" for i in range(12)]
    threads = [threading.Thread(target=write, args=(n,)) for n in (names, names[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {key[0] for key in dump(course.db_url)} == set(names)


def test_nbgraders_own_queries_work_on_it(course, book):
    """What formgrader's pages and `nbgrader export` ask for."""
    for student in ("ada", "bob"):
        book.write(make_result(student=student))
    with Gradebook(course.db_url, "small") as db:
        rows_ = {row["student"]: row for row in db.submission_dicts(NAME)}
        assert rows_["ada"]["score"] == 4
        assert rows_["ada"]["max_score"] == 17
        assert rows_["ada"]["needs_manual_grade"]
        notebooks = db.notebook_submission_dicts("one", NAME)
        assert [row["code_score"] for row in notebooks] == [2, 2]
        assert {row["id"]: row["score"] for row in db.student_dicts()} == {
            "ada": 4,
            "bob": 4,
        }
        assert db.average_assignment_score(NAME) == 4
        db.db.execute(text("SELECT version_num FROM alembic_version")).one()


# Trouble


@ON_SQLITE
def test_a_lock_is_waited_for(course):
    locker = sqlite3.connect(course.db_url[10:], check_same_thread=False)
    locker.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.2, locker.rollback)
    release.start()
    with Book.of(course) as book:
        book.write(make_result())
        assert book.has(make_result())
    release.join()


@ON_SQLITE
def test_patience_ends_with_a_sentence(course):
    locker = sqlite3.connect(course.db_url[10:])
    locker.execute("BEGIN EXCLUSIVE")
    with Book(course.db_url, "small", patience=0.1) as book:
        with pytest.raises(BookError, match="ada for ps1: database is locked"):
            book.write(make_result())
        locker.rollback()
        book.write(make_result())  # the same book goes on
        assert book.has(make_result())


@ON_SQLITE
def test_a_gradebook_that_is_gone_is_not_made_anew(course):
    with Book(course.db_url, "small", patience=0) as book:
        shutil.move(course.db_url[10:], course.db_url[10:] + ".away")
        with pytest.raises(BookError, match="no file"):
            book.write(make_result())
        shutil.move(course.db_url[10:] + ".away", course.db_url[10:])
        book.write(make_result())


@ON_POSTGRES
def test_a_server_that_comes_back_gets_everything(course, template):
    cluster = template[1]
    with Book.of(course) as book:
        book.write(make_result(student="ada"))
        cluster.stop()
        back = threading.Timer(0.1, cluster.start)
        back.start()
        book.write(make_result(student="bob"))
        back.join()
        assert book.has(make_result(student="bob"))
    assert {key[0] for key in dump(course.db_url)} == {"ada", "bob"}


@ON_POSTGRES
def test_a_server_that_stays_away_is_said_without_its_password(course):
    url = course.db_url.replace("course@", "course:secret@").replace("pg", "nowhere")
    with Book(url, "small", patience=0) as book, pytest.raises(BookError) as error:
        book.write(make_result())
    assert "secret" not in str(error.value)
