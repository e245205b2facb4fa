"""What stock nbgrader would run of a submission, for ``--rule stock``."""

from __future__ import annotations

import copy
from types import SimpleNamespace

from nbformat import NotebookNode
from nbgrader.api import MissingEntry
from nbgrader.preprocessors import CheckCellMetadata, DeduplicateIds, OverwriteCells
from nbgrader.utils import is_grade, is_locked, is_task

from tlcourse.grading.reading.matching import Merged, as_flags, merge
from tlcourse.grading.reading.pairing import grade_id, is_marked

_SKIP = "skip-execution"  # a tag by which Jupyter's own runner passes a cell over


def merge_stock(
    master: NotebookNode, submitted: NotebookNode, name: str = ""
) -> Merged:
    """The submission as nbgrader's own preprocessors leave it before it is run.

    The learner's order stays, and so do deleted tests. The flags are those of
    :func:`~tlcourse.grading.reading.matching.merge`. Where nbgrader would stop, its
    notebook is given, too, and the flag "stock stops".
    """
    merged = merge(master, submitted, name)
    notebook = copy.deepcopy(submitted)
    if kernel := master.metadata.get("kernelspec"):
        notebook.metadata["kernelspec"] = copy.deepcopy(kernel)
    try:
        for step in (DeduplicateIds(), _Overwrite(master), CheckCellMetadata()):
            notebook, _ = step.preprocess(notebook, {})
    except Exception:  # whatever stops nbgrader: a KeyError, its own errors, any
        odd = as_flags({"stock stops": []}, name)
        return Merged(merged.notebook, merged.flags + odd)
    skipped = [
        grade_id(cell)
        for cell in notebook.cells
        if is_grade(cell) and _SKIP in cell.metadata.get("tags", ())
    ]
    odd = as_flags({"skipped test": skipped} if skipped else {}, name)
    return Merged(notebook, merged.flags + odd)


class _Overwrite(OverwriteCells):
    """nbgrader's preprocessor with a notebook in the place of its database."""

    def __init__(self, master: NotebookNode) -> None:
        super().__init__()
        self.notebook_id = self.assignment_id = ""
        self.gradebook = _Book(master)

    def preprocess(
        self, nb: NotebookNode, resources: dict[str, object]
    ) -> tuple[NotebookNode, dict[str, object]]:
        return super(OverwriteCells, self).preprocess(nb, resources)


class _Book:
    """The two questions that nbgrader's preprocessor asks its gradebook."""

    def __init__(self, master: NotebookNode) -> None:
        self._cells = {grade_id(c): c for c in master.cells if is_marked(c)}

    def find_source_cell(self, name: str, *_: str) -> SimpleNamespace:
        cell = self._find(name)
        return SimpleNamespace(
            name=name,
            cell_type=cell.cell_type,
            locked=is_locked(cell),
            source=cell.source,
            checksum=cell.metadata.nbgrader.get("checksum"),
        )

    def find_graded_cell(self, name: str, *_: str) -> SimpleNamespace:
        cell = self._find(name)
        if not (is_grade(cell) or is_task(cell)):
            raise MissingEntry(f"{name!r} is not graded")
        return SimpleNamespace(max_score=float(cell.metadata.nbgrader["points"]))

    def _find(self, name: str) -> NotebookNode:
        if name not in self._cells:
            raise MissingEntry(f"there is no cell {name!r}")
        return self._cells[name]
