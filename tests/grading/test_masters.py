"""Masters are what students were given, with the hidden tests and without answers."""

import sys

import nbformat
import pytest
from every_cell import NAME, make_course, source_one, without_alembic
from nbgrader.utils import compute_checksum

from tlcourse.grading.book.gradebook import Book
from tlcourse.grading.book.masters import CourseError, load_assignment, load_course


@pytest.fixture
def folder(tmp_path, monkeypatch):
    without_alembic(monkeypatch)
    return make_course(tmp_path)


@pytest.fixture
def said():
    return []


@pytest.fixture
def assignment(folder, said):
    return load_assignment(load_course(folder), NAME, say=said.append)


def cells_of(assignment, name="one"):
    master = next(m for m in assignment.masters if m.name == name)
    return {c.get("id"): c for c in nbformat.reads(master.notebook, 4).cells}


def change(folder, name, edit):
    path = folder / "source" / NAME / name
    notebook = nbformat.read(path, 4)
    edit(notebook)
    nbformat.write(notebook, path)


def test_answers_are_out_and_hidden_tests_are_in(assignment):
    cells = cells_of(assignment)
    assert list(cells) == [c.id for c in source_one().cells]
    assert "raise NotImplementedError()" in cells["answer"].source
    assert "[1, 4, 9]" in cells["test"].source
    assert cells["why"].source == "YOUR ANSWER HERE"
    assert "5 for length" in cells["essay"].source
    assert cells["title"].source == "# Problem set"


def test_every_checksum_is_the_cells_own(assignment):
    for cell in cells_of(assignment).values():
        if "checksum" in cell.metadata.get("nbgrader", {}):
            assert cell.metadata.nbgrader.checksum == compute_checksum(cell)


def test_other_files_come_along(assignment):
    assert assignment.files == {"data/numbers.csv": b"1,2\n"}


def test_cells_are_generated_once_and_it_is_said(folder, said, assignment):
    assert len(said) == 1 and "did not know ps1" in said[0]
    assert not (folder / "release").exists()  # what was handed out is left alone
    again = load_assignment(load_course(folder), NAME, say=said.append)
    assert len(said) == 1
    assert again == assignment


def test_looking_leaves_no_trace(folder):
    with pytest.raises(CourseError, match="nbgrader generate_assignment ps1"):
        load_assignment(load_course(folder), NAME, generate=False)
    assert {p.name for p in folder.iterdir()} == {"source", "nbgrader_config.py"}


def test_an_unknown_name_names_the_nearest(folder):
    with pytest.raises(CourseError, match="Do you mean ps1"):
        load_assignment(load_course(folder), "ps2")


def test_what_was_released_beats_what_the_source_says_now(folder, said, assignment):
    def weaken(notebook):
        notebook.cells[2].source = "assert True"
        notebook.cells[3].metadata.nbgrader.points = 100

    change(folder, "one.ipynb", weaken)
    again = load_assignment(load_course(folder), NAME, say=said.append)
    assert again.masters == assignment.masters
    assert "parts, squares" in said[-1]


def test_a_source_with_other_cells_is_refused(folder, assignment):
    change(folder, "one.ipynb", lambda notebook: notebook.cells.pop(2))
    with pytest.raises(CourseError, match="squares"):
        load_assignment(load_course(folder), NAME)


def test_what_does_not_generate_is_said_and_leaves_the_rest_ungraded(folder):
    def open_ended(notebook):
        notebook.cells[1].source = "### BEGIN SOLUTION"

    change(folder, "one.ipynb", open_ended)
    for _ in range(2):  # not half known the second time
        with pytest.raises(CourseError, match="No end solution") as error:
            load_assignment(load_course(folder), NAME)
        assert "Traceback" not in str(error.value)


def test_postgresql_needs_a_course_id(tmp_path):
    more = "c.CourseDirectory.course_id = ''\n"
    folder = make_course(tmp_path, "postgresql+psycopg2:///x", more)
    with pytest.raises(CourseError, match="needs a course id"):
        load_course(folder)


def test_a_file_beyond_nbgraders_limit_is_left_out(tmp_path, monkeypatch, said):
    without_alembic(monkeypatch)
    folder = make_course(tmp_path, more="c.CourseDirectory.max_file_size = 1\n")
    (folder / "source" / NAME / "large.bin").write_bytes(bytes(1001))
    found = load_assignment(load_course(folder), NAME, say=said.append)
    assert set(found.files) == {"data/numbers.csv"}
    assert "large.bin" in said[-1]


def test_headers_are_found_from_anywhere(tmp_path, monkeypatch):
    without_alembic(monkeypatch)
    more = "c.IncludeHeaderFooter.header = 'source/header.ipynb'\n"
    folder = make_course(tmp_path, more=more)
    header = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("Head")])
    nbformat.write(header, folder / "source" / "header.ipynb")
    first = nbformat.reads(
        load_assignment(load_course(folder), NAME).masters[0].notebook, 4
    ).cells[0]
    assert first.source == "Head"


@pytest.mark.parametrize(
    "text",
    [
        "c = ",
        "raise SystemExit(3)",
        "c.CourseDirectory.ignore = 3",
        "c.CourseDirectory.db_url = 'gradebook.db'",
    ],
)
def test_a_broken_configuration_is_said(tmp_path, text):
    (tmp_path / "nbgrader_config.py").write_text("c = get_config()\n" + text)
    with pytest.raises(CourseError, match="does not load"):
        load_course(tmp_path)


def test_no_configuration_is_said(tmp_path):
    with pytest.raises(CourseError, match=r"no nbgrader_config\.py"):
        load_course(tmp_path)


@pytest.mark.slow
def test_a_new_gradebook_is_made_without_commands_on_the_path(tmp_path, monkeypatch):
    """nbgrader asks the `alembic` command for the gradebook's version."""
    folder = make_course(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    load_assignment(load_course(folder), NAME)
    assert (folder / "gradebook.db").stat().st_size


def test_a_penalty_plugin_beside_the_configuration_is_found(tmp_path):
    """nbgrader's guide keeps it in the course folder."""
    more = "c.AssignLatePenalties.plugin_class = 'fines_of_a_test.Fine'\n"
    folder = make_course(tmp_path, more=more)
    (folder / "fines_of_a_test.py").write_text(
        "from nbgrader.plugins import BasePlugin\n"
        "class Fine(BasePlugin):\n"
        "    def late_submission_penalty(self, student, score, late):\n"
        "        return 0.5\n"
    )
    before = list(sys.path)
    book = Book.of(load_course(folder))
    assert book._late.plugin_inst.late_submission_penalty("ada", 1, 1) == 0.5
    assert sys.path == before
