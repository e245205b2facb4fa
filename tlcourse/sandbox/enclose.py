"""Run a program in a root of its own, where bubblewrap is not installed.

::

    python -m tlcourse.sandbox.enclose MOUNTS program…
      └─ process 1 of new namespaces: builds the root, then only reaps
           └─ program

Nothing of the old root can be reached. The namespaces are private (mounts, processes,
network, System V memory, host name), made as root, or by anyone where Linux permits
user namespaces. Whichever of these processes ends, those below it end too.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

from tlcourse.sandbox import syscalls as linux
from tlcourse.sandbox.mounts import Mount, in_order

HOSTNAME = "sandbox"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_NAMESPACES = (
    linux.CLONE_NEWNS
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWNET
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUTS
)
_PLAIN = linux.MS_NOSUID | linux.MS_NODEV
_SHOWN = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV


def enclose_command(mounts: Iterable[Mount], program: Sequence[str]) -> list[str]:
    """The command line that runs ``program`` in a root made of ``mounts``.

    Its environment and descriptors are those the command is started with: give few.

    Args:
        mounts: everything that exists inside.
        program: what to run, as it is called inside; it starts in ``/tmp``.
    """
    spec = json.dumps([dataclasses.asdict(mount) for mount in in_order(mounts)])
    return [sys.executable, "-I", "-m", "tlcourse.sandbox.enclose", spec, *program]


def main(mounts: Sequence[Mount], program: list[str]) -> NoReturn:
    """Leave the old namespaces; the child, process 1 of the new ones, does the rest."""
    _leave()
    child = os.fork()
    if child:
        _follow(child)
    linux.die_with_parent(signal.SIGKILL)
    if os.getppid() != 0:  # a parent outside the namespace has no number
        os._exit(1)
    socket.sethostname(HOSTNAME)
    os.umask(0o022)  # the kernels' user must be able to enter the folders made here
    build_root(mounts)
    child = os.fork()
    if child:
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # they are the program's
        linux.set_dumpable(False)  # nobody inside reads its memory
        _follow(child)
    os.setsid()
    os.chdir("/tmp")
    os.execv(program[0], program)


def _leave() -> None:
    """Enter new namespaces; without root's rights by way of a user namespace."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        linux.unshare(_NAMESPACES)
        return
    linux.unshare(linux.CLONE_NEWUSER | _NAMESPACES)
    for name, text in {
        "setgroups": "deny",  # Linux wants it before a group may be mapped
        "uid_map": f"0 {user} 1",
        "gid_map": f"0 {group} 1",
    }.items():
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _follow(child: int) -> NoReturn:
    """Reap whatever ends, until ``child`` does; then end as it did."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def build_root(mounts: Sequence[Mount]) -> None:
    """Make ``mounts`` and nothing else this process's root, in its own namespace.

    Two turns: the old root moves to ``/old`` of an empty one, where it can be shown
    from; the new root, made at ``/new``, then covers both, and they are let go.
    """
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", "/tmp", "tmpfs", _PLAIN)
    for name in ("/tmp/old", "/tmp/new"):
        os.mkdir(name)
    linux.pivot_root("/tmp", "/tmp/old")
    os.chdir("/")
    linux.mount("tmpfs", "/new", "tmpfs", _PLAIN, "mode=755")
    read_only = ["/new"]
    for mount in mounts:
        target = "/new" + mount.target
        _make(mount, target)
        if mount.kind == "dev" or (mount.kind == "tmpfs" and not mount.size):
            read_only.append(target)
    for target in read_only:
        linux.restrict_mount(target, linux.MOUNT_ATTR_RDONLY, recursive=False)
    os.chdir("/new")
    linux.pivot_root(".", ".")  # the old root now lies on the new one
    linux.umount2(".", linux.MNT_DETACH)
    os.chdir("/")


def _make(mount: Mount, target: str) -> None:
    if mount.kind == "symlink":
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(mount.source, target)
    elif mount.kind in ("read-only", "read-write"):
        if not os.path.exists("/old" + mount.source):
            raise FileNotFoundError(errno.ENOENT, "nothing to show", mount.source)
        show("/old" + mount.source, target, writable=mount.kind == "read-write")
    else:
        os.makedirs(target, exist_ok=True)
        if mount.kind == "proc":
            linux.mount("proc", target, "proc", _PLAIN | linux.MS_NOEXEC)
        elif mount.kind == "tmpfs" and mount.size:
            # Empty files have no size, but they have a number: one for each 4 KiB.
            bounds = f"mode=1777,size={mount.size},nr_inodes={mount.size // 4096 + 16}"
            linux.mount("tmpfs", target, "tmpfs", _PLAIN, bounds)
        else:
            linux.mount("tmpfs", target, "tmpfs", _PLAIN, "mode=755")
        if mount.kind == "dev":
            _devices(target)


def show(source: str, target: str, *, writable: bool, devices: bool = False) -> None:
    """Show a file or folder at a second place, with all that is mounted inside it."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "x"):
            pass
    linux.mount(source, target, None, linux.MS_BIND | linux.MS_REC)
    attributes = linux.MOUNT_ATTR_NOSUID if devices else _SHOWN
    linux.restrict_mount(
        target, attributes | (0 if writable else linux.MOUNT_ATTR_RDONLY)
    )


def _devices(folder: str) -> None:
    """The devices that do no harm, and terminals of this root's own."""
    for name in _DEVICES:
        with suppress(FileNotFoundError):  # a container may lack /dev/tty
            show(f"/old/dev/{name}", f"{folder}/{name}", writable=True, devices=True)
    for name, text in _DEVICE_LINKS.items():
        os.symlink(text, f"{folder}/{name}")
    for name in ("pts", "shm"):
        os.mkdir(f"{folder}/{name}")
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("devpts", f"{folder}/pts", "devpts", flags, "newinstance,ptmxmode=0666")


if __name__ == "__main__":
    try:
        main([Mount(**m) for m in json.loads(sys.argv[1])], sys.argv[2:])
    except OSError as error:
        sys.exit(f"cannot run in a root of its own: {error}")
