"""Grades for other systems: complete, importable, harmless in a spreadsheet."""

import csv
import subprocess
import sys

import pytest
from every_cell import NAME, make_course, make_result, without_alembic
from nbgrader.api import Gradebook

from tlcourse.grading.book import exporting
from tlcourse.grading.book.exporting import export
from tlcourse.grading.book.gradebook import Book
from tlcourse.grading.book.masters import CourseError, load_assignment, load_course


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Three students: graded, with a name that is a formula, and absent."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_alembic(monkeypatch)
        course = load_course(make_course(tmp_path_factory.mktemp("course")))
        load_assignment(course, NAME)
    with Gradebook(course.db_url, "small") as book:
        book.add_student("ada", first_name="Ada", last_name="Lovelace", email="a@b.c")
        book.add_student("-eve", first_name="=1+1", last_name="Łukasiewicz, 学")
        book.add_student("new", lms_user_id="17")
        book.add_assignment("empty")
    with Book.of(course) as book:
        book.write(make_result(student="ada", timestamp="2026-03-01 12:00:00 UTC"))
        book.write(make_result(student="-eve", auto={"parts": 0.25, "why": 0.0}))
    return course


def table(course, to, path, assignment=None):
    remarks = export(course, assignment, to, path)
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file)), remarks


def test_csv_has_nbgraders_columns_and_every_student(course, tmp_path):
    rows, remarks = table(course, "csv", tmp_path / "x.csv", NAME)
    by_id = {row["student_id"]: row for row in _dicts(rows)}
    assert set(by_id) == {"ada", "'-eve", "new"}
    ada = by_id["ada"]
    assert (ada["score"], ada["max_score"], ada["email"]) == ("4", "17", "a@b.c")
    assert ada["timestamp"] == "2026-03-01 12:00:00"
    assert by_id["new"]["score"] == "0"
    assert remarks == ["2 submissions wait for a person's points."]


def test_csv_is_nbgraders_own_where_names_are_harmless(course, tmp_path):
    """Cell for cell, but for the way numbers are written."""
    from nbgrader.plugins import CsvExportPlugin

    with Gradebook(course.db_url, "small") as book:
        plugin = CsvExportPlugin(
            to=str(tmp_path / "theirs.csv"), student=["ada", "new"]
        )
        plugin.export(book)
    with open(tmp_path / "theirs.csv", newline="") as file:
        theirs = list(csv.reader(file))
    ours, _ = table(course, "csv", tmp_path / "ours.csv")
    ours = [row for row in ours if row[3] in ("student_id", "ada", "new")]
    assert [[_number(c) for c in r] for r in ours] == [
        [_number(c) for c in r] for r in theirs
    ]


def test_canvas_has_points_possible_and_empty_cells_for_nothing(course, tmp_path):
    rows, _ = table(course, "canvas", tmp_path / "x.csv", NAME)
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", NAME]
    assert rows[:2] == [head, ["Points Possible", "", "", "", "", "17"]]
    assert sorted(rows[2:]) == [
        ["Lovelace, Ada", "", "", "ada", "", "4"],
        ["new", "17", "", "new", "", ""],
        ["Łukasiewicz, 学, =1+1", "", "", "'-eve", "", "3.25"],
    ]


def test_canvas_warns_of_a_column_that_it_would_skip(course):
    exporter = exporting.CanvasExporter()
    named = [type("A", (), {"name": "Final exam"})(), type("A", (), {"name": "ps1"})()]
    assert len(exporter.remarks(named)) == 1


def test_moodle_leaves_out_who_handed_in_nothing(course, tmp_path):
    rows, remarks = table(course, "moodle", tmp_path / "x.csv")
    people = ["First name", "Last name", "Username", "ID number", "Email address"]
    assert rows[0] == [*people, "empty", NAME]
    assert sorted(rows[1:]) == [
        ["'=1+1", "Łukasiewicz, 学", "'-eve", "", "", "", "3.25"],
        ["Ada", "Lovelace", "ada", "", "a@b.c", "", "4"],
    ]
    assert "ps1 17" in remarks[-1]


@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", " =1"]
)
def test_no_text_becomes_a_formula(text):
    assert exporting._safe(text) == "'" + text


def test_an_unknown_assignment_names_the_known(course, tmp_path):
    with pytest.raises(CourseError, match="no ps9. It has empty, ps1"):
        export(course, "ps9", "csv", tmp_path / "x.csv")


def test_a_failure_leaves_the_old_file(course, tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_text("old")
    monkeypatch.setattr(exporting, "_safe", lambda cell: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(course, NAME, "csv", path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_nbgrader_export_takes_it_as_a_plugin(course, tmp_path):
    exporter = "--exporter=tlcourse.grading.book.exporting.CanvasExporter"
    path = tmp_path / "x.csv"
    words = [exporter, f"--to={path}", f"--assignment=['{NAME}']"]
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", "export", *words],
        cwd=course.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "wait for a person" in done.stderr
    assert path.read_text(encoding="utf-8").startswith("Student,ID,")


def _dicts(rows):
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def _number(cell):
    try:
        return float(cell)
    except ValueError:
        return cell


def test_a_gradebook_that_is_away_is_a_sentence(course, tmp_path, monkeypatch):
    monkeypatch.setattr(course, "db_url", "sqlite:////nowhere/gradebook.db")
    with pytest.raises(CourseError, match="does not open"):
        export(course, None, "csv", tmp_path / "x.csv")
