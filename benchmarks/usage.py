"""What a command used: wall time, and the CPU time of all processes it started."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.2
ENVIRONMENT = {
    **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "TLCOURSE_THREADS": "1",
}
_TO_GROUP = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@dataclass(frozen=True)
class Usage:
    """What a command used.

    Args:
        seconds: wall time.
        cpu: seconds of one core, user and system, of all its processes.
        exact: counted by a control group; else it is all that the computer did
            meanwhile, and right where nothing else ran.
    """

    seconds: float
    cpu: float
    exact: bool


def compile_once() -> None:
    """Write the byte code that every installation has after its first day."""
    from tlcourse.sandbox.forkserver import SLOW

    code = "import importlib, sys; [importlib.import_module(n) for n in sys.argv[1:]]"
    command = [sys.executable, "-Xfrozen_modules=off", "-c", code, *SLOW]
    subprocess.run(command, env=ENVIRONMENT, check=True)


def run(
    command: Sequence[str],
    folder: Path,
    look: Callable[[int, float], None] = lambda pid, cpu: None,
) -> Usage:
    """Run a command to its end.

    ``look`` is called now and then with its pid and the CPU seconds used so far.

    Raises:
        RuntimeError: it failed; the message ends with its last words.
    """
    with _group() as group, (folder / "command.log").open("w+b") as log:
        line = ["/bin/sh", "-c", _TO_GROUP, str(group), *command] if group else command
        before, start = _cpu(group), time.perf_counter()
        process = subprocess.Popen(
            line, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT
        )
        while True:
            try:
                code = process.wait(LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                look(process.pid, _cpu(group) - before)
        seconds, cpu = time.perf_counter() - start, _cpu(group) - before
        log.seek(0)
        words = log.read().decode(errors="replace")[-2_000:]
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{words}")
    return Usage(seconds, cpu, group is not None)


def _cpu(group: Path | None) -> float:
    if group is not None:
        first = (group / "cpu.stat").read_text().split("\n")[0]  # usage_usec N
        return int(first.split()[1]) / 1e6
    user, nice, system, _, _, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _group() -> Iterator[Path | None]:
    """A new control group where this user may make one, else ``None``."""
    try:
        group = _own_group() / f"benchmark-{os.getpid()}-{time.time_ns()}"
        group.mkdir()
    except (OSError, StopIteration):
        yield None
        return
    try:
        yield group
    finally:
        until = time.monotonic() + 10
        while (group / "cgroup.procs").read_text() and time.monotonic() < until:
            time.sleep(0.05)
        group.rmdir()  # fails if something of the command still runs


def _own_group() -> Path:
    """This process's control group of version 2."""
    mounts = map(str.split, Path("/proc/self/mountinfo").read_text().splitlines())
    place = next(m[4] for m in mounts if m[m.index("-") + 1] == "cgroup2")
    groups = Path("/proc/self/cgroup").read_text().splitlines()
    return Path(place, next(g for g in groups if g.startswith("0::"))[3:].lstrip("/"))
