"""Any bytes become a clean notebook, or one sentence for the learner."""

import json
import tracemalloc

import nbformat
import pytest
from small_master import make_right

from tlcourse.grading.reading.notebooks import Unreadable, read_notebook

CELL = {"cell_type": "code", "metadata": {}, "source": "x = 1"}


def written(*cells, **top):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": cells, **top})


def read(text):
    notebook = read_notebook(text if isinstance(text, bytes) else text.encode())
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    return notebook


UNREADABLE = {
    "no bytes": b"",
    "only blanks": b" \n\t ",
    "cut off": written(CELL)[:-9],
    "a picture": b"\x89PNG\r\n\x1a\n\x00\x00",
    "latin-1": written(CELL).replace("x = 1", "\u00e9t\u00e9").encode("latin-1"),
    "zeros": bytes(1000),
    "plain text": "def double(x): return 2 * x",
    "web page": "<!DOCTYPE html><html></html>",
    "a list": "[]",
    "a number": "7",
    "an empty object": "{}",
    "other JSON": '{"answers": [1, 2]}',
    "cells of text": written(cells="all of them"),
    "no cells": written(),
    "only rubbish cells": written(1, None, "x", [CELL]),
    "blank cells": written({**CELL, "source": " \n"}, {**CELL, "source": []}),
    "a later format": written(CELL, nbformat=9),
    "very deep": '{"cells": ' + "[" * 100_000,
    "deep and closed": written(CELL, deep=0).replace(
        '"deep": 0', f'"deep": {"[" * 50_000}{"]" * 50_000}'
    ),
    "many parts": "[" + "[]," * 1_100_000 + "[]]",
    "many values": "[" + "0," * 5_100_000 + "0]",
    "many cells": written(*[CELL] * 10_001),
    "a huge cell": written({**CELL, "source": "x" * 1_000_001}),
    "merge marks": "<<<<<<< HEAD\n" + written(CELL),
    "merge marks inside": '{\n"cells": [\n<<<<<<< HEAD\n]}',
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_says_one_clear_sentence(data):
    with pytest.raises(Unreadable) as caught:
        read(data)
    said = str(caught.value)
    assert 20 < len(said) < 250
    assert "hand" in said
    assert "Error" not in said and "Traceback" not in said


def test_reason_is_named():
    reasons = {
        "empty": b"",
        "line 3": '{\n"cells": [\n}',
        "format 9": written(CELL, nbformat=9),
        "merge": UNREADABLE["merge marks inside"],
    }
    for reason, data in reasons.items():
        with pytest.raises(Unreadable, match=reason):
            read(data)


def test_good_notebook_keeps_text_kind_id_and_marks():
    given = make_right()
    got = read(json.dumps(given))
    kept = [(c.cell_type, c.source, c.id) for c in got.cells]
    assert kept == [(c.cell_type, c.source, c.id) for c in given.cells]
    marks = [c.metadata.get("nbgrader") for c in got.cells]
    assert marks == [c.metadata.get("nbgrader") for c in given.cells]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_of_unicode_are_read(encoding):
    text = written({**CELL, "source": "s = 'h\u00e9 \U0001f600'"})
    data = json.dumps(json.loads(text), ensure_ascii=False).encode(encoding)
    assert read(data).cells[0].source == "s = 'h\u00e9 \U0001f600'"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (["a\n", "b"], "a\nb"),
        (["a", 3, None, ["b"], "c"], "ac"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("\ud800x\udfff", "\ufffdx\ufffd"),
    ],
)
def test_source_is_made_text(source, text):
    assert read(written({**CELL, "source": source})).cells[0].source == text


@pytest.mark.parametrize("source", [None, 5, {"a": 1}, [None]])
def test_source_that_is_no_text_is_empty(source):
    got = read(written({**CELL, "source": source}, CELL))
    assert [c.source for c in got.cells] == ["", "x = 1"]


def test_missing_keys_are_filled_in():
    got = read(written({"cell_type": "code"}, {"cell_type": "markdown"}, CELL))
    assert [c.source for c in got.cells] == ["", "", "x = 1"]
    assert len({c.id for c in got.cells}) == 3


