"""Files that are no notebook, or none that can be read."""

import json

import nbformat

from hostile.attack import EXERCISES, MIDDLE, Attack, answered, packed

ROW = "is corrupt JSON, not a notebook, misnamed, empty, 50 MB"


def _bytes(name, data, status="unreadable"):
    return Attack(name, ROW, lambda given: {"exercises.ipynb": data}, status=status)


def _text(name, change):
    """A right notebook, spoilt in its JSON."""
    return Attack(
        name,
        ROW,
        lambda given: {"exercises.ipynb": change(answered(given, {})).encode()},
        status="unreadable",
    )


def _spoilt(name, **fields):
    return _text(name, lambda notebook: json.dumps({**notebook, **fields}))


def _links(name, target):
    return Attack(
        name,
        "symlinks to course files",
        lambda given: {},
        status="missing",
        links={"exercises.ipynb": target},
        hidden=("BEGIN SOLUTION", "BEGIN HIDDEN"),
    )


def _huge(given):
    notebook = answered(given, {})
    notebook.cells.append(nbformat.v4.new_raw_cell("x" * 50_000_000, id="huge"))
    return packed(notebook)


def _many_cells(given):
    notebook = answered(given, {})
    notebook.cells += [
        nbformat.v4.new_markdown_cell("x", id=f"c{i}") for i in range(20_000)
    ]
    return packed(notebook)


ATTACKS = (
    _text("is-cut-off", lambda notebook: json.dumps(notebook)[:-500]),
    _bytes("is-empty", b""),
    _bytes("is-a-list", b"[]"),
    _bytes("is-an-empty-object", b"{}"),
    _bytes("is-a-number", b"1e999"),
    _bytes("is-a-picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    _bytes("is-not-utf-8", '{"cells": "é"}'.encode("latin-1")),
    _bytes("is-nested-too-deep", b"[" * 200_000 + b"]" * 200_000),
    _bytes("has-a-huge-number", b'{"nbformat": ' + b"9" * 100_000 + b"}"),
    _spoilt("is-version-3", nbformat=3, cells=None, worksheets=[]),
    _spoilt("is-version-99", nbformat=99),
    _spoilt("has-no-cells", cells=None),
    _spoilt("has-cells-of-numbers", cells=[1, 2, 3]),
    Attack(
        "has-nan-for-metadata",
        ROW,
        lambda given: {
            "exercises.ipynb": json.dumps(
                {**answered(given, {}), "metadata": float("nan")}
            ).encode()
        },
        full=EXERCISES,
    ),
    Attack(
        "has-another-name",
        ROW,
        lambda given: {
            "exercises-final (2).ipynb": packed(answered(given, {}))["exercises.ipynb"]
        },
        status="missing",
    ),
    Attack(
        "has-an-evil-name",
        ROW,
        lambda given: {
            "<img src=x onerror=alert(1)> $(touch owned).ipynb": b"{}",
            **packed(answered(given, {})),
        },
        full=EXERCISES,
    ),
    Attack("is-50-megabytes", ROW, _huge, status="missing"),
    Attack("has-20000-cells", ROW, _many_cells, status="unreadable"),
    _links("links-to-solution", "solutions/hw1/exercises.ipynb"),
    _links("links-to-gradebook", "classroom/gradebook.db"),
    _links(
        "links-to-itself", "classroom/submitted/links-to-itself/hw1/exercises.ipynb"
    ),
    Attack(
        "links-beside",
        "symlinks to course files",
        lambda given: packed(
            answered(given, {MIDDLE: "return 12.5, len(open('key').read())"})
        ),
        full=tuple(e for e in EXERCISES if e != MIDDLE),
        links={"key": "solutions/hw1/exercises.ipynb"},
    ),
)
