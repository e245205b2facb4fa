"""Run a notebook and keep outputs that read well and never change for nothing."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from nbclient import NotebookClient
from nbformat import NotebookNode
from tqdm import tqdm

CELL_SECONDS = 120
MAX_BYTES = 500_000


def execute(notebook: NotebookNode, folder: Path, name: str) -> None:
    """Run all cells in ``folder`` and store their outputs, stderr dropped.

    Progress goes to a throw-away folder, so that building does not count as
    learning.

    Args:
        notebook: changed in place.
        folder: working folder of the kernel.
        name: shown in the progress bar.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    codes = sum(cell.cell_type == "code" for cell in notebook.cells)
    with (
        tempfile.TemporaryDirectory() as home,
        tqdm(total=codes, desc=name, unit="cell", file=sys.stdout, leave=False) as bar,
    ):
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            record_timing=False,
            extra_arguments=["--log-level=ERROR"],  # its notes are for servers
            resources={"metadata": {"path": str(folder)}},
            on_cell_executed=lambda **_: bar.update(),
        )
        client.execute(env={**os.environ, "TLCOURSE_HOME": home})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            cell.metadata.pop("execution", None)
    notebook.metadata.language_info = {"name": "python"}