def test_outputs_and_foreign_metadata_are_dropped():
    cell = {
        **CELL,
        "outputs": [{"output_type": "rubbish", "data": [[1]]}, 7],
        "execution_count": "many",
        "metadata": {"colab": {"base_uri": "x"}, "tags": ["a", 5, "b,c"], "deep": [[]]},
        "surprise": 1,
    }
    (got,) = read(written(cell, metadata=[1])).cells
    assert dict(got, id="") == {
        "cell_type": "code",
        "execution_count": None,
        "id": "",
        "metadata": {"tags": ["a"]},
        "outputs": [],
        "source": "x = 1",
    }


def test_marks_keep_plain_values_only():
    text = written({**CELL, "metadata": {"nbgrader": {"grade": True, "points": 0}}})
    for rubbish in ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "[1]", "null"):
        (got,) = read(text.replace('"points": 0', f'"points": {rubbish}')).cells
        assert got.metadata.nbgrader == {"grade": True}


@pytest.mark.parametrize("marks", [None, 3, "x", [1], {"grade": {"a": 1}}])
def test_rubbish_marks_do_no_harm(marks):
    assert read(written({**CELL, "metadata": {"nbgrader": marks}})).cells


def test_last_of_doubled_keys_counts_as_in_jupyter():
    text = written(CELL).replace('"x = 1"', '"x = 1", "source": "x = 2"')
    assert read(text).cells[0].source == "x = 2"


def test_ids_are_valid_and_unique():
    ids = ["a", "a", "", "b c", "x" * 65, 5, None, "unnamed-1", "a"]
    got = read(written(*[{**CELL, "id": i} for i in ids]))
    assert got.cells[0].id == "a"
    assert len({c.id for c in got.cells}) == len(ids)


def test_unknown_kind_of_cell_is_kept_as_raw_text():
    got = read(written({**CELL, "cell_type": "sql"}, CELL))
    assert [(c.cell_type, c.source) for c in got.cells][0] == ("raw", "x = 1")


def test_attached_pictures_stay_and_nothing_else_does():
    attached = {
        "photo.png": {"image/png": "aGk=", "text/html": "<script>"},
        "bad.png": {"image/png": 'x" onerror="alert(1)'},
        "drawing.svg": {"image/svg+xml": "<svg/>"},
        "odd": 3,
    }
    cell = {"cell_type": "markdown", "source": "see", "attachments": attached}
    assert read(written(cell)).cells[0].attachments == {
        "photo.png": {"image/png": "aGk="}
    }
    assert "attachments" not in read(written({**cell, "attachments": [1]})).cells[0]


def test_format_3_is_read():
    cells = [
        {"cell_type": "code", "input": ["x = 1\n", "y = 2"], "prompt_number": 3},
        {"cell_type": "heading", "level": 2, "source": "Title"},
        {"cell_type": "heading", "level": "deep", "source": ["Two\n", "lines"]},
        {"cell_type": "html", "source": "<b>x</b>"},
        7,
    ]
    old = {"nbformat": 3, "worksheets": [{"cells": cells}, {"cells": 4}, None]}
    assert [(c.cell_type, c.source) for c in read(json.dumps(old)).cells] == [
        ("code", "x = 1\ny = 2"),
        ("markdown", "## Title"),
        ("markdown", "# Two lines"),
        ("markdown", "<b>x</b>"),
    ]


@pytest.mark.parametrize("version", [None, "4", 4.0, True, -1, [4]])
def test_version_that_makes_no_sense_does_not_lose_the_work(version):
    assert read(written(CELL, nbformat=version)).cells[0].source == "x = 1"


def test_hostile_bytes_take_bounded_memory():
    """20 MB of brackets would take more than half a gigabyte when parsed."""
    data = b"[" + b"[]," * 7_000_000 + b"[]]"
    tracemalloc.start()
    with pytest.raises(Unreadable):
        read_notebook(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * len(data)
