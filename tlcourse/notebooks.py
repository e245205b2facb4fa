"""Grade a learner's whole exercises file outside JupyterLab.

Grading runs a copy of the learner's notebook in memory, in the chapter's folder.
Each check cell is taken from the freshly built notebook, wherever the learner's copy
of it stands, and publishes its report as data: an edited check cell, or a name
``check`` of the learner's own, earns nothing. The notebook runs with a throw-away
progress file, so that a ``hint(...)`` left in a cell is not counted again; the
attempts are then recorded, once each, in the learner's own. This is a check of
oneself, not an exam: the answers run in the process that reports on them.
"""

from __future__ import annotations

import ast
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tlcourse.authoring import building
from tlcourse.course import Chapter, find_chapter, root
from tlcourse.exercises import Report, get, remember
from tlcourse.restoring import read_notebook

CELL_SECONDS = 120
_MIME = "application/vnd.tlcourse.report+json"
_PUBLISH = """\
from IPython.display import display as _display
from tlcourse import check
_display({{{mime!r}: ({call}).to_json()}}, raw=True)"""


@dataclass(frozen=True)
class Graded:
    """What came out of one learner's file.

    Args:
        path: the notebook.
        reports: one per exercise, in the notebook's order.
        notes: what was unusual: cells missing, edited, copied, or out of time.
        questions: points of the questions that a person grades.
    """

    path: Path
    reports: tuple[Report, ...]
    notes: tuple[str, ...]
    questions: int

    @property
    def points(self) -> float:
        """Earned points, summed."""
        return round(sum(report.points for report in self.reports), 2)

    @property
    def max_points(self) -> int:
        """Points there are."""
        return sum(report.max_points for report in self.reports)


def grade(target: str) -> Graded:
    """Grade a chapter's exercises file, or one exercise of it; records attempts.

    Args:
        target: chapter number, slug or folder, or an exercise's id.

    Raises:
        UnknownExercise: no such exercise.
        ValueError: no such chapter, it has no exercises, or the file is no notebook.
        FileNotFoundError: the file is missing.
    """
    only = get(target).id if "." in target else None
    chapter = find_chapter(only.split(".")[0] if only else target)
    built = _exercises(chapter)
    given = read_notebook(built.path, chapter)
    checks = {
        exercise: cell
        for exercise, cell in _checks(built.notebook)
        if only in (None, exercise)
    }
    notes = [note for name in checks for note in _oddities(name, checks[name], given)]
    running = _with_checks(given, checks)
    stopped = _run(running, built.path.parent)
    reports = tuple(remember(_report(name, running, stopped)) for name in checks)
    return Graded(
        built.path,
        reports,
        (*notes, *filter(None, [stopped])),
        0 if only else _question_points(built.notebook),
    )


def _exercises(chapter: Chapter) -> building.Target:
    """The learner's exercises notebook of a chapter, freshly built."""
    folder = root() / "chapters" / chapter.folder
    for target in building.targets(root(), chapter):
        if target.path == folder / "exercises.ipynb":
            return target
    raise ValueError(f"Chapter {chapter.folder} has no exercises.")


