"""Run benchmarks and write docs/PERFORMANCE.md: ``python benchmarks/table.py``.

All take half an hour on a machine that does nothing else. With titles, such as
``python benchmarks/table.py Grading MAML``, only those are run; the rest stays.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "PERFORMANCE.md"
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


def written() -> dict[str, str]:
    """The sections of the document as it stands, by title."""
    sections = DOCUMENT.read_text("utf-8").split("\n## ")[1:]
    return {
        title: rest.strip() for title, _, rest in (s.partition("\n") for s in sections)
    }


def main() -> None:
    """Write the document."""
    import torch

    chosen = sys.argv[1:] or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        sys.exit(f"no such part: {', '.join(unknown)}. There are {', '.join(PARTS)}.")
    sections = written() if sys.argv[1:] else {}
    lines = [
        "<!-- Written by `python benchmarks/table.py`; do not edit. -->",
        "# Performance",
        "",
        f"Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}, "
        f"{os.cpu_count()} CPU cores, no GPU.",
    ]
    for title, (script, note) in PARTS.items():
        if title in chosen:
            print(f"{title} …", flush=True)
            text = output(script)
            table = text if text.startswith("|") else f"```\n{text}\n```"
            sections[title] = f"{note} `python benchmarks/{script}`\n\n{table}"
        if title in sections:
            lines += ["", f"## {title}", "", sections[title]]
    DOCUMENT.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
