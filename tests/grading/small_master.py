"""A small assignment's cells, as a teacher's notebook and as it is handed in."""

import copy
import json

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.utils import compute_checksum

from tlcourse.grading.reading.notebooks import read_notebook

HIDDEN = "### BEGIN HIDDEN TESTS\nassert double(4) == 8\n### END HIDDEN TESTS"


def marked(make, name, source, *, points=None, **marks):
    cell = make(source, id=name)
    cell.metadata["nbgrader"] = nbformat.from_dict(
        {
            "grade": points is not None and not marks.get("task", False),
            "grade_id": name,
            "locked": False,
            "schema_version": 3,
            "solution": False,
            "task": False,
            **marks,
            **({} if points is None else {"points": points}),
        }
    )
    cell.metadata.nbgrader.checksum = compute_checksum(cell)
    return cell


def answer(name, source):
    return marked(new_code_cell, name, source, solution=True)


def check(name, source, points=2):
    return marked(new_code_cell, name, source, points=points, locked=True)


def question(name, points=3):
    text = "YOUR ANSWER HERE"
    return marked(new_markdown_cell, name, text, points=points, solution=True)


def stub(name):
    return f"def {name}(x):\n    raise NotImplementedError"


def right(name, factor):
    return f"def {name}(x):\n    return {factor} * x"


def make_master():
    """Two functions with a test each, a question, a task and a locked helper."""
    cells = [
        new_markdown_cell("# Title", id="title"),
        new_code_cell("import math", id="imports"),
        marked(new_code_cell, "helper", "ONE = 1", locked=True),
        new_markdown_cell("Write `double`.", id="text-double"),
        answer("double-answer", stub("double")),
        check("double-test", f"assert double(1) == 2\n{HIDDEN}"),
        new_markdown_cell("Write `treble`.", id="text-treble"),
        answer("treble-answer", stub("treble")),
        check("treble-test", "assert treble(1) == 3"),
        new_markdown_cell("Why?", id="text-why"),
        question("why"),
        marked(
            new_markdown_cell,
            "task",
            "Plot.\n=== BEGIN MARK SCHEME ===\nTwo axes.\n=== END MARK SCHEME ===",
            points=4,
            task=True,
            locked=True,
        ),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel}, nbformat_minor=5)


def make_submission(**sources):
    """An honest submission; ``double_answer="..."`` replaces that cell's source."""
    notebook = copy.deepcopy(make_master())
    find(notebook, "double-test").source = "assert double(1) == 2"
    find(notebook, "task").source = "Plot."
    for name, source in sources.items():
        find(notebook, name.replace("_", "-")).source = source
    return notebook


def make_right():
    """An honest submission in which everything is answered."""
    return make_submission(
        double_answer=right("double", 2), treble_answer=right("treble", 3), why="So."
    )


def find(notebook, name):
    """The cell with this grade id, or else cell id."""
    found = [c for c in notebook.cells if c.id == name]
    return found[0] if found else by_grade_id(notebook)[name]


def by_grade_id(notebook):
    named = [c for c in notebook.cells if c.metadata.get("nbgrader")]
    return {c.metadata.nbgrader.grade_id: c for c in named}


def handed_in(notebook):
    """What the grader reads of a notebook that is saved and handed in."""
    return read_notebook(json.dumps(notebook).encode())
