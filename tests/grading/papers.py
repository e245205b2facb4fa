"""Small assignments and submissions, made in memory."""

import zlib

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.utils import compute_checksum

from tlcourse.grading.records import Assignment, Master, Submission
from tlcourse.sandbox.limits import Limits

LIMITS = Limits(cell_seconds=8, total_seconds=60, output_bytes=100_000)
RIGHT = """\
def cross_entropy(logits, targets):
    if targets.min() < 0 or targets.max() >= logits.shape[1]:
        raise ValueError("class index")
    rows = torch.arange(len(targets))
    z = logits - logits.max(1, keepdim=True).values
    return (z.exp().sum(1).log() - z[rows, targets]).mean()
"""
OVERFLOWS = """\
def cross_entropy(logits, targets):
    if targets.min() < 0 or targets.max() >= logits.shape[1]:
        raise ValueError("class index")
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return -p[torch.arange(len(p)), targets].log().mean()
"""


def given(source):
    """A cell that is not nbgrader's."""
    return new_code_cell(source, id=f"given{zlib.crc32(source.encode())}")


def marked(source, grade_id, points=None, solution=False):
    marks = {
        "grade_id": grade_id,
        "grade": points is not None,
        "solution": solution,
        "locked": points is not None and not solution,
        "schema_version": 3,
        "task": False,
    }
    if points is not None:
        marks["points"] = points
    cell = new_code_cell(source, id=grade_id, metadata={"nbgrader": marks})
    cell.metadata.nbgrader.checksum = compute_checksum(cell)
    return cell


def answer(source, name):
    return marked(source, name, solution=True)


def essay(name, points):
    """A cell that a person grades."""
    marks = marked("", name, points, solution=True).metadata
    cell = new_markdown_cell("", id=name, metadata=marks)
    cell.metadata.nbgrader.checksum = compute_checksum(cell)
    return cell


def check_cell(exercise="losses.cross_entropy", name="cross_entropy", points=3):
    source = f'check("{exercise}", {name})'
    return marked(source, exercise.replace(".", "-"), points)


def notebook(*cells):
    return new_notebook(cells=list(cells))


def assignment(*cells, name="paper", limits=LIMITS, **fields):
    master = Master(name="work", notebook=nbformat.writes(notebook(*cells)))
    return Assignment(name=name, masters=(master,), limits=limits, **fields)


def submission(*cells, student="ada", **files):
    text = nbformat.writes(notebook(*cells))
    return Submission(student=student, files={"work.ipynb": text.encode(), **files})


def changed(cells, **sources):
    """The cells with new sources by grade id (``-`` written as ``_``)."""
    new = nbformat.from_dict([dict(cell) for cell in cells])
    for cell in new:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "").replace("-", "_")
        cell.source = sources.get(name, cell.source)
    return new
