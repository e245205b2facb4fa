"""Put a submission's answers into the teacher's notebook, and say what was odd."""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import dataclass

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_locked, is_solution, is_task

from tlcourse.grading.reading.naming import printable
from tlcourse.grading.reading.notebooks import unused_id
from tlcourse.grading.reading.pairing import Pairing, grade_id, is_marked
from tlcourse.grading.records import Flag

MAX_EXTRAS = 1_000  # cells of the learner's own
_NAMED = 3  # cells that a flag names; of the others it gives the number
_REMARK = "This answer was missing from the submission."
WHAT = {
    "edited test": "A locked test was changed; the teacher's text was used.",
    "edited cell": "A locked cell was changed; the teacher's text was used.",
    "missing test": "A test was missing; it is back in its place.",
    "missing cell": "A locked cell was missing; it is back in its place.",
    "missing answer": "An answer's cell was missing or could not be told from others; "
    "what the learner wrote elsewhere was kept.",
    "duplicate cell": "A cell stood there several times; one was graded, and the "
    "others count as the learner's own cells or were left out as needless.",
    "changed metadata": "nbgrader's marks, points or ids were changed or missing; the "
    "teacher's were used.",
    "converted cell": "A cell was made another kind of cell; it was turned back.",
    "moved cell": "Cells stood in another order; the teacher's order was used. An "
    "answer that needs a later cell may fail because of it.",
    "swapped answers": "Answers stood in each other's place or had each other's ids; "
    "they were matched by the names they define.",
    "forged metadata": "A cell that is not the teacher's was marked as graded or "
    "locked; it counts as an ordinary cell.",
    "too many cells": f"Only the first {MAX_EXTRAS:,} cells of the learner's own "
    "were kept.",
    "stock stops": "nbgrader itself would have stopped at this notebook; it was "
    "graded with its cells restored.",
    "skipped test": "A test carries the tag skip-execution: by nbgrader's rule it is "
    "not run and passes.",
}


@dataclass(frozen=True)
class Merged:
    """What is run and graded, and what a teacher should look at."""

    notebook: NotebookNode
    flags: tuple[Flag, ...]


def merge(master: NotebookNode, submitted: NotebookNode, name: str = "") -> Merged:
    """The master with the learner's answers and the learner's own cells.

    Tests and locked cells are the master's, each once, in the master's order.
    Cells that nbgrader does not know are the learner's: they stay behind the cell
    that they stood behind. A deleted answer comes back as a remark and not as the
    stub, which could overwrite what the learner wrote in another cell.

    Args:
        master: the teacher's notebook (:class:`~tlcourse.grading.records.Master`).
        submitted: what :func:`~tlcourse.grading.reading.notebooks.read_notebook` gave.
        name: the notebook's name, for the flags.
    """
    pairing = Pairing(master.cells, submitted.cells)
    slots, cut = _slots(pairing)
    taken = {master.cells[i].get("id", "") for i in pairing.marked}
    cells = [_extra(submitted.cells[j], taken) for j in slots[-1]]
    for i in pairing.marked:
        cells.append(_marked(pairing, i, taken))
        cells += [_extra(submitted.cells[j], taken) for j in slots[i]]
    notebook = nbformat.v4.new_notebook(
        cells=cells, metadata=copy.deepcopy(master.metadata), nbformat_minor=5
    )
    odd = _oddities(pairing)
    if cut:
        odd["too many cells"].append(f"{cut:,} left out")
    return Merged(notebook, as_flags(odd, name))


def _slots(pairing: Pairing) -> tuple[dict[int, list[int]], int]:
    """The learner's own cells behind each marked cell (-1: in front); how many not."""
    slots: dict[int, list[int]] = defaultdict(list)
    is_at = {j: i for i, j in pairing.found.items()}
    behind, kept, cut = -1, 0, 0
    for j in range(len(pairing.given)):
        if j in is_at:
            behind = is_at[j]
        elif j not in pairing.needless:
            if kept < MAX_EXTRAS:
                slots[behind].append(j)
                kept += 1
            else:
                cut += 1
    previous = -1
    for i in pairing.marked:
        if i not in pairing.found:
            at = _place_for(pairing, i, slots[previous])
            slots[i], slots[previous] = slots[previous][at:], slots[previous][:at]
        previous = i
    return slots, cut


