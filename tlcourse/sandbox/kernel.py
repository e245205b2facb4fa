"""The kernel's own process: shut in, given up all rights, then an ordinary ipykernel.

Two message types are added, by which forks of the kernel observe answers
(:mod:`tlcourse.exercises.observing`). What an answer prints, changes or breaks dies
with its fork.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import os
import random
import resource
import select
import signal
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

from tlcourse.sandbox import syscalls as sc
from tlcourse.sandbox.mounts import BOX, RUN

WORK = f"{BOX}/work"
_HEADER = struct.Struct("!Q")  # the length of what follows in a pipe
_TORCH_SEED = 67280421310721  # what a new process of torch begins with
_STACKS_MB = 256  # the threads of ipykernel and ZMQ; what is resident is watched
_MARGIN = 5.0  # seconds for a fork to begin and to end, beside a probe's own


def run(request: dict[str, Any], isolated: bool, user: int | None) -> None:
    """Become a kernel; returns when it has been shut down."""
    os.setpgid(0, 0)
    if isolated:
        os.closerange(3, 4096)
        _shut_in(request, user)
        connection_file = f"{BOX}/run/connection.json"
    else:
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        connection_file = request["connection_file"]
    _begin_anew(isolated)
    _silence()  # only now: what fails before is told in the server's log
    app = IPKernelApp.instance(kernel_class=ObservingKernel, log_level=50)
    arguments = ["-f", connection_file, "--HistoryManager.enabled=False"]
    app.initialize(arguments)
    if isolated:  # what is installed comes before what was handed in
        sys.path[:] = [place for place in sys.path if place] + [WORK]
    app.start()


def _silence() -> None:
    """Standard input, output and errors lead nowhere; ipykernel makes its own."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    if nowhere > 2:
        os.close(nowhere)


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


def _shut_in(request: dict[str, Any], user: int | None) -> None:
    """Own namespaces, mounts and limits; then no rights, for good."""
    limits = request["limits"]
    sc.unshare(sc.CLONE_NEWNS | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS)
    private = sc.MS_NOSUID | sc.MS_NODEV
    sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
    sc.mount(
        "tmpfs",
        BOX,
        "tmpfs",
        private,
        f"size={limits['disk_mb']}m,nr_inodes=50k,mode=755",
    )
    for name in ("work", "home", "tmp", "shm", "run"):
        os.mkdir(f"{BOX}/{name}")
    sc.mount(f"{RUN}/{request['folder']}", f"{BOX}/run", None, sc.MS_BIND)
    sc.mount("tmpfs", RUN, "tmpfs", private | sc.MS_RDONLY, "size=4k")
    sc.mount(f"{BOX}/tmp", "/tmp", None, sc.MS_BIND)
    sc.mount(f"{BOX}/shm", "/dev/shm", None, sc.MS_BIND)
    sc.mount("proc", "/proc", "proc", private | sc.MS_NOEXEC)
    _write_files(request)
    if user is not None:
        for path in (BOX, *(str(path) for path in Path(BOX).rglob("*"))):
            if not path.startswith(f"{BOX}/run"):
                os.chown(path, user, user, follow_symlinks=False)
    os.chdir(WORK)
    _set_environment()
    _set_limits(limits)
    sc.set_no_new_privs()
    sc.drop_bounding_set()
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    sc.drop_capabilities()
    sc.die_with_parent(signal.SIGKILL)


def _write_files(request: dict[str, Any]) -> None:
    connection = {**request["connection"], "ip": f"{BOX}/run/s"}
    Path(BOX, "run", "connection.json").write_text(json.dumps(connection))
    Path(BOX, "run", "connection.json").chmod(0o666)
    work = Path(WORK)
    for name, data in request["files"].items():
        path = (work / name).resolve()
        if not path.is_relative_to(work):
            raise ValueError(f"{name!r} leads out of the working folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data))


def _set_environment() -> None:
    places = [f"{sys.prefix}/bin", "/usr/local/bin", "/usr/bin", "/bin"]
    one = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
    )
    os.environ.clear()
    os.environ.update(
        PATH=":".join(places),
        HOME=f"{BOX}/home",
        USER="student",
        LOGNAME="student",
        TMPDIR="/tmp",
        LANG="C.UTF-8",
        TLCOURSE_HOME=f"{BOX}/home",
        TLCOURSE_THREADS="1",
        TLCOURSE_DEVICE="cpu",
        HF_HUB_OFFLINE="1",
        NBGRADER_EXECUTION="autograde",
        **one,
    )


