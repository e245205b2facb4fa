"""--rule stock: cell for cell what nbgrader's own preprocessors make of a notebook."""

import copy
import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearOutput,
    DeduplicateIds,
    OverwriteCells,
    OverwriteKernelspec,
    SaveCells,
)
from small_master import find, handed_in, make_master, make_right, make_submission

from tlcourse.grading.reading.stock import merge_stock

STEPS = [
    ClearOutput,
    DeduplicateIds,
    OverwriteKernelspec,
    OverwriteCells,
    CheckCellMetadata,
]


@pytest.fixture(scope="module")
def nbgrader(tmp_path_factory):
    """nbgrader's own road, with a real gradebook that knows the master."""
    url = f"sqlite:///{tmp_path_factory.mktemp('stock') / 'gradebook.db'}"
    with pytest.MonkeyPatch.context() as patch:  # nbgrader calls `alembic` by name
        own = str(Path(sys.executable).parent)
        patch.setenv("PATH", own + os.pathsep + os.environ["PATH"])
        with Gradebook(url) as book:
            book.add_assignment("ps1")
    resources = {"nbgrader": {"notebook": "p1", "assignment": "ps1", "db_url": url}}
    SaveCells().preprocess(make_master(), resources)

    def sanitise(notebook):
        notebook = copy.deepcopy(notebook)
        for step in STEPS:
            notebook, _ = step().preprocess(notebook, copy.deepcopy(resources))
        return notebook

    return sanitise


def plain(notebook):
    return json.loads(nbformat.writes(notebook))["cells"]


def reordered(notebook):
    notebook.cells.insert(4, notebook.cells.pop(7))


def without_a_test(notebook):
    notebook.cells.remove(find(notebook, "double-test"))


def with_edits(notebook):
    find(notebook, "double-test").source = "assert True"
    find(notebook, "helper").source = ""
    find(notebook, "task").source = "Nothing."
    find(notebook, "double-test").metadata.nbgrader.points = 50
    find(notebook, "why").metadata.nbgrader.points = 50


def with_other_marks(notebook):
    find(notebook, "treble-test").metadata.nbgrader.locked = False
    find(notebook, "double-answer").metadata.nbgrader.locked = True


def converted(notebook):
    place = notebook.cells.index(find(notebook, "double-answer"))
    marks = notebook.cells[place].metadata
    notebook.cells[place] = new_markdown_cell("x", metadata=marks)


def with_unknown_id(notebook):
    find(notebook, "helper").metadata.nbgrader.grade_id = "other"


def with_own_cells(notebook):
    notebook.cells.insert(5, new_code_cell("x = 1"))


def unchanged(notebook):
    pass


def stripped(notebook):
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)


SURVIVES = [
    unchanged,
    reordered,
    without_a_test,
    with_edits,
    converted,
    with_own_cells,
    with_other_marks,
    stripped,
]


@pytest.mark.parametrize("edit", SURVIVES, ids=lambda e: e.__name__)
@pytest.mark.parametrize("make", [make_right, make_submission])
def test_same_cells_as_nbgrader(nbgrader, make, edit):
    notebook = make()
    edit(notebook)
    submitted = handed_in(notebook)
    got = merge_stock(make_master(), submitted, "p1")
    assert plain(got.notebook) == plain(nbgrader(submitted))
    assert "stock stops" not in [f.kind for f in got.flags]
    assert got.notebook.metadata.kernelspec == make_master().metadata.kernelspec


def copied_test(notebook):
    notebook.cells.append(copy.deepcopy(find(notebook, "double-test")))
    notebook.cells[-1]["id"] = "copied"


def of_an_old_schema(notebook):
    find(notebook, "helper").metadata.nbgrader.schema_version = 1


def with_bad_points(notebook):
    find(notebook, "double-test").metadata.nbgrader.points = "many"


def without_a_grade_id(notebook):
    del find(notebook, "double-test").metadata.nbgrader["grade_id"]


def with_a_test_unmarked(notebook):
    find(notebook, "double-test").metadata.nbgrader.grade = False


STOPS = [
    with_a_test_unmarked,
    copied_test,
    of_an_old_schema,
    with_bad_points,
    without_a_grade_id,
    with_unknown_id,
]


@pytest.mark.parametrize("edit", STOPS, ids=lambda e: e.__name__)
def test_where_nbgrader_stops_the_cells_are_restored(nbgrader, edit):
    notebook = make_right()
    edit(notebook)
    submitted = handed_in(notebook)
    with pytest.raises(Exception) as caught:  # noqa: B017 - nbgrader raises anything
        nbgrader(submitted)
    assert not isinstance(caught.value, AssertionError)
    got = merge_stock(make_master(), submitted, "p1")
    assert "stock stops" in [f.kind for f in got.flags]
    tests = [c for c in got.notebook.cells if c.metadata.get("nbgrader")]
    assert len(tests) == 7


def test_test_that_jupyter_would_skip_is_flagged():
    notebook = make_right()
    find(notebook, "double-test").metadata.tags = ["skip-execution"]
    kinds = [f.kind for f in merge_stock(make_master(), handed_in(notebook)).flags]
    assert kinds == ["skipped test"]
