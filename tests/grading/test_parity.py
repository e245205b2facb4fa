"""Cell for cell what stock `nbgrader autograde` writes, and what nbgrader then does."""

import shutil

import pytest
from every_cell import NAME, dump, make_course, without_alembic
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.converters import GenerateFeedback
from nbgrader.plugins import CsvExportPlugin
from stock_runs import (
    PENALTY,
    grade_with_stock,
    make_guide_course,
    make_kit_class,
    make_kit_course,
    make_small_class,
    stock_result,
)

from tlcourse.grading.book.autograded import write_autograded
from tlcourse.grading.book.gradebook import Book
from tlcourse.grading.book.masters import load_assignment, load_course
from tlcourse.grading.reading.submissions import read_submissions
from tlcourse.grading.unit import close_servers, grade_submission
from tlcourse.sandbox.isolation import NoIsolation, find_isolation

DUE = "2026-03-01 11:00:00 UTC"
KINDS = [
    "guide",  # one run of stock by default
    pytest.param("small", marks=pytest.mark.slow),
    pytest.param("kit", marks=pytest.mark.slow),
]


def set_due(course):
    with Gradebook(course.db_url, course.course_id) as book:
        book.update_or_create_assignment(NAME, duedate=DUE)


@pytest.fixture(scope="module", params=KINDS)
def stock(request, tmp_path_factory):
    """A course that stock has graded, and a copy of it from before."""
    folder = tmp_path_factory.mktemp(request.param)
    make = {"guide": make_guide_course, "small": make_course, "kit": make_kit_course}
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_alembic(monkeypatch)
        course = load_course(make[request.param](folder / "theirs", more=PENALTY))
        assignment = load_assignment(course, NAME, rule="stock")
    if request.param != "guide":  # which has submissions
        hand_in = {"small": make_small_class, "kit": make_kit_class}[request.param]
        hand_in(course, assignment)
    set_due(course)
    shutil.copytree(folder / "theirs", folder / "ours")
    grade_with_stock(course)
    return course, assignment, folder / "ours"


@pytest.fixture(params=["sqlite", "postgres"])
def ours(request, stock, tmp_path, monkeypatch):
    """The same course before anything was graded, for one test."""
    shutil.copytree(stock[2], tmp_path / "ours")
    if request.param == "sqlite":
        return load_course(tmp_path / "ours")
    url = request.getfixturevalue("postgres").new()
    with (tmp_path / "ours" / "nbgrader_config.py").open("a") as config:
        config.write(f"c.CourseDirectory.db_url = {url!r}\n")
    course = load_course(tmp_path / "ours")
    without_alembic(monkeypatch)
    load_assignment(course, NAME)
    set_due(course)
    return course


def write_what_stock_found(stock, ours):
    course, assignment, _ = stock
    with Book.of(ours) as book:
        for submission in read_submissions(ours, assignment):
            result = stock_result(course, assignment, submission.student)
            book.write(result)
            write_autograded(ours, result, assignment, submission)
            assert book.has(result)


def test_the_writer_makes_stocks_rows(stock, ours):
    write_what_stock_found(stock, ours)
    theirs = dump(stock[0].db_url)
    assert len({key[0] for key in theirs}) >= 2
    assert dump(ours.db_url) == theirs


def test_the_autograded_folder_is_stocks(stock, ours):
    write_what_stock_found(stock, ours)
    assert _content(ours) == _content(stock[0])


def test_nbgraders_export_says_the_same(stock, ours, tmp_path):
    write_what_stock_found(stock, ours)
    for name, course in (("theirs", stock[0]), ("ours", ours)):
        with Gradebook(course.db_url, course.course_id) as book:
            CsvExportPlugin(to=str(tmp_path / f"{name}.csv")).export(book)
    theirs, own = (
        sorted((tmp_path / f"{name}.csv").read_text().splitlines())
        for name in ("theirs", "ours")
    )
    assert own == theirs
    assert len(own) > 2


def test_formgraders_api_and_the_feedback_work_on_it(stock, ours):
    write_what_stock_found(stock, ours)
    answers = []
    for course in (stock[0], ours):
        course.assignment_id = NAME
        api = NbGraderAPI(coursedir=course, parent=course.parent)
        found = [api.get_submissions(NAME), api.get_assignments(), api.get_students()]
        names = [master.name for master in stock[1].masters]
        found.append([api.get_notebook_submissions(NAME, name) for name in names])
        answers.append(_without_ids(found))
        GenerateFeedback(coursedir=course, parent=course.parent).start()
    assert answers[0] == answers[1]
    pages, own = (_pages(course) for course in (stock[0], ours))
    assert own == pages != set()


@pytest.mark.parametrize("ours", ["sqlite"], indirect=True)
def test_our_grader_gives_stocks_points(stock, ours):
    """From end to end: our kernels, stock's rule, the same rows in the gradebook."""
    try:
        find_isolation()
    except NoIsolation as error:
        pytest.skip(str(error))
    try:
        with Book.of(ours) as book:
            for submission in read_submissions(ours, stock[1]):
                result = grade_submission(stock[1], submission)
                assert result.status != "error", result.message
                book.write(result)
    finally:
        close_servers()
    assert dump(ours.db_url) == dump(stock[0].db_url)


def _without_ids(found):
    if isinstance(found, list):
        items = [_without_ids(item) for item in found]
        return sorted(items, key=repr)
    if isinstance(found, dict):
        random = ("id", "index")  # formgrader numbers notebooks by their id
        return {k: _without_ids(v) for k, v in found.items() if k not in random}
    return found


def _pages(course):
    folder = course.submitted.parent / "feedback"
    return {path.relative_to(folder) for path in folder.rglob("*.html")}


def _content(course):
    folder = course.submitted.parent / "autograded"
    found = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*")}
    # A timestamp is kept as nbgrader reads it: without the end of the line.
    return {p: d.strip() if p.name == "timestamp.txt" else d for p, d in found.items()}
