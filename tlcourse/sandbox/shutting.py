"""A kernel's process shuts itself in: namespaces, mounts, limits, then no rights."""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlcourse.sandbox import syscalls as sc
from tlcourse.sandbox.filtering import refuse_calls
from tlcourse.sandbox.limits import ONE_THREAD
from tlcourse.sandbox.mounts import BOX, RUN

_MB = 2**20
WORK = f"{BOX}/work"
CONNECTION_FILE = f"{BOX}/connection.json"
_SOCKETS = f"{BOX}/run"  # on the host's disk, so that the grader reaches them
_STACKS_MB = 256  # the threads of ipykernel and ZMQ; what is resident is watched
_PRIVATE = sc.MS_NOSUID | sc.MS_NODEV


def shut_in(request: dict[str, Any], user: int | None) -> Callable[[], None]:
    """Own namespaces, mounts and limits; then no rights, for good.

    Args:
        request: see :meth:`tlcourse.sandbox.provisioner.WarmProvisioner.launch_kernel`.
        user: see :class:`tlcourse.sandbox.isolation.Isolation`.

    Returns:
        What to call when the sockets are there and before learner's code runs: then
        nothing can be written any more but memory.

    Raises:
        OSError: it is not permitted here.
    """
    limits = request["limits"]
    sc.unshare(sc.CLONE_NEWNS | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS)
    handed_in = sum(map(len, request["files"].values())) // _MB + 1
    _mount(request["folder"], limits["disk_mb"] + handed_in)
    _write_files(request)
    if user is not None:
        own = [
            BOX,
            CONNECTION_FILE,
            *(f"{BOX}/{name}" for name in ("home", "tmp", "shm")),
        ]
        for path in (*own, WORK, *Path(WORK).rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)
    os.chdir(WORK)
    _set_environment()
    seal = _prepare_seal()
    _set_limits(limits)
    _give_up_rights(user)
    refuse_calls()
    return seal


def _mount(folder: str, disk_mb: int) -> None:
    sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
    bounds = f"size={disk_mb}m,nr_inodes=50k,mode=755"
    sc.mount("tmpfs", BOX, "tmpfs", _PRIVATE, bounds)
    for name in ("work", "home", "tmp", "shm", "run"):
        os.mkdir(f"{BOX}/{name}")
    sc.mount(f"{RUN}/{folder}", _SOCKETS, None, sc.MS_BIND)
    sc.mount("tmpfs", RUN, "tmpfs", _PRIVATE | sc.MS_RDONLY, "size=4k")
    for place in _shown_below("/tmp"):  # Python itself, where it was installed there
        os.makedirs(f"{BOX}{place}")
        sc.mount(place, f"{BOX}{place}", None, sc.MS_BIND)
    sc.mount(f"{BOX}/tmp", "/tmp", None, sc.MS_BIND | sc.MS_REC)
    sc.mount(f"{BOX}/shm", "/dev/shm", None, sc.MS_BIND)
    sc.mount("proc", "/proc", "proc", _PRIVATE | sc.MS_NOEXEC)


def _shown_below(folder: str) -> list[str]:
    """The mounts below a folder, outermost first."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    places = (line.split()[4].replace("\\040", " ") for line in mounts)
    return sorted(place for place in places if place.startswith(f"{folder}/"))


def _prepare_seal() -> Callable[[], None]:
    """Fork one that keeps its rights, to make the folder of sockets read-only.

    It has ended before any code of a learner runs.
    """
    told, telling = os.pipe()
    helper = os.fork()
    if helper == 0:
        status = 1
        try:
            os.close(telling)
            os.read(told, 1)
            # In a user namespace Linux lets no flag go that the mount has already.
            kept = os.statvfs(_SOCKETS).f_flag & (_PRIVATE | sc.MS_NOEXEC)
            flags = sc.MS_REMOUNT | sc.MS_BIND | sc.MS_RDONLY | kept
            sc.mount(None, _SOCKETS, None, flags)
            status = 0
        finally:
            os._exit(status)
    os.close(told)

    def seal() -> None:
        os.close(telling)
        if os.waitpid(helper, 0)[1] != 0:
            raise OSError("the folder of sockets could not be made read-only")

    return seal


def _give_up_rights(user: int | None) -> None:
    sc.set_no_new_privs()
    sc.drop_bounding_set()
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    sc.drop_capabilities()
    sc.die_with_parent(signal.SIGKILL)


def _write_files(request: dict[str, Any]) -> None:
    connection = {**request["connection"], "ip": f"{_SOCKETS}/s"}
    Path(CONNECTION_FILE).write_text(json.dumps(connection))
    work = Path(WORK)
    for name, data in request["files"].items():
        path = (work / name).resolve()
        if not path.is_relative_to(work):
            raise ValueError(f"{name!r} leads out of the working folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data))


def _set_environment() -> None:
    places = [f"{sys.prefix}/bin", "/usr/local/bin", "/usr/bin", "/bin"]
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
        **ONE_THREAD,
    )


def _set_limits(limits: dict[str, Any]) -> None:
    """Hard limits of one process; the warden counts what they use together."""
    data = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmData")
    )
    for what, most in {
        resource.RLIMIT_DATA: data + (limits["memory_mb"] + _STACKS_MB) * _MB,
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_FSIZE: limits["disk_mb"] * _MB,
        resource.RLIMIT_CPU: int(limits["total_seconds"] * 2) + 10,
        resource.RLIMIT_NOFILE: 1024,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }.items():
        resource.setrlimit(what, (most, most))
