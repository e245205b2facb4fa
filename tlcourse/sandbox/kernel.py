"""The kernel's own process: shut in, given up all rights, then an ordinary ipykernel.

Two message types are added, by which forks of the kernel observe answers
(:mod:`tlcourse.exercises.observing`). What an answer prints, changes or breaks dies
with its fork.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
from collections.abc import Iterable
from typing import Any

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

from tlcourse.sandbox.shutting import CONNECTION_FILE, WORK, shut_in
from tlcourse.sandbox.waiting import Waiting, silence

_TORCH_SEED = 67280421310721  # what a new process of torch begins with
_ROUNDS = 3  # a process that is killed may just have started another


def run(request: dict[str, Any], isolated: bool, user: int | None) -> None:
    """Become a kernel; returns when it has been shut down."""
    os.setpgid(0, 0)
    if isolated:
        os.closerange(3, 4096)
        seal = shut_in(request, user)
        connection_file = CONNECTION_FILE
    else:
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        connection_file = request["connection_file"]
    _begin_anew(isolated)
    silence()  # only now: what fails before is told in the server's log
    app = IPKernelApp.instance(kernel_class=ObservingKernel, log_level=50)
    app.initialize(["-f", connection_file, "--HistoryManager.enabled=False"])
    if isolated:
        seal()
        # What is installed comes before what was handed in.
        sys.path[:] = [place for place in sys.path if place] + [WORK]
    app.start()


def _begin_anew(isolated: bool) -> None:
    """What a new process has of its own: random numbers, threads, a figure backend."""
    import matplotlib
    import numpy as np
    import torch

    random.seed()
    np.random.seed()
    torch.manual_seed(_TORCH_SEED)
    if not isolated:
        torch.set_num_threads(
            int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
        )
    backend = os.environ.get("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    os.environ["MPLBACKEND"] = matplotlib.rcParams["backend"] = backend


def _end_all_but(copies: Iterable[int]) -> None:
    """Kill the notebook's other processes: one could do an answer's work, unwatched."""
    if os.getpid() != 1:  # not isolated: the others are not the notebook's
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's would raise an error here
    kept = {1, *copies}
    for _ in range(_ROUNDS):
        for name in filter(str.isdigit, os.listdir("/proc")):
            if int(name) not in kept:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(name), signal.SIGKILL)


class ObservingKernel(IPythonKernel):
    """An ipykernel that also observes answers, in forks of itself.

    ``prepare_request`` forks: the copy keeps the moment and waits.
    ``observe_request`` gives a waiting copy its cases and returns what it saw. A grader
    sends it when the last cell has run and takes no output any more, so that nothing of
    a hidden case can be printed.
    """

    msg_types = [*IPythonKernel.msg_types, "prepare_request", "observe_request"]

    def __init__(self, **kwargs: Any) -> None:
        """No copy waits yet."""
        super().__init__(**kwargs)
        self._waiting: dict[str, Waiting] = {}

    def prepare_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Keep this moment for the exercise and the name that are asked about."""
        asked = parent["content"]
        reply = {"status": "ok"}
        try:
            waiting = Waiting(self.shell.user_ns, asked["exercise"], asked["name"])
            self._waiting[asked["exercise"]] = waiting
        except OSError as error:
            reply = {"status": "ended", "how": f"no process could be started ({error})"}
        self.session.send(stream, "prepare_reply", reply, parent, ident=ident)

    def observe_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Answer with what the waiting copy saw, or how it ended."""
        asked = parent["content"]
        waiting = self._waiting.pop(asked["exercise"], None)
        reply = {"status": "ended", "how": "not prepared"}
        if waiting is not None:
            _end_all_but(w.pid for w in (waiting, *self._waiting.values()))
            reply = waiting.observe(asked["cases"], asked["seconds"])
        self.session.send(stream, "observe_reply", reply, parent, ident=ident)
