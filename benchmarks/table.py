"""Run every benchmark and write docs/PERFORMANCE.md: ``python benchmarks/table.py``.

Takes some minutes on a machine that does nothing else.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "Notebooks": ("notebooks.py", "Kernel start included; one thread."),
    "Import": ("import_time.py", "A fresh Python each time; medians."),
    "Checks": ("check_latency.py", "The first check aside; one thread; medians."),
    "Linear CKA": ("cka.py", "One thread; ratios to the matrix products alone."),
    "MMD²": ("mmd.py", "One thread; the floor is the three matrix products alone."),
    "Permutation test": ("permutation.py", "One thread; the loop is scaled up."),
    "MMD² of large samples": ("random_features.py", "One thread, one run each."),
    "NT-Xent": ("nt_xent.py", "One thread; memory is what the call adds at its peak."),
    "Prototypical episodes": ("episodes.py", "One thread."),
    "MAML": ("maml.py", "One thread; one outer step."),
    "Warm kernels": ("warm_kernels.py", "The first one starts the server; one thread."),
    "Grading": ("grading.py", "A generated class of honest submissions, with torch."),
    "Glyphs": ("glyph_rate.py", "One thread, after the base glyphs are rendered."),
}


def output(script: str) -> str:
    """What one benchmark prints; it must end well."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TLCOURSE_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def main() -> None:
    """Write the document."""
    import torch

    lines = [
        "<!-- Written by `python benchmarks/table.py`; do not edit. -->",
        "# Performance",
        "",
        f"Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}, "
        f"{os.cpu_count()} CPU cores, no GPU.",
    ]
    for title, (script, note) in PARTS.items():
        print(f"{title} …", flush=True)
        text = output(script)
        table = text if text.startswith("|") else f"```\n{text}\n```"
        lines += ["", f"## {title}", "", f"{note} `python benchmarks/{script}`", ""]
        lines += [table]
    (ROOT / "docs" / "PERFORMANCE.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