def _place_for(pairing: Pairing, i: int, slot: list[int]) -> int:
    """Where in a slot a missing cell comes back.

    A test as late as can be: what it tests may stand in any cell before. Anything
    else as early as can be: it may define what the cells behind it need.
    """
    origins = [pairing.ordinary.get(j) for j in slot]
    cell = pairing.master[i]
    if is_grade(cell) and is_locked(cell):
        later = (n for n, o in enumerate(origins) if o is not None and o > i)
        return next(later, len(slot))
    earlier = [n for n, o in enumerate(origins) if o is not None and o < i]
    return earlier[-1] + 1 if earlier else 0


def _marked(pairing: Pairing, i: int, taken: set[str]) -> NotebookNode:
    """The master's cell; in an answer, the learner's text."""
    cell, place = copy.deepcopy(pairing.master[i]), pairing.found.get(i)
    if "id" not in cell:
        cell["id"] = unused_id(grade_id(cell)[:50], taken)
        taken.add(cell["id"])
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
    if is_locked(cell):
        return cell
    if place is None:
        code = cell.cell_type == "code"
        cell.source = f"# {_REMARK}" if code else f"*{_REMARK}*"
    elif pairing.is_changed(i, place):
        theirs = pairing.given[place]
        cell.source = theirs.source
        if "attachments" in theirs and cell.cell_type != "code":
            cell["attachments"] = copy.deepcopy(theirs.attachments)
    return cell


def _extra(theirs: NotebookNode, taken: set[str]) -> NotebookNode:
    """A cell of the learner's own: its kind and its text, no metadata."""
    cell = copy.deepcopy(theirs)
    cell.metadata = NotebookNode()
    if cell.id in taken:
        cell["id"] = unused_id("extra", taken)
    taken.add(cell.id)
    return cell


def _oddities(pairing: Pairing) -> dict[str, list[str]]:
    """The names of the cells by kind of oddity."""
    odd: dict[str, list[str]] = defaultdict(list)
    for i in pairing.marked:
        for kind in _kinds(pairing, i):
            odd[kind].append(grade_id(pairing.master[i]))
    for j in pairing.copies:
        odd["duplicate cell"].append(grade_id(pairing.given[j]))
    known = pairing.known()
    for j, cell in enumerate(pairing.given):
        if j not in known and is_marked(cell):
            named = printable(grade_id(cell)[:50]) if grade_id(cell) else ""
            odd["forged metadata"].append(named or f"cell {j + 1}")
    if pairing.is_moved():
        odd["moved cell"] = []
    return odd


def _kinds(pairing: Pairing, i: int) -> list[str]:
    """What is odd about one marked cell of the master."""
    cell, place = pairing.master[i], pairing.found.get(i)
    test = is_grade(cell) and is_locked(cell)
    if place is None:
        locked = "missing test" if test else "missing cell"
        return [locked if is_locked(cell) else "missing answer"]
    theirs, kinds = pairing.given[place], []
    if is_locked(cell) and pairing.is_changed(i, place):
        kinds.append("edited test" if test else "edited cell")
    if theirs.cell_type != cell.cell_type:
        kinds.append("converted cell")
    if i in pairing.swapped:
        kinds.append("swapped answers")
    if i in pairing.unnamed or _marks(theirs) != _marks(cell):
        kinds.append("changed metadata")
    return kinds


def _marks(cell: NotebookNode) -> tuple[bool | float | str | None, ...]:
    """What nbgrader's metadata says of a cell."""
    marks = [bool(m(cell)) for m in (is_grade, is_solution, is_locked, is_task)]
    worth = is_grade(cell) or is_task(cell)
    return (*marks, cell.metadata.nbgrader.get("points") if worth else None)


def as_flags(odd: dict[str, list[str]], name: str) -> tuple[Flag, ...]:
    """One flag a kind, which names the first few cells."""
    flags = []
    for kind, cells in sorted(odd.items()):
        cells = list(dict.fromkeys(cells))
        more = len(cells) - _NAMED
        listed = ", ".join(cells[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        where = ": ".join(part for part in (name, listed) if part)
        flags.append(Flag(kind=kind, where=where, what=WHAT[kind]))
    return tuple(flags)
