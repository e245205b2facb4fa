"""The fork server's program: load what is slow to load, then fork on request.

Run as ``python -m tlcourse.sandbox.forkserver FD PLAN``; the plan is JSON:
``isolated``, ``user`` (see :class:`tlcourse.sandbox.isolation.Isolation`), and the
``exercises`` and ``modules`` to load. Before it forks, it has one thread, no ZMQ
context, no event loop and no CUDA: a fork copies only the thread that forks, and what
others hold stays locked in the copy for ever.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import socket
import sys
from collections.abc import Iterable

# What every kernel of the course needs.
SLOW = (
    "torch",
    "numpy",
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
# What some notebooks import; a fork takes the longer, the more is loaded. Scikit-learn
# is none of them: where pyarrow is installed, it starts a thread.
AT_WISH = {"torchvision": "torchvision", "scipy": "scipy.stats"}


def main() -> None:
    """Say that all is loaded, then fork a warden for each connection handed over."""
    control, plan = socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2])
    isolated = plan["isolated"]
    if isolated:
        sys.modules["debugpy"] = None  # half of a kernel's start, and of no use here
    _load(SLOW)
    _load(AT_WISH[name] for name in plan["modules"] if name in AT_WISH)
    importlib.import_module("matplotlib.backends").backend_registry.list_all()
    if isolated:
        _load_probes(plan["exercises"])
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
            keep(connection, isolated, plan["user"])
            os._exit(0)
        connection.close()


def _reap() -> None:
    """Take leave of wardens that have ended, so that their times are counted."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _load(names: Iterable[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"not loaded: {name} ({error})", file=sys.stderr)


def _load_probes(exercises: list[str]) -> None:
    """Before any learner's code runs, so that nothing of theirs can stand in.

    Each probe is used once, too: what it looks up then is known in every fork.
    """
    from tlcourse.exercises import wire
    from tlcourse.exercises.catalog import get_probe
    from tlcourse.exercises.observing import observe

    for probe in map(get_probe, exercises):
        run = observe(probe, wire.MISSING, probe.make(0), guarded=True)
        wire.encode_run(run)


if __name__ == "__main__":
    main()
