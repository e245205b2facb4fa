"""Seconds that ``import tlcourse`` takes in a fresh Python, and Python alone."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 11
LIMIT = 0.15


def seconds(code: str) -> float:
    """Median wall time of ``python -c code``."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print the table; exit 1 if the import is too slow."""
    alone, both = seconds("pass"), seconds("import tlcourse")
    print("| what | seconds, median of", RUNS, "|")
    print("|---|---|")
    print(f"| python | {alone:.3f} |")
    print(f"| import tlcourse | {both - alone:.3f} |")
    sys.exit(both - alone > LIMIT)


if __name__ == "__main__":
    main()
