"""This process's fork servers: one for the assignment in hand, and few besides."""

from __future__ import annotations

import atexit
import contextlib
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import nbformat

from tlcourse.exercises.catalog import get_probe
from tlcourse.grading.records import Assignment, Master
from tlcourse.grading.running.kernels import Kernel
from tlcourse.sandbox.isolation import find_isolation
from tlcourse.sandbox.server import ForkServer
from tlcourse.sandbox.view import make_view

MOST_SERVERS = 3  # each holds torch in memory
_IMPORT = re.compile(r"^\s*(?:import|from)\s+(\w+)", re.MULTILINE)
# Isolated or not; exercises; imported packages.
_Key = tuple[bool, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class _Room:
    """A server, and what it was made for."""

    key: _Key
    server: ForkServer
    folder: tempfile.TemporaryDirectory[str]

    def close(self) -> None:
        self.server.close()
        self.folder.cleanup()


_rooms: list[_Room] = []  # the one that was used last comes last
_lock = threading.Lock()


@contextlib.contextmanager
def kernels(
    assignment: Assignment, files: Mapping[str, bytes], exercises: Sequence[str]
) -> Iterator[Callable[[], Kernel]]:
    """What begins kernels with these files, whose package is made for the exercises.

    Raises:
        NoIsolation: nothing here isolates, and the assignment asks for it.
    """
    modules = sorted(set().union(*map(_imported, assignment.masters)))
    server = _server((assignment.isolated, tuple(exercises), tuple(modules)))
    if server.isolation is not None:
        yield lambda: Kernel(server.kernel_manager(files, assignment.limits))
        return
    with tempfile.TemporaryDirectory(
        prefix="tl-work-", ignore_cleanup_errors=True
    ) as whole:
        yield lambda: Kernel(server.kernel_manager(), _filled(whole, files))


def close_servers() -> None:
    """End this process's servers and every kernel of theirs."""
    with _lock:
        while _rooms:
            _rooms.pop().close()


atexit.register(close_servers)


@lru_cache(maxsize=64)
def _imported(master: Master) -> frozenset[str]:
    """The packages that a teacher's notebook imports."""
    cells = nbformat.reads(master.notebook, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return frozenset(_IMPORT.findall(code))


def _server(key: _Key) -> ForkServer:
    with _lock:
        found = next((room for room in _rooms if room.key == key), None)
        if found is not None:
            _rooms.remove(found)
        else:
            found = _new_room(key)
        while len(_rooms) >= MOST_SERVERS:
            _rooms.pop(0).close()
        _rooms.append(found)
        return found.server


def _new_room(key: _Key) -> _Room:
    isolated, exercises, modules = key
    isolation = find_isolation() if isolated else None
    folder = tempfile.TemporaryDirectory(prefix="tl-view-")
    view = make_view(Path(folder.name, "view"), [get_probe(e) for e in exercises])
    return _Room(key, ForkServer(view, isolation, exercises, modules), folder)


def _filled(whole: str, files: Mapping[str, bytes]) -> str:
    """A new folder with copies of the files, for a kernel that has no box."""
    folder = Path(tempfile.mkdtemp(dir=whole))
    for name, data in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{name!r} leads out of the working folder.")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return str(folder)