def _set_limits(limits: dict[str, Any]) -> None:
    """Hard limits of one process; the warden counts what they use together."""
    mb = 2**20
    data = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmData")
    )
    for what, most in {
        resource.RLIMIT_DATA: data + (limits["memory_mb"] + _STACKS_MB) * mb,
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_FSIZE: limits["disk_mb"] * mb,
        resource.RLIMIT_CPU: int(limits["total_seconds"] * 2) + 10,
        resource.RLIMIT_NOFILE: 1024,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }.items():
        resource.setrlimit(what, (most, most))


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
            reply = waiting.observe(asked["cases"], asked["seconds"])
        self.session.send(stream, "observe_reply", reply, parent, ident=ident)


class Waiting:
    """A copy of this process that waits for cases to observe an answer on.

    Args:
        names: the variables of the notebook.
        exercise: the exercise's id.
        name: the variable that holds the answer.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, names: dict[str, Any], exercise: str, name: str) -> None:
        """Fork."""
        from tlcourse.exercises.catalog import get_probe

        probe = get_probe(exercise)
        cases, self._cases = os.pipe()
        self._seen, seen = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _observe(probe, names, name, cases, seen)
        os.close(cases)
        os.close(seen)

    def observe(self, cases: str, seconds: float) -> dict[str, str]:
        """What the copy saw within ``seconds``, or how it ended."""
        asked = json.dumps({"cases": cases, "seconds": seconds})
        with contextlib.suppress(BrokenPipeError), os.fdopen(self._cases, "wb") as pipe:
            pipe.write(_framed(asked))
        text, late = self._read(time.monotonic() + seconds + _MARGIN)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        try:
            status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        except ChildProcessError:  # the notebook has waited for it
            status = -signal.SIGKILL
        if text:
            return {"status": "ok", "run": text}
        how = f"signal {-status}" if status < 0 else f"exit {status}"
        return {"status": "ended", "how": "out of time" if late else how}

    def _read(self, until: float) -> tuple[str, bool]:
        """The copy's answer, or nothing; and whether the time was up."""
        from tlcourse.exercises.wire import MAX_CHARACTERS

        data, wanted = bytearray(), _HEADER.size
        end = os.pidfd_open(self._pid)
        try:
            while (left := until - time.monotonic()) > 0:
                ready = select.select([self._seen, end], [], [], left)[0]
                if self._seen not in ready:
                    return "", not ready
                data += (part := os.read(self._seen, 2**16))
                if len(data) >= _HEADER.size:
                    wanted = _HEADER.size + _HEADER.unpack_from(data)[0]
                if not part or wanted > MAX_CHARACTERS + _HEADER.size:
                    return "", False
                if len(data) >= wanted:
                    text = bytes(data[_HEADER.size : wanted])
                    return text.decode("ascii", "replace"), False
            return "", True
        finally:
            os.close(end)
            os.close(self._seen)


def _framed(text: str) -> bytes:
    """With its length in front: an end of the pipe may have leaked to a daemon."""
    data = text.encode("ascii")
    return _HEADER.pack(len(data)) + data


def _observe(probe: Any, names: Any, name: str, cases: int, seen: int) -> None:
    """In the fork: never returns."""
    from tlcourse.exercises import wire
    from tlcourse.exercises.observing import observe

    status = 70
    try:
        gc.disable()  # what the kernel owns is not the fork's to tidy up
        _close_all_but(cases, seen)  # other ends of these pipes would keep them open
        _silence()
        with os.fdopen(cases, "rb") as pipe:
            asked = json.loads(pipe.read(_HEADER.unpack(pipe.read(_HEADER.size))[0]))
        candidate = names.get(name, wire.MISSING)
        limits = replace(probe.limits, seconds=asked["seconds"])
        probe = replace(probe, limits=limits)
        given = wire.decode_cases(asked["cases"])
        run = observe(probe, candidate, given, guarded=True)
        with os.fdopen(seen, "wb") as pipe:
            pipe.write(_framed(wire.encode_run(run)))
        status = 0
    finally:
        os._exit(status)


def _close_all_but(*kept: int) -> None:
    start = 0
    for descriptor in (*sorted(kept), 4096):
        os.closerange(start, descriptor)
        start = descriptor + 1
