"""The warden of one kernel: starts it in its own namespaces, watches it, ends it.

A trusted process. It reads one request (a line of JSON) from its connection, then
signal numbers, one a line. It answers once, when the kernel has ended:
``{"ending": "exit 1", "status": 1}``. The connection's end is the kernel's end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time

from tlcourse.sandbox import kernel
from tlcourse.sandbox import syscalls as sc
from tlcourse.sandbox.limits import Limits

LOOK_SECONDS = 0.05  # how often a kernel's use of memory and processes is looked at
LOOK_CLOSER_SECONDS = 0.5  # the exact look takes milliseconds for each process
_MB = 2**20
_UNBACKED = (b"Pss_Anon:", b"Pss_Shmem:")  # memory that is no file's on a disk


def keep(connection: socket.socket, isolated: bool, user: int | None) -> None:
    """Serve one kernel from its start to its end."""
    os.setsid()
    reader = connection.makefile("rb")
    try:
        request = json.loads(reader.readline())
    except ValueError:  # whoever asked is gone
        return
    watch = Watch(Limits(**request["limits"])) if isolated else None
    if isolated:
        sc.unshare(sc.CLONE_NEWPID)  # for the child: it becomes process number 1
    pid = os.fork()
    if pid == 0:
        connection.close()
        kernel.run(request, isolated, user)
        os._exit(0)
    ending, status = _attend(connection, pid, watch)
    with contextlib.suppress(OSError):
        answer = {"ending": ending, "status": status}
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _attend(
    connection: socket.socket, pid: int, watch: Watch | None
) -> tuple[str, int]:
    """Pass signals on and look after limits until the kernel has ended."""
    why, rest = "", b""
    connection.setblocking(False)
    handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    listened = [connection] if handle is None else [connection, handle]
    while True:
        ready = select.select(listened, [], [], LOOK_SECONDS)[0]
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return why or _ending(status), os.waitstatus_to_exitcode(status)
        if connection in ready:
            data = _receive(connection)
            *lines, rest = (rest + data).split(b"\n")
            for number in map(int, lines) if data else [signal.SIGKILL]:
                if number == signal.SIGKILL:
                    why = why or "killed"
                _signal(pid, number)
            if not data:
                listened = listened[1:]
        if watch is not None and not why:
            why = watch.look(pid)
            if why:
                _signal(pid, signal.SIGKILL)


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except OSError:
        return b""


def _signal(pid: int, number: int) -> None:
    """Signal the kernel; a kill takes its group, or all of its namespace."""
    if number == signal.SIGKILL:
        # It may have left its group, or not have made it yet.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit {os.WEXITSTATUS(status)}"


class Watch:
    """Looks at what a kernel's processes use; says which limit is passed, if any.

    A fork shares its parent's pages until one of them writes, so what the server
    holds already is not counted.

    Args:
        limits: memory and processes count here; the rest is set in the kernel.
    """

    def __init__(self, limits: Limits) -> None:
        """Note what the server holds already."""
        self.limits = limits
        self._base = _resident(os.getpid())[0]
        self._looked = 0.0

    def look(self, pid: int) -> str:
        """``memory``, ``processes``, or an empty string."""
        members = _in_namespace_of(pid)
        used = [_resident(member) for member in members]
        if sum(threads for _, threads in used) > self.limits.processes:
            return "processes"
        allowed, now = self.limits.memory_mb * _MB, time.monotonic()
        # Of a fork these sizes are too large, as it shares what the server holds; of a
        # program they are right. So they only tell when to look closer.
        close = now - self._looked > LOOK_CLOSER_SECONDS
        close |= sum(max(0, size - self._base) for size, _ in used) > allowed
        if close and sum(size for size, _ in used) - self._base > allowed:
            self._looked = now
            if sum(map(_proportional, members)) - self._base > allowed:
                return "memory"
        return ""


def _in_namespace_of(pid: int) -> list[int]:
    """All processes in the pid namespace of which ``pid`` is the first."""
    try:
        namespace = os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return []
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{name}/ns/pid") == namespace:
                    found.append(int(name))
    return found


def _resident(pid: int) -> tuple[int, int]:
    """Resident bytes that are not of files, and the number of threads."""
    size = threads = 0
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            key, _, value = line.partition(b":")
            if key in (b"RssAnon", b"RssShmem"):
                size += int(value.split()[0]) * 1024
            elif key == b"Threads":
                threads = int(value)
    return size, threads


def _proportional(pid: int) -> int:
    """Resident bytes with shared pages divided by their sharers; exact, but slow."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        sizes = (line.split() for line in file if line.startswith(_UNBACKED))
        return sum(int(size) * 1024 for _, size, _ in sizes)
    return 0
