"""Run a notebook and keep outputs that read well and never change for nothing."""

from __future__ import annotations

import os
import subprocess
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
            coalesce_streams=True,
            resources={"metadata": {"path": str(folder)}},
            on_cell_executed=lambda **_: bar.update(),
        )
        # The kernel's own log is for servers; a cell's stderr comes as an output.
        environment = {**os.environ, "TLCOURSE_HOME": home}
        client.execute(env=environment, stderr=subprocess.DEVNULL)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            cell.metadata.pop("execution", None)
    notebook.metadata.language_info = {"name": "python"}
