"""What an isolated Python sees of the file system: a list of mounts, nothing else.

The same list becomes arguments of bubblewrap here, or real mounts in
:mod:`tlcourse.sandbox.enclose`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tlcourse

Kind = Literal["read-only", "read-write", "tmpfs", "dev", "proc", "symlink"]

RUN = "/run/tl"  # where a server's folders of sockets are, inside
BOX = "/box"  # all that a submission may write to, in memory

# Programs and libraries; on most systems /bin and /lib are links into /usr.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# What the dynamic linker, fontconfig and the C library's clock read: no accounts, no
# names of machines. /sys/devices/system/cpu tells torch how many cores there are.
_SETTINGS = (
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/sys/devices/system/cpu",
)


@dataclass(frozen=True)
class Mount:
    """One mount of the new root.

    Args:
        kind: ``read-only`` and ``read-write`` show an existing file or folder,
            ``tmpfs`` is an empty folder in memory, ``dev`` the harmless devices,
            ``proc`` the processes of the new namespace, ``symlink`` a link.
        source: what is shown; for a link, its text. Empty for the others.
        target: where, as an absolute path.
        size: bytes that a ``tmpfs`` may hold; 0 makes it read-only.
    """

    kind: Kind
    source: str
    target: str
    size: int = 0


def python_mounts(
    view: Path, *, tmp_bytes: int, shm_bytes: int, hidden: Sequence[Path] = ()
) -> list[Mount]:
    """All that this Python needs to run, with ``view`` in the package's place.

    Args:
        view: the folder that :func:`tlcourse.sandbox.view.make_view` made. Its package
            covers the installed one, keys and all, wherever that is.
        tmp_bytes: size of ``/tmp``.
        shm_bytes: size of ``/dev/shm``.
        hidden: folders that must be empty even if they lie in the system's or
            Python's own folders: the course, the gradebook.
    """
    package = Path(tlcourse.__file__).resolve().parent
    mounts = [
        Mount("proc", "", "/proc"),
        Mount("dev", "", "/dev"),
        Mount("tmpfs", "", "/dev/shm", shm_bytes),
        Mount("tmpfs", "", "/tmp", tmp_bytes),
        *_system(),
        *(Mount("tmpfs", "", str(f.resolve())) for f in hidden if _inside_shown(f)),
        *_python(),
        Mount("read-only", str(view / package.name), str(package)),
    ]
    return in_order(mounts)


def _system() -> Iterator[Mount]:
    for name in _SYSTEM:
        if os.path.islink(name):
            yield Mount("symlink", os.readlink(name), name)
        elif os.path.isdir(name):
            yield Mount("read-only", name, name)
    for name in _SETTINGS:
        if os.path.exists(name):
            yield Mount("read-only", os.path.realpath(name), name)


def _python() -> Iterator[Mount]:
    """The environment and the Python it was made from, by every name they have."""
    shown = set()
    for name in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.executable):
        for link in _links(name):
            yield Mount("symlink", os.readlink(link), str(link))
        real = Path(name).resolve()
        if name != sys.executable and real not in shown:
            shown.add(real)
            yield Mount("read-only", str(real), str(real))


def _links(name: str) -> Iterator[Path]:
    """The links on the way from ``name`` to what it means, outside shown folders.

    A virtual environment's ``bin/python`` often leads through a link such as
    ``cpython-3.11 -> cpython-3.11.7``, which must exist inside too.
    """
    path = Path(name)
    for _ in range(40):  # as many as Linux follows
        place = next((p for p in (*reversed(path.parents), path) if p.is_symlink()), 0)
        if not place:
            return
        if not _inside_shown(place.parent):
            yield place
        rest = path.relative_to(place)
        path = Path(os.path.normpath(place.parent / os.readlink(place) / rest))


def _inside_shown(path: Path) -> bool:
    shown = (*_SYSTEM, sys.prefix, sys.base_prefix)
    folders = (Path(folder).resolve() for folder in shown)
    return any(path.resolve().is_relative_to(folder) for folder in folders)


def in_order(mounts: Iterable[Mount]) -> list[Mount]:
    """Each once, parents before what is mounted inside them, later ones on top."""
    unique = dict.fromkeys(mounts)
    return sorted(unique, key=lambda mount: mount.target.rstrip("/").count("/"))


def bubblewrap_arguments(mounts: Iterable[Mount]) -> list[str]:
    """The arguments by which ``bwrap`` makes these mounts; the rest is read-only."""
    arguments: list[str] = []
    read_only = ["/"]
    ordered = in_order(mounts)
    for parent in _missing_parents(ordered):  # left to bubblewrap, only root may enter
        arguments += ["--perms", "0755", "--dir", parent]
    for mount in ordered:
        match mount.kind:
            case "read-only":
                arguments += ["--ro-bind", mount.source, mount.target]
            case "read-write":
                arguments += ["--bind", mount.source, mount.target]
            case "symlink":
                arguments += ["--symlink", mount.source, mount.target]
            case "tmpfs" if mount.size:
                arguments += ["--size", str(mount.size), "--tmpfs", mount.target]
            case "tmpfs" | "dev":
                arguments += [f"--{mount.kind}", mount.target]
                read_only.append(mount.target)
            case "proc":
                arguments += ["--proc", mount.target]
    for target in read_only:
        arguments += ["--remount-ro", target]
    return arguments


def _missing_parents(mounts: Sequence[Mount]) -> list[str]:
    """The folders above the mounts that no mount brings, outermost first."""
    shown = [mount.target for mount in mounts if mount.kind != "symlink"]
    parents = {
        str(parent)
        for mount in mounts
        for parent in Path(mount.target).parents
        if not any(parent.is_relative_to(target) for target in shown)
    }
    return sorted(parents - {"/"}, key=lambda path: path.count("/"))
