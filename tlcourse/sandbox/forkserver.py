"""The fork server's program: load what is slow to load, then fork on request.

Run as ``python -m tlcourse.sandbox.forkserver FD [--isolated USER EXERCISES]``. Before
it forks, it has one thread, no ZMQ context, no event loop and no CUDA: a fork copies
only the thread that forks, and what others hold stays locked in the copy for ever.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import socket
import sys

# What notebooks of the course import. A package that is not installed is left out,
# and so is scikit-learn: where pyarrow is installed, it starts a thread.
SLOW = (
    "torch",
    "torchvision",
    "numpy",
    "scipy.stats",
    "matplotlib.pyplot",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.debugger",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "tornado.platform.asyncio",
    "IPython.extensions.storemagic",
    "tqdm.auto",
)


def main() -> None:
    """Say that all is loaded, then fork a warden for each connection handed over."""
    isolated = "--isolated" in sys.argv
    user = int(sys.argv[3]) if isolated and sys.argv[3] else None
    control = socket.socket(fileno=int(sys.argv[1]))
    if isolated:
        sys.modules["debugpy"] = None  # half of a kernel's start, and of no use here
    _load(SLOW)
    importlib.import_module("matplotlib.backends").backend_registry.list_all()
    if isolated:
        _load_probes(sys.argv[4:])
    # Imported here: the kernel's modules must come after SLOW, which they use.
    from tlcourse.sandbox.warden import keep

    if (threads := len(os.listdir("/proc/self/task"))) != 1:
        sys.exit(f"expected one thread before forking, got {threads}.")
    gc.collect()
    gc.freeze()  # else the first collection in a child copies every page
    control.sendall(b"r")
    while True:
        message, descriptors, *_ = socket.recv_fds(control, 1, 1)
        _reap()
        if not message:
            return
        connection = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            control.close()
            keep(connection, isolated, user)
            os._exit(0)
        connection.close()


def _reap() -> None:
    """Take leave of wardens that have ended, so that their times are counted."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _load(names: tuple[str, ...]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"not loaded: {name} ({error})", file=sys.stderr)


def _load_probes(exercises: list[str]) -> None:
    """Before any learner's code runs, so that nothing of theirs can stand in."""
    from tlcourse.exercises import observing, wire  # noqa: F401
    from tlcourse.exercises.catalog import get_probe

    for exercise in exercises:
        get_probe(exercise)


if __name__ == "__main__":
    main()