def _grade_id(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _checks(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """(exercise id, check cell) of a built notebook."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade"):
            yield _grade_id(cell).replace("-", ".", 1), cell


def _question_points(notebook: NotebookNode) -> int:
    keys = (cell.metadata.get("nbgrader", {}) for cell in notebook.cells)
    return sum(k["points"] for k in keys if k.get("grade") and k.get("solution"))


def _oddities(name: str, check: NotebookNode, given: NotebookNode) -> Iterator[str]:
    """What a learner should know about the cells of one exercise."""
    theirs = [cell for cell in given.cells if _grade_id(cell) == _grade_id(check)]
    answers = [cell for cell in given.cells if _grade_id(cell) == _answer_id(check)]
    if not theirs:
        yield f"{name}: the check cell is missing; the course's own was used."
    elif any(cell.source != check.source for cell in theirs):
        yield f"{name}: the check cell was edited; the course's own was used."
    if not answers:
        yield f"{name}: the answer cell is missing."
    elif len(answers) > 1:
        yield f"{name}: there are {len(answers)} answer cells; the last one counts."


def _answer_id(check: NotebookNode) -> str:
    return f"{_grade_id(check)}.answer".replace(".", "-")


def _with_checks(given: NotebookNode, checks: dict[str, NotebookNode]) -> NotebookNode:
    """The learner's cells, without their checks, with ours in the places of those.

    A check never stands above its answer; one without a place goes to the end.
    """
    ours = {_grade_id(cell): cell for cell in checks.values()}
    graded = {"grade", "locked"}
    cells = []
    for cell in given.cells:
        keys = cell.metadata.get("nbgrader", {})
        if _grade_id(cell) in ours or all(keys.get(key) for key in graded):
            cells.append(_cell("raw", "", _grade_id(cell)))
        else:
            cells.append(_cell(cell.cell_type, cell.source, _grade_id(cell)))
    for check in checks.values():
        code = _cell("code", _publishing(check.source), _grade_id(check))
        wanted = (_grade_id(check), _answer_id(check))
        places = [i for i, cell in enumerate(cells) if _grade_id(cell) in wanted]
        cells.insert(places[-1] + 1 if places else len(cells), code)
    return nbformat.v4.new_notebook(cells=cells)


def _cell(kind: str, source: str, grade_id: str) -> NotebookNode:
    new = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    cell = new.get(kind, nbformat.v4.new_raw_cell)(source)
    cell.metadata["nbgrader"] = {"grade_id": grade_id}
    return cell


def _publishing(source: str) -> str:
    """A check cell whose report leaves the kernel as data."""
    *before, last = ast.parse(source).body
    call = _PUBLISH.format(mime=_MIME, call=ast.unparse(last))
    return "\n".join([*map(ast.unparse, before), call])


def _run(notebook: NotebookNode, folder: Path) -> str | None:
    """Run all cells in place; returns why not all were run, or ``None``."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    silent = logging.getLogger("tlcourse.notebooks")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
        log=silent,
    )
    with tempfile.TemporaryDirectory() as home:
        try:
            env = {**os.environ, "TLCOURSE_HOME": home}
            client.execute(env=env, stderr=subprocess.DEVNULL)  # the kernel's own log
        except CellTimeoutError:
            return f"A cell took more than {CELL_SECONDS} s; those below were not run."
        except DeadKernelError:
            return "A cell ended Python itself; those below were not run."
    return None


def _report(name: str, ran: NotebookNode, stopped: str | None) -> Report:
    """The report that a check cell published, or why there is none."""
    grade_id = name.replace(".", "-", 1)
    check = [cell for cell in ran.cells if _grade_id(cell) == grade_id][-1]
    for output in check.outputs:
        record = output.get("data", {}).get(_MIME)
        if record is not None:
            return Report.from_json(record)
    answers = [c for c in ran.cells if _grade_id(c) == f"{grade_id}-answer"]
    reasons = [f"Your answer cell raised {e}" for c in answers for e in _errors(c)]
    reasons += [f"The check could not run: {error}" for error in _errors(check)]
    if not answers:
        slug = find_chapter(name.split(".")[0])
        reasons.insert(0, _MISSING.format(number=slug.number))
    return Report.not_run(get(name), " ".join(reasons) or stopped or "It was not run.")


_MISSING = (
    "Its answer cell is missing; `tlcourse reset {number:02d}` brings it back and "
    "keeps your notebook aside."
)


def _errors(cell: NotebookNode) -> list[str]:
    if cell.cell_type != "code":
        return []
    return [
        f"{o.ename}: {o.evalue}"[:300].rstrip(".") + "."
        for o in cell.outputs
        if o.output_type == "error"
    ]
