"""From a teacher's notebook to a learner's, by nbgrader's own preprocessors."""

from __future__ import annotations

import copy
from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    IncludeHeaderFooter,
    InstantiateTests,
    LockCells,
    NbGraderPreprocessor,
    SaveCells,
)
from nbgrader.utils import compute_checksum, is_solution


class PutStubs(NbGraderPreprocessor):
    """Give a bug hunt its buggy code back where nbgrader cleared the answer."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], cell_index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Replace the source of a cell that carries a stub of its own."""
        stub = cell.metadata.pop("tlcourse", {}).get("stub")
        if stub is not None:
            cell.source = stub
        return cell, resources


# nbgrader's own list, with PutStubs behind ClearSolutions.
RELEASE = [
    IncludeHeaderFooter,
    InstantiateTests,
    LockCells,
    ClearSolutions,
    PutStubs,
    ClearOutput,
    CheckCellMetadata,
    ComputeChecksums,
    SaveCells,
    ClearHiddenTests,
    ClearMarkScheme,
    ComputeChecksums,
    CheckCellMetadata,
]
# These need nbgrader's database or files beside the source.
_ONLY_IN_NBGRADER = (IncludeHeaderFooter, InstantiateTests, SaveCells)


def student_version(source: NotebookNode) -> NotebookNode:
    """What a learner gets: answers out, stubs in, checks locked."""
    notebook, resources = copy.deepcopy(source), {}
    for preprocessor in RELEASE:
        if preprocessor not in _ONLY_IN_NBGRADER:
            notebook, resources = preprocessor().preprocess(notebook, resources)
    return notebook


def is_answered(cell: NotebookNode) -> bool:
    """Whether a learner has changed this answer cell since it was made."""
    meta = cell.metadata.get("nbgrader", {})
    return is_solution(cell) and meta.get("checksum") != compute_checksum(cell)
