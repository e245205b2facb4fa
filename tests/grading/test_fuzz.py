"""Mutated notebooks: read or refused in one sentence, and merged without harm."""

import copy
import json

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.utils import is_locked
from small_master import find, make_master, make_right, make_submission

from tlcourse.grading.reading.matching import merge
from tlcourse.grading.reading.notebooks import Unreadable, read_notebook
from tlcourse.grading.reading.pairing import is_marked
from tlcourse.grading.reading.stock import merge_stock

MASTER = make_master()
MARKED = [c for c in MASTER.cells if is_marked(c)]
SEEDS = [make_right(), make_submission(), make_master()]
VALIDATOR = MetadataValidator()

texts = st.one_of(st.text(max_size=20), st.sampled_from([c.source for c in MARKED]))
names = st.sampled_from([c.metadata.nbgrader.grade_id for c in MARKED] + ["", "new"])
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    texts,
    names,
    st.just("\ud800"),
)
rubbish = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)
    ),
    max_leaves=8,
)
KEYS = ["grade", "grade_id", "locked", "points", "solution", "task", "schema_version"]
FIELDS = ["id", "source", "cell_type", "metadata", "attachments", "outputs", "extra"]


def fuzz(check, data, count):
    """Call ``check`` with ``count`` examples of ``data``; the same ones every time."""
    bounds = settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    bounds(given(data)(lambda example: check(example)))()


def read(data):
    """The notebook, or ``None`` if it was refused as it should be."""
    try:
        notebook = read_notebook(data)
    except Unreadable as refusal:
        assert 20 < len(str(refusal)) < 300
        return None
    nbformat.validate(notebook)
    json.dumps(notebook).encode()
    return notebook


def holds(data):
    """Everything that is promised of any submission."""
    submitted = read(data)
    if submitted is None:
        return
    before = copy.deepcopy(submitted)
    got = merge(MASTER, submitted, "exercises")
    assert submitted == before
    nbformat.validate(got.notebook)
    VALIDATOR.validate_nb(got.notebook)
    cells = [c for c in got.notebook.cells if c.metadata.get("nbgrader")]
    assert [c.metadata for c in cells] == [c.metadata for c in MARKED]
    assert [c.cell_type for c in cells] == [c.cell_type for c in MARKED]
    for cell, given_out in zip(cells, MARKED, strict=True):
        if is_locked(given_out):
            assert cell == given_out
    assert len({f.kind for f in got.flags}) == len(got.flags)
    assert all(len(f.where) < 300 for f in got.flags)
    assert merge(MASTER, got.notebook).notebook == got.notebook
    saved = nbformat.writes(got.notebook).encode()
    assert merge(MASTER, read_notebook(saved)).notebook == got.notebook
    nbformat.validate(merge_stock(MASTER, submitted, "exercises").notebook)


@st.composite
def broken_bytes(draw):
    """A saved notebook with a few bytes gone, doubled, flipped or put in."""
    data = bytearray(json.dumps(draw(st.sampled_from(SEEDS))).encode())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 40))
        kind = draw(st.sampled_from(["delete", "double", "flip", "insert", "cut"]))
        if kind == "delete":
            del data[start:end]
        elif kind == "double":
            data[end:end] = data[start:end]
        elif kind == "flip" and start < len(data):
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            data[start:start] = draw(st.binary(max_size=8))
        elif kind == "cut":
            del data[max(start, len(data) - 200) :]
    return bytes(data)


def _change_cell(draw, cells, at):
    kind = draw(st.sampled_from(["field", "no field", "mark", "no mark", "text"]))
    cell = cells[at]
    if kind == "field":
        cell[draw(st.sampled_from(FIELDS))] = draw(rubbish)
    elif kind == "no field":
        cell.pop(draw(st.sampled_from(FIELDS)), None)
    elif kind == "text":
        cell["source"] = draw(texts)
    elif isinstance(cell.get("metadata"), dict):
        marks = cell["metadata"].setdefault("nbgrader", {})
        key = draw(st.sampled_from(KEYS))
        if isinstance(marks, dict):
            marks.pop(key, None)
            if kind == "mark":
                marks[key] = draw(st.one_of(names, st.booleans(), rubbish))


@st.composite
def changed_notebooks(draw):
    """A notebook with cells copied, moved, deleted, swapped and changed."""
    notebook = json.loads(json.dumps(draw(st.sampled_from(SEEDS))))
    cells = notebook["cells"]
    for _ in range(draw(st.integers(1, 8))):
        if not cells:
            break
        at = draw(st.integers(0, len(cells) - 1))
        to = draw(st.integers(0, len(cells) - 1))
        kind = draw(
            st.sampled_from(["copy", "move", "delete", "swap", "new", "change"])
        )
        if kind == "copy":
            cells.insert(to, copy.deepcopy(cells[at]))
        elif kind == "move":
            cells.insert(to, cells.pop(at))
        elif kind == "delete":
            del cells[at]
        elif kind == "swap":
            both = cells[at], cells[to]
            if all(isinstance(c, dict) for c in both):
                a, b = (c.get("metadata") for c in both)
                both[0]["metadata"], both[1]["metadata"] = b, a
        elif kind == "new":
            cells.insert(at, {"cell_type": "code", "source": draw(texts)})
        elif isinstance(cells[at], dict):
            _change_cell(draw, cells, at)
    if draw(st.integers(0, 9)) == 0:
        key = draw(st.sampled_from(["cells", "metadata", "nbformat", "worksheets"]))
        notebook[key] = draw(rubbish)
    return json.dumps(notebook).encode()


SIZES = [
    pytest.param(1, id="sample"),
    pytest.param(20, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(1_200)]),
]


@pytest.mark.parametrize("times", SIZES)
def test_broken_bytes(times):
    fuzz(holds, broken_bytes(), 150 * times)


@pytest.mark.parametrize("times", SIZES)
def test_changed_notebooks(times):
    fuzz(holds, changed_notebooks(), 150 * times)


@pytest.mark.parametrize("times", SIZES)
def test_any_bytes_and_any_json(times):
    anything = st.one_of(st.binary(max_size=200), rubbish.map(_as_json))
    fuzz(read, anything, 100 * times)


def _as_json(value):
    return json.dumps(value).encode()


def test_the_seeds_hold():
    """What is mutated is itself in order, or the mutations would test nothing."""
    for seed in SEEDS:
        holds(json.dumps(seed).encode())
    assert find(SEEDS[0], "why").source == "So."
