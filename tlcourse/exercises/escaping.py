"""Ways out of being watched, and whether it is the learner's code that takes one.

Libraries may start threads and programs, and load shared libraries (a progress bar
does the first, scikit-learn the others). So a way out counts only where the nearest
code that is not Python's own is the learner's.
"""

from __future__ import annotations

import importlib
import sysconfig
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

# The name that a learner is told, and what it stands for where Python has it.
_WAYS_OUT = {
    "sys.setprofile": (
        "sys.setprofile",
        "sys.getprofile",
        "sys._setprofileallthreads",
        "threading.setprofile",
        "threading.setprofile_all_threads",
    ),
    "sys.settrace": (
        "sys.settrace",
        "sys._settraceallthreads",
        "threading.settrace",
        "threading.settrace_all_threads",
    ),
    "sys.monitoring": (
        "sys.monitoring.free_tool_id",
        "sys.monitoring.register_callback",
        "sys.monitoring.set_events",
        "sys.monitoring.set_local_events",
    ),
    "subprocess": (
        "_posixsubprocess.fork_exec",
        "_winapi.CreateProcess",
        "os.execv",
        "os.execve",
        "os.posix_spawn",
        "os.posix_spawnp",
        "os.system",
    ),
    "ctypes": (
        "ctypes.CDLL.__getattr__",
        "ctypes.CDLL.__getitem__",
        "ctypes.CDLL.__init__",
    ),
    # threading.Thread carries the watch along, so only its foundation is a way out.
    "_thread.start_new_thread": (
        "_thread.start_new",
        "_thread.start_new_thread",
        "_thread.start_joinable_thread",
    ),
}
ESCAPES = frozenset(_WAYS_OUT)

_PATHS = sysconfig.get_paths()
_PACKAGES = (_PATHS["purelib"], _PATHS["platlib"], str(Path(__file__).parents[1]))
_PYTHONS_OWN = (_PATHS["stdlib"], _PATHS["platstdlib"], "<frozen ")
_STARTER = threading.Thread.start.__code__


@lru_cache(maxsize=1)
def ways_out() -> tuple[dict[int, str], dict[int, str]]:
    """Names by the identity of code objects, and by that of built-in functions."""
    codes: dict[int, str] = {}
    builtins: dict[int, str] = {}
    for name, thing in _existing():
        code = getattr(thing, "__code__", None)
        if code is None:
            builtins[id(thing)] = name
        else:
            codes[id(code)] = name
    return codes, builtins


def _existing() -> Iterator[tuple[str, Any]]:
    for name, ways in _WAYS_OUT.items():
        for way in ways:
            module, *inside = way.split(".")
            try:
                thing: Any = importlib.import_module(module)
            except ImportError:  # another system's
                continue
            for part in inside:
                thing = getattr(thing, part, None)
            if thing is not None:
                yield name, thing


def takes_way_out(name: str, frame: FrameType | None) -> bool:
    """Whether the learner's code does what ``name`` says.

    Args:
        name: one of :data:`ESCAPES`.
        frame: what calls the way out.
    """
    if name == "_thread.start_new_thread" and frame and frame.f_code is _STARTER:
        return False
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGES):
            return False
        if not file.startswith(_PYTHONS_OWN):
            return True
        frame = frame.f_back
    return False
