"""Reaches out of its box: other files, the network, the environment, its parent."""

from hostile.attack import EXERCISES, Attack, answered, breaking_cell, cheating, packed

EDITS = "edits gradebook.db; appends to nbgrader_config.py; writes ~/.ipython/startup"
READS = "reads environment secrets; opens the network; kills its parent"
SECRET = "environment-secret-5d20"  # a variable of the grader's environment
MARK = "owned-by-a-student"


def _honest(name, row, source, *hidden):
    """Right answers around an escape: full marks, and no effect outside."""
    return Attack(
        name,
        row,
        lambda given: packed(answered(given, {}, first=source)),
        full=EXERCISES,
        hidden=hidden,
    )


_WRITE = f"""\
import os, pathlib, sys, tlcourse
tops = [*pathlib.Path(tlcourse.__file__).parents, *map(pathlib.Path, COURSES)]
targets = [
    pathlib.Path.home() / ".ipython/profile_default/startup/00.py",
    pathlib.Path("/etc/passwd"),
    pathlib.Path("/root/.bashrc"),
    pathlib.Path(tlcourse.__file__),
    pathlib.Path(os.__file__),
    pathlib.Path(sys.executable),
]
for top in tops:
    targets += [top / "nbgrader_config.py", top / "classroom/gradebook.db"]
for target in targets:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "a") as file:
            file.write("# {MARK}\\n")
    except OSError:
        pass
"""
_SQL = """\
import sqlite3
for top in COURSES:
    try:
        base = sqlite3.connect(f"{top}/classroom/gradebook.db")
        base.execute("update grade set manual_score = 212")
        base.commit()
        print("gradebook-" + "edited")
    except sqlite3.Error:
        pass
"""
_ENVIRONMENT = """\
import glob, os
print(os.environ)
for path in glob.glob("/proc/*/environ"):
    try:
        print(open(path, "rb").read())
    except OSError:
        pass
"""
_NETWORK = """\
import pathlib, socket, urllib.request
for family, address in PLACES:
    try:
        with socket.socket(family) as connection:
            connection.settimeout(0.2)
            connection.connect(address)
            connection.sendall(b"hello")
            print("connected-" + "outside")
    except OSError:
        pass
"""
_KILL = """\
import os, signal
for pid in (os.getppid(), 1, -1):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            if pid not in (0, os.getpid()):
                os.kill(pid, number)
        except OSError:
            pass
"""
_TORCH = "raise SystemExit('owned')\n"
_SHADOW = """\
for name in ("torch", "numpy", "tlcourse", "json", "ipykernel", "sitecustomize"):
    open(name + ".py", "w").write("def __getattr__(name): return lambda *_, **__: 4.0")
import sys
sys.path.insert(0, ".")
"""
_PRIVILEGES = """\
import ctypes, os
libc = ctypes.CDLL(None)
for call in (
    lambda: libc.unshare(0x10000000),
    lambda: libc.mount(b"proc", b"/tmp", b"proc", 0, None),
    lambda: libc.ptrace(16, os.getppid(), None, None),
    lambda: os.setuid(0),
    lambda: os.chroot("/"),
    lambda: libc.umount2(b"/tmp", 2),
):
    try:
        if call() == 0:
            print("privilege-" + "gained")
    except OSError:
        pass
"""


def courses(outside):
    """The first cell's names: where the course lies, and what listens."""
    return f"COURSES = {outside['courses']!r}\nPLACES = {outside['places']!r}\n"


def attacks(outside):
    """Attacks that know more than a student could: the paths and ports outside."""
    known = courses(outside)
    return (
        _honest("writes-everywhere", EDITS, known + _WRITE, MARK),
        _honest("edits-the-gradebook", EDITS, known + _SQL, "gradebook-edited"),
        _honest("reads-the-environment", READS, _ENVIRONMENT, SECRET),
        _honest("opens-the-network", READS, known + _NETWORK, "connected-outside"),
        _honest("gains-privileges", READS, _PRIVILEGES, "privilege-gained"),
    )


ATTACKS = (
    breaking_cell("kills-its-parent", READS, _KILL, full=None),
    Attack(
        "shadows-torch-by-a-file",
        "shadows torch with torch.py",
        lambda given: packed(
            answered(given, {}),
            **{
                f"{name}.py": _TORCH.encode() for name in ("torch", "numpy", "tlcourse")
            },
        ),
        full=EXERCISES,
    ),
    cheating("shadows-torch-by-a-cell", "shadows torch with torch.py", _SHADOW),
)
