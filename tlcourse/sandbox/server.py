"""A fork server: it has torch loaded, and forks a Jupyter kernel in no time.

::

    this process ── ForkServer ──► (isolation) ──► forkserver, torch loaded, one thread
                                                       └─ warden, one per kernel
                                                             └─ the kernel

The server is asked over a socket pair. For each kernel it is handed one end of a new
pair, on which the kernel's warden then answers: when this process dies, every end is
closed, and wardens, kernels and server end with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlcourse.sandbox.limits import ONE_THREAD, Limits

if TYPE_CHECKING:
    from tlcourse.sandbox.isolation import Isolation
    from tlcourse.sandbox.provisioner import WarmKernelManager

START_SECONDS = 120  # a cold disk and a busy computer: torch alone takes many seconds
RUN = "run"  # the folder of sockets, below the server's own


class ServerFailed(RuntimeError):
    """The fork server did not start or is gone; the message has its last words."""


class ForkServer:
    """A server to fork kernels from; starts when it is first needed.

    Args:
        view: the copy of the package that kernels see (:mod:`tlcourse.sandbox.view`);
            ``None`` for the package itself.
        isolation: what keeps kernels from everything else; ``None`` for warm kernels
            with the rights of whoever starts them.
        exercises: ids whose probes are imported before the first fork.
        modules: packages that notebooks import; a slow one of them is loaded, too.
    """

    def __init__(
        self,
        view: Path | None = None,
        isolation: Isolation | None = None,
        exercises: Sequence[str] = (),
        modules: Sequence[str] = (),
    ) -> None:
        """Start nothing yet."""
        self.view, self.isolation = view, isolation
        self._wanted = {"exercises": list(exercises), "modules": list(modules)}
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._folder: Path | None = None
        self._count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> ForkServer:
        """Use as ``with ForkServer(...) as server``."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @property
    def pid(self) -> int | None:
        """The process that was started, for those who watch; ``None`` before."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.poll() is None

    def kernel_manager(
        self, files: Mapping[str, bytes] | None = None, limits: Limits | None = None
    ) -> WarmKernelManager:
        """A manager whose kernel is forked from here; use it as any other.

        Args:
            files: put into an isolated kernel's working folder, by relative path.
            limits: what the kernel may use; isolated ones only.
        """
        from tlcourse.sandbox.provisioner import WarmKernelManager

        manager = WarmKernelManager()
        manager.server, manager.files = self, dict(files or {})
        manager.limits = limits or Limits()
        return manager

    def new_folder(self) -> Path:
        """An empty folder for one kernel's sockets; only this user can reach it."""
        with self._lock:
            self._start()
            self._count += 1
            assert self._folder is not None
            folder = self._folder / RUN / str(self._count)
        folder.mkdir()
        folder.chmod(0o777)  # the kernel has another user id; the parent is private
        return folder

    def connect(self) -> socket.socket:
        """A connection to a new warden, which waits for its request."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with self._lock, theirs:
            self._start()
            assert self._control is not None
            try:
                socket.send_fds(self._control, [b"k"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise ServerFailed(self._last_words()) from error
        return ours

    def _start(self) -> None:
        if self.alive:
            return
        self._stop()
        self._folder = Path(tempfile.mkdtemp(prefix="tl-"))
        (self._folder / RUN).mkdir()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        user = self.isolation.user if self.isolation else None
        plan = {"isolated": self.isolation is not None, "user": user, **self._wanted}
        program = [sys.executable, "-m", "tlcourse.sandbox.forkserver"]
        program += [str(theirs.fileno()), json.dumps(plan)]
        environment = dict(os.environ)
        if self.isolation is not None:
            program.insert(1, "-I")
            program = self.isolation.command(program, self.view, self._folder / RUN)
            environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": "/tmp"}
        environment |= ONE_THREAD
        with theirs, (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                program,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                env=environment,
                start_new_session=True,  # Ctrl-C is for whoever started us
            )
        self._control = ours
        ours.settimeout(START_SECONDS)
        try:
            ready = ours.recv(1)
        except OSError:
            ready = b""
        if not ready:
            words = self._last_words()
            self._stop()
            raise ServerFailed(words)
        ours.settimeout(10)

    def _last_words(self) -> str:
        text = ""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                text = (self._folder / "log").read_text("utf-8", "replace")[-2_000:]
        return f"the fork server is gone. Its last words: {text.strip() or '(none)'}"

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()  # its end is the server's end
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._control = self._process = self._folder = None

    def close(self) -> None:
        """End the server and every kernel it has forked."""
        with self._lock:
            self._stop()
