"""An ordinary kernel beside a warm one: alone, and under the notebooks by nbval.

``--lessons`` adds the lessons, which mostly train: there a warm start saves little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from usage import ENVIRONMENT, compile_once

ROOT = Path(__file__).resolve().parents[1]
ORDINARY = "python3"
FORMS = {
    "exercises": ("chapters/*/exercises.ipynb", "solutions/*/exercises.ipynb"),
    "lessons": ("chapters/*/lesson.ipynb",),
}
TARGET = 2


def one_kernel(name: str, runs: int) -> tuple[float, float]:
    """Seconds of start, ``import torch`` and stop: the first, the rest's median."""
    from jupyter_client.manager import start_new_kernel

    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        manager, client = start_new_kernel(kernel_name=name)
        client.execute_interactive("import torch", timeout=120)
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        times.append(time.perf_counter() - start)
    return times[0], statistics.median(times[1:])


def notebooks(name: str, paths: list[Path]) -> float:
    """Seconds of one pytest process that runs the notebooks by nbval."""
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
    command += ["--nbval-lax", "--nbval-kernel-name", name, *map(str, paths)]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-2_000:] + done.stderr[-2_000:])
    return time.perf_counter() - start


def main() -> None:
    """Print both tables."""
    from tlcourse.sandbox.kernelspec import NAME, write_kernelspec

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lessons", action="store_true", help="the lessons too")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--chapter", default="*", help="such as 02_losses")
    given = parser.parse_args()
    compile_once()
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="kernels-") as folder:
        write_kernelspec(Path(folder, "kernels"))
        os.environ["JUPYTER_PATH"] = folder
        print("| start + `import torch` + stop | first (s) | then, median (s) |")
        print("|---|---|---|")
        for what, name in (("an ordinary kernel", ORDINARY), ("a warm one", NAME)):
            first, then = one_kernel(name, given.runs)
            print(f"| {what} | {first:.2f} | {then:.2f} |")
        print(
            "\n| by nbval, one process | notebooks | ordinary (s) | warm (s) | ratio |"
        )
        print("|---|---|---|---|---|")
        for form in FORMS if given.lessons else ["exercises"]:
            patterns = [p.replace("*", given.chapter, 1) for p in FORMS[form]]
            paths = sorted(path for p in patterns for path in ROOT.glob(p))
            ordinary, warm = notebooks(ORDINARY, paths), notebooks(NAME, paths)
            row = f"| {form} | {len(paths)} | {ordinary:.0f} | {warm:.0f}"
            print(f"{row} | {ordinary / warm:.1f} (wanted: {TARGET}) |")


if __name__ == "__main__":
    main()
