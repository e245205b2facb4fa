"""Milliseconds that a check takes, after the first one, for every exercise.

``python benchmarks/check_latency.py`` checks each exercise's reference-free answer,
the one printed in ``solutions/``, and prints the median of several checks.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

RUNS = 7
PROMISE = 300  # milliseconds; exercises that train a small program are exempt

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def main() -> None:
    """Print the table; exit 1 if a check is slower than the promise."""
    import torch
    from solution_answers import printed_answer

    import tlcourse
    from tlcourse.exercises import all_exercises

    torch.set_num_threads(1)
    slow = []
    print("| exercise | kind | check (ms) |\n|---|---|---|")
    for exercise in all_exercises():
        answer = printed_answer(exercise.id)
        times = []
        for _ in range(RUNS + 1):
            start = time.perf_counter()
            report = tlcourse.check(exercise.id, answer)
            times.append(1000 * (time.perf_counter() - start))
        assert report.score == 1
        median = statistics.median(times[1:])
        print(f"| {exercise.id} | {exercise.kind} | {median:.0f} |")
        if median > PROMISE and exercise.kind != "program":
            slow.append(exercise.id)
    sys.exit(f"slower than {PROMISE} ms: {slow}" if slow else 0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["TLCOURSE_HOME"] = home
        main()
