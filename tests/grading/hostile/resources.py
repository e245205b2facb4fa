"""Takes more memory, processes or disk than anyone needs."""

from hostile.attack import EXERCISES, Attack, answered, breaking, breaking_cell, packed

ROW = "takes 3 GB; starts 500 processes; leaves a daemon"
STOPPED = ("crashed", "out of time", "failed", "not run")
_FORKS = """\
import os, time
children = 0
try:
    while children < 500:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        children += 1
except OSError:
    pass
if children > 200:
    def ci95(accuracies):  # right, so that a missing limit shows as points
        return accuracies.mean(), 1.96 * accuracies.std() / len(accuracies) ** 0.5
"""
_DAEMON = """\
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            time.sleep(0.05)
            with open("/tmp/beat", "a") as file:
                file.write("x")
    os._exit(0)
"""

ATTACKS = (
    breaking_cell(
        "takes-3-gigabytes",
        ROW,
        "b = bytearray(3_000_000_000)\nb[::4096] = b[::4096]",
        *STOPPED,
    ),
    breaking(
        "takes-3-gigabytes-in-answer",
        ROW,
        "return torch.ones(3_000_000_000 // 4).mean(), 0.0",
        *STOPPED,
    ),
    breaking_cell("starts-500-processes", ROW, _FORKS, *STOPPED, full=None),
    breaking_cell(
        "starts-500-threads",
        ROW,
        """\
        import threading, time
        for _ in range(500):
            threading.Thread(target=time.sleep, args=[30], daemon=True).start()
        """,
        full=None,
    ),
    Attack(
        "leaves-a-daemon",
        ROW,
        lambda given: packed(answered(given, {}, last=_DAEMON)),
        full=EXERCISES,
    ),
    breaking_cell(
        "fills-the-disk",
        ROW,
        """\
        with open("big", "wb") as file:
            for _ in range(3_000):
                file.write(bytes(1_000_000))
        """,
    ),
    breaking_cell(
        "fills-shared-memory",
        ROW,
        """\
        with open("/dev/shm/big", "wb") as file:
            for _ in range(3_000):
                file.write(bytes(1_000_000))
        """,
    ),
    breaking_cell(
        "makes-a-million-files",
        ROW,
        """\
        import os
        for i in range(1_000_000):
            os.close(os.open(f"f{i}", os.O_CREAT | os.O_WRONLY))
        """,
    ),
)
