"""Say what happened to cells: to the learner, and in flags for the teacher."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from nbformat import NotebookNode

from tlcourse.grading.records import Flag
from tlcourse.grading.running.canaries import bound_names
from tlcourse.grading.running.cells import NotebookRun


def number(cells: Sequence[NotebookNode], index: int) -> int:
    """The number of a code cell as a reader sees it: 1 is the first."""
    return sum(cell.cell_type == "code" for cell in cells[: index + 1])


def why_missing(run: NotebookRun, index: int, master: NotebookNode) -> tuple[str, str]:
    """Why the name that a check cell asks for does not exist: status and sentence."""
    name = run.plan.questions[index].check.name
    stubs = {_grade_id(c): c.source for c in master.cells if _grade_id(c)}
    for earlier, cell in enumerate(run.cells[:index]):
        meant = f"{cell.source}\n{stubs.get(_grade_id(cell), '')}"
        if cell.cell_type != "code" or not _binds(meant, name):
            continue
        which = f"Your code cell {number(run.cells, earlier)}"
        ran = run.runs.get(earlier)
        if earlier in run.left_out:
            status = "out of time" if ran and ran.status == "late" else "crashed"
            return status, f"{which} {run.left_out[earlier]}, so there is no `{name}`."
        if ran is not None and ran.failed:
            return "failed", f"{which} raised an error, so there is no `{name}`."
    said = f"There is no `{name}` in your notebook; write it under this name."
    return "failed", said


def _grade_id(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _binds(source: str, name: str) -> bool:
    """Whether a cell gives a name its meaning; by its looks if it is no Python."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return bool(re.search(rf"\b(def|class)\s+{name}\b|\b{name}\s*=", source))
    return name in bound_names([source])


def how_it_stopped(run: NotebookRun, notebook: str) -> str:
    """A sentence where cells were not run; empty if all were."""
    unrun = (index for index, ran in run.runs.items() if ran.status == "not run")
    first = next(unrun, None)
    if first is None:
        return ""
    where = f"{notebook}, code cell {number(run.cells, first)}"
    return f"{run.runs[first].why} The first that was not run is {where}."


def flags_of(run: NotebookRun, notebook: str) -> Iterator[Flag]:
    """Flags for cells that ended a kernel, took too long or showed too much."""
    for index, ran in run.runs.items():
        told = {
            "kernel ended": ran.status == "ended" and ran.why,
            "out of time": ran.status == "late" and ran.why,
            "output cut": ran.cut and f"showed too much; {ran.cut} left out",
        }
        where = f"{notebook}, code cell {number(run.cells, index)}"
        for kind, what in told.items():
            if what:
                yield Flag(kind=kind, where=where, what=f"This cell {what}.")
