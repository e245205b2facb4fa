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

_SHARED = """\
import mmap, time
block = mmap.mmap(-1, 3 * 2**30)
for place in range(0, 3 * 2**30, 4096):
    block[place] = 1
time.sleep(0.5)
"""
_MEMFD = """\
import os, time
for _ in range(80):
    os.write(os.memfd_create("x"), bytes(40_000_000))
"""
_SEGMENTS = """\
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
for _ in range(30):
    name = libc.shmget(0, ctypes.c_size_t(100_000_000), 0o1600)
    if name == -1:
        raise OSError("refused")
    place = libc.shmat(name, None, 0)
    ctypes.memset(place, 1, 100_000_000)
    libc.shmdt(ctypes.c_void_p(place))
"""
_PROGRAMS = """\
import subprocess, sys, time
code = "b = bytearray(120_000_000); b[::4096] = b[::4096]; import time; time.sleep(6)"
for _ in range(25):
    subprocess.Popen([sys.executable, "-S", "-c", code])
time.sleep(2.5)
"""
_NAMESPACE = """\
import ctypes
if ctypes.CDLL(None).unshare(0x10000000 | 0x20000000 | 0x20000):
    raise OSError("refused")
"""
_SOCKETS = """\
import os
os.makedirs("/box/run/d/e", exist_ok=True)
for i in range(20):
    with open(f"/box/run/d/e/{i}", "wb") as file:
        file.write(bytes(40_000_000))
"""
_NESTED = """\
import os
os.chdir("/box/run")
for _ in range(3_000):
    os.mkdir("d")
    os.chdir("d")
"""

ATTACKS = (
    breaking_cell("hides-memory-in-shared-mappings", ROW, _SHARED, *STOPPED),
    breaking_cell("hides-memory-in-memfd", ROW, _MEMFD, "failed"),
    breaking_cell("hides-memory-in-shared-segments", ROW, _SEGMENTS, "failed"),
    breaking_cell("hides-memory-in-programs", ROW, _PROGRAMS, *STOPPED, full=None),
    breaking_cell("makes-a-user-namespace", ROW, _NAMESPACE, "failed"),
    breaking_cell("fills-the-socket-folder", ROW, _SOCKETS, "failed"),
    breaking_cell("nests-folders-among-sockets", ROW, _NESTED, "failed"),
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
