"""Seconds and peak memory of every lesson and every solution notebook.

Each notebook runs in a process of its own, one thread, kernel start included. Run it
on a machine that does nothing else: ``python benchmarks/notebooks.py``.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def measure(path: Path) -> None:
    """Run one notebook here and print seconds and its kernel's peak memory."""
    import nbformat

    from tlcourse.authoring.executing import execute

    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    execute(notebook, path.parent, path.stem)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"RESULT {seconds:.1f} {peak:.2f}")


def table() -> None:
    """Print one Markdown row per notebook."""
    print("| notebook | seconds | peak memory (GiB) |\n|---|---|---|")
    paths = [*ROOT.glob("chapters/*/lesson.ipynb"), *ROOT.glob("solutions/*/*.ipynb")]
    one_thread = {"OMP_NUM_THREADS": "1", "TLCOURSE_THREADS": "1"}
    for path in sorted(paths):
        done = subprocess.run(
            [sys.executable, __file__, str(path)],
            env={**os.environ, **one_thread},
            capture_output=True,
            text=True,
            check=True,
        )
        seconds, peak = done.stdout.split("RESULT ")[1].split()
        print(f"| {path.relative_to(ROOT)} | {seconds} | {peak} |", flush=True)


if __name__ == "__main__":
    measure(Path(sys.argv[1])) if len(sys.argv) > 1 else table()
