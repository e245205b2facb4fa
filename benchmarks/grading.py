"""``tlcourse grade``, sandbox on, beside stock ``nbgrader autograde``, in one run.

The same generated class of honest submissions of a torch assignment is graded by
both. ``python benchmarks/grading.py --students 1000`` is the full form. Run it on a
computer with two free cores.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
from usage import Usage, compile_once, run

from classroom import ASSIGNMENT, compare, make_class, make_course

CLASS = 10_000  # the class that costs are extrapolated to
TARGET_RATIO, TARGET_SPEEDUP = 8, 1.7


@dataclass(frozen=True)
class Moment:
    """What was seen when a number of results were there."""

    done: int
    cpu: float  # seconds since the start, of all processes
    grader: float  # resident MiB of the command itself
    worker: float  # and of its largest worker


@dataclass(frozen=True)
class Graded:
    """One run of ``tlcourse grade``."""

    usage: Usage
    rate: float  # submissions per second, from the first result to the last
    moments: list[Moment]
    wrong: list[str]

    @property
    def cpu_each(self) -> float:
        """CPU seconds of one submission more."""
        first, *_, last = self.moments
        return (last.cpu - first.cpu) / (last.done - first.done)


def new_course(folder: Path, students: int) -> Path:
    """A course with a released assignment and a class that has handed in."""
    make_course(folder)
    make_class(folder, ASSIGNMENT, students, hostile=0)
    nbgrader = [sys.executable, "-m", "nbgrader"]
    run([*nbgrader, "generate_assignment", ASSIGNMENT], folder)
    return folder


def stock(folder: Path) -> Usage:
    """What ``nbgrader autograde`` takes."""
    command = [sys.executable, "-m", "nbgrader", "autograde", ASSIGNMENT]
    return run(command, folder)


def ours(folder: Path, workers: int) -> Graded:
    """What ``tlcourse grade`` takes, and its memory by results so far."""
    results = folder / "classroom" / "reports" / ASSIGNMENT / "results"
    moments: list[Moment] = []

    def look(pid: int, cpu: float) -> None:
        done = len(list(results.glob("*.json"))) if results.is_dir() else 0
        if done and not (moments and moments[-1].done == done):
            with contextlib.suppress(psutil.Error):
                grader = psutil.Process(pid)
                sizes = [child.memory_info().rss for child in grader.children()]
                mib = grader.memory_info().rss / 2**20, max(sizes, default=0) / 2**20
                moments.append(Moment(done, cpu, *mib))

    command = [sys.executable, "-m", "tlcourse", "grade", ASSIGNMENT]
    usage = run([*command, "--workers", str(workers)], folder, look)
    times = sorted(path.stat().st_mtime for path in results.glob("*.json"))
    rate = (len(times) - 1) / (times[-1] - times[0])
    return Graded(usage, rate, moments, list(compare(folder, ASSIGNMENT)))


def side_by_side(one: Graded, students: int, beside: Usage, few: int) -> None:
    """Print both, and the ratio of submissions per CPU-core-second."""
    print("| one worker | submissions | wall seconds each | CPU seconds each |")
    print("|---|---|---|---|")
    rows = ("nbgrader autograde", beside, few), ("tlcourse grade", one.usage, students)
    for name, usage, count in rows:
        each = f"{usage.seconds / count:.2f} | {usage.cpu / count:.2f}"
        print(f"| {name} | {count} | {each} |")
    print(f"| tlcourse grade, one more | | {1 / one.rate:.2f} | {one.cpu_each:.2f} |")
    ratio = (beside.cpu / few) / (one.usage.cpu / students)
    print(f"\nSubmissions per CPU-core-second: {ratio:.1f} times stock ", end="")
    print(f"(wanted: {TARGET_RATIO}), starting and report included; ", end="")
    print(f"{beside.cpu / few / one.cpu_each:.1f} times without.", end=" ")
    how = "its control group" if one.usage.exact else "all that this computer did"
    print(f"CPU time is that of {how}.\n")


def workers_table(one: Graded, two: Graded) -> None:
    """Print the rate of one and two workers, and the speed-up."""
    print("| workers | submissions per minute |\n|---|---|")
    for count, graded in ((1, one), (2, two)):
        print(f"| {count} | {60 * graded.rate:.0f} |")
    ratio = two.rate / one.rate
    print(f"\nTwo workers: {ratio:.2f} times one (wanted: {TARGET_SPEEDUP}).\n")


def memory_table(graded: Graded, students: int) -> None:
    """Print resident memory at some numbers of results."""
    print("| results so far | grader (MiB) | largest worker (MiB) |\n|---|---|---|")
    for part in (0.1, 0.25, 0.5, 0.75, 1):
        seen = [m for m in graded.moments if m.done <= max(1, part * students)]
        if seen:
            last = seen[-1]
            print(f"| {last.done} | {last.grader:.0f} | {last.worker:.0f} |")
    print()


def cost_table(two: Graded, beside: Usage, few: int) -> None:
    """Print what a large class would take."""
    print(f"| {CLASS:,} submissions would take | hours | core hours |\n|---|---|---|")
    scale = CLASS / 3600
    alone = f"{scale * beside.seconds / few:.1f} | {scale * beside.cpu / few:.1f}"
    print(f"| nbgrader autograde | {alone} |")
    hours, cores = scale / two.rate, scale * two.cpu_each
    print(f"| tlcourse grade, two workers | {hours:.1f} | {cores:.1f} |")


def main() -> None:
    """Measure and print; exit 1 if a grade is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--students", type=int, default=100)
    parser.add_argument("--stock", type=int, default=8, help="graded by nbgrader too")
    given = parser.parse_args()
    compile_once()
    with tempfile.TemporaryDirectory(prefix="grading-") as name:
        folder = Path(name)
        beside = stock(new_course(folder / "stock", given.stock))
        one = ours(new_course(folder / "one", given.students), 1)
        two = ours(new_course(folder / "two", given.students), 2)
    side_by_side(one, given.students, beside, given.stock)
    workers_table(one, two)
    memory_table(two, given.students)
    cost_table(two, beside, given.stock)
    if wrong := one.wrong + two.wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
