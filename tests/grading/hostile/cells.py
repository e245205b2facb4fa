"""Edits what is locked: copies, deletes, renames, re-marks, re-points."""

import copy

import nbformat

from hostile.attack import EXERCISES, FIRST, LAST, MIDDLE, answer, changing, check

DUPLICATES = "duplicates a test cell"
EDITS = "deletes, renames, re-marks, edits test cells; strips metadata; changes points"
_PASSES = "1 + 1"
_TOP = f"{len(EXERCISES)}.0"


def _duplicate(notebook):
    twin = copy.deepcopy(check(notebook, FIRST))
    twin.source, twin.id = "100.0", "twin"
    notebook.cells.insert(0, twin)


def _delete_checks(notebook):
    checks = [check(notebook, exercise) for exercise in EXERCISES]
    notebook.cells = [c for c in notebook.cells if not any(c is k for k in checks)]


def _rename(notebook):
    for exercise in EXERCISES:
        check(notebook, exercise).metadata.nbgrader.grade_id += "-2"


def _unmark(notebook):
    for exercise in EXERCISES:
        cell = check(notebook, exercise)
        cell.metadata.nbgrader.update(grade=False, locked=False, solution=True)
        cell.source = _PASSES


def _edit(notebook):
    for exercise in EXERCISES:
        check(notebook, exercise).source = "4.0"


def _edit_honestly(notebook):
    check(notebook, FIRST).source += "\n# my note"


def _strip(notebook):
    for cell in notebook.cells:
        cell.metadata.clear()


def _strip_and_shuffle(notebook):
    _strip(notebook)
    notebook.cells.reverse()


def _repoint(notebook):
    for exercise in EXERCISES:
        cell = check(notebook, exercise)
        cell.metadata.nbgrader.points = 1_000
        cell.metadata.nbgrader.checksum = "0" * 32


def _odd_points(notebook):
    for exercise, points in zip(EXERCISES, ("many", -1e308, [3]), strict=True):
        check(notebook, exercise).metadata.nbgrader.points = points


def _grade_the_answer(notebook):
    for exercise in EXERCISES:
        cell = answer(notebook, exercise)
        cell.metadata.nbgrader.update(grade=True, points=50)
        cell.source += f"\n\n{_TOP}"


def _add_graded(notebook):
    cell = nbformat.v4.new_code_cell("100.0", id="bonus")
    meta = check(notebook, FIRST).metadata.nbgrader
    cell.metadata["nbgrader"] = {**meta, "grade_id": "bonus", "points": 100}
    notebook.cells.append(cell)


def _to_markdown(notebook):
    for exercise in EXERCISES:
        cell = check(notebook, exercise)
        cell.cell_type = "markdown"
        cell.pop("outputs"), cell.pop("execution_count")


def _checks_first(notebook):
    checks = [check(notebook, exercise) for exercise in EXERCISES]
    rest = [c for c in notebook.cells if not any(c is k for k in checks)]
    notebook.cells = checks + rest


def _swap_grade_ids(notebook):
    first, last = (answer(notebook, e).metadata.nbgrader for e in (FIRST, LAST))
    first["grade_id"], last["grade_id"] = last["grade_id"], first["grade_id"]


def _all_ids_equal(notebook):
    for cell in notebook.cells:
        cell.id = "same"


def _two_answers(notebook):
    """A copied answer cell, as a paste in JupyterLab makes it; the first is right."""
    twin = copy.deepcopy(answer(notebook, MIDDLE))
    twin.id = "pasted"
    notebook.cells.insert(notebook.cells.index(answer(notebook, MIDDLE)) + 1, twin)


def _fake_outputs(notebook):
    for exercise in EXERCISES:
        data = {"text/plain": "4.0"}
        check(notebook, exercise).outputs = [
            nbformat.v4.new_output("execute_result", data=data, execution_count=1)
        ]


def _delete_all(notebook):
    notebook.cells.clear()


def _evil_metadata(notebook):
    notebook.metadata.kernelspec = {"name": "bash", "display_name": "x"}
    notebook.metadata["widgets"] = {"x": "<script>alert(1)</script>"}
    notebook.metadata["orig_nbformat"] = {"a": [1] * 1_000}


ATTACKS = (
    changing("duplicates-a-test", DUPLICATES, _duplicate, flags=("duplicate cell",)),
    changing(
        "duplicates-a-test-honestly",
        DUPLICATES,
        lambda nb: nb.cells.append(copy.deepcopy(check(nb, FIRST))),
        right=True,
        flags=("duplicate cell",),
    ),
    changing(
        "deletes-the-tests",
        EDITS,
        _delete_checks,
        flags=("missing test",),
    ),
    changing(
        "deletes-the-tests-honestly",
        EDITS,
        _delete_checks,
        right=True,
        flags=("missing test",),
    ),
    changing("renames-the-tests", EDITS, _rename, flags=("changed metadata",)),
    changing("renames-the-tests-honestly", EDITS, _rename, right=True),
    changing("re-marks-the-tests", EDITS, _unmark, flags=("edited test",)),
    changing("edits-the-tests", EDITS, _edit, flags=("edited test",)),
    changing(
        "edits-a-test-honestly",
        EDITS,
        _edit_honestly,
        right=True,
        flags=("edited test",),
    ),
    changing("strips-metadata", EDITS, _strip, right=True),
    changing("strips-and-shuffles", EDITS, _strip_and_shuffle),
    changing("changes-points", EDITS, _repoint, flags=("changed metadata",)),
    changing("gives-odd-points", EDITS, _odd_points, right=True),
    changing("makes-answers-graded", EDITS, _grade_the_answer),
    changing("adds-a-graded-cell", EDITS, _add_graded),
    changing("turns-tests-into-text", EDITS, _to_markdown, flags=("converted cell",)),
    changing("puts-tests-first", EDITS, _checks_first, right=True),
    changing("swaps-grade-ids", EDITS, _swap_grade_ids),
    changing("has-one-id-for-all", EDITS, _all_ids_equal, right=True),
    changing("pastes-an-answer-twice", EDITS, _two_answers, right=True),
    changing("brings-its-own-outputs", EDITS, _fake_outputs),
    changing("deletes-everything", EDITS, _delete_all, status="unreadable"),
    changing("asks-for-another-kernel", EDITS, _evil_metadata, right=True),
)
