"""The Jupyter side: a kernel provisioner that forks instead of starting Python.

It is registered as ``tlcourse-warm``, so an ordinary kernelspec can name it, and
JupyterLab, nbval and nbgrader then get warm kernels.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
from functools import lru_cache
from pathlib import Path
from typing import Any

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning import KernelProvisionerBase, LocalProvisioner

from tlcourse.sandbox.kernelspec import NAME
from tlcourse.sandbox.limits import Limits
from tlcourse.sandbox.server import ForkServer

_END_SECONDS = 5.0  # how long the end of a killed kernel is waited for
_PORTS = ("shell", "iopub", "stdin", "hb", "control")


@lru_cache(maxsize=1)
def shared_server() -> ForkServer:
    """This process's server for warm kernels that are not isolated."""
    server = ForkServer(modules=("torchvision", "scipy"))
    atexit.register(server.close)
    return server


class WarmProvisioner(LocalProvisioner):
    """Forks a kernel from a :class:`ForkServer`; the shared one unless told."""

    ending = ""
    _connection: socket.socket | None = None
    _folder: Path | None = None
    _status: int | None = None

    @property
    def has_process(self) -> bool:
        """Whether a kernel was started and not yet cleaned up."""
        return self._connection is not None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Choose the sockets: private files for an isolated kernel."""
        server: ForkServer | None = getattr(self.parent, "server", None)
        self._server = server or shared_server()
        if self._server.isolation is None:
            return await super().pre_launch(**kwargs)
        manager = self.parent
        self._folder = await asyncio.to_thread(self._server.new_folder)
        manager.transport, manager.ip = "ipc", str(self._folder / "s")
        for number, name in enumerate(_PORTS, 1):
            setattr(manager, f"{name}_port", number)
        self.connection_info = manager.get_connection_info()
        kwargs.pop("extra_arguments", None)
        return await KernelProvisionerBase.pre_launch(self, cmd=[], **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Fork the kernel; returns how to reach it."""
        if self._folder is None:
            request = {
                "connection_file": str(Path(self.parent.connection_file).resolve()),
                "folder": str(kwargs.get("cwd") or os.getcwd()),
                "environment": dict(kwargs.get("env") or os.environ),
            }
        else:
            files = {
                name: base64.b64encode(data).decode()
                for name, data in self.parent.files.items()
            }
            info = {
                key: value.decode() if isinstance(value, bytes) else value
                for key, value in self.connection_info.items()
            }
            request = {
                "connection": info,
                "folder": self._folder.name,
                "files": files,
                "limits": self.parent.limits.model_dump(),
            }
        self.ending, self._status = "", None
        self._connection = await asyncio.to_thread(self._server.connect)
        await asyncio.to_thread(_send, self._connection, request)
        self._connection.setblocking(False)
        self._received = b""
        return self.connection_info

    def _listen(self) -> None:
        """Read what the warden has said; its silence after the end is an end too."""
        if self._connection is None or self._status is not None:
            return
        try:
            while data := self._connection.recv(4096):
                self._received += data
        except BlockingIOError:
            if b"\n" not in self._received:
                return
        except OSError:
            pass
        line = self._received.partition(b"\n")[0]
        try:
            said = json.loads(line)
        except ValueError:
            said = {"ending": "killed", "status": -signal.SIGKILL}
        self.ending, self._status = said["ending"], int(said["status"])

    async def poll(self) -> int | None:
        """``None`` while the kernel runs, else its exit status."""
        self._listen()
        return 0 if self._connection is None else self._status

    async def wait(self) -> int | None:
        """Wait for the kernel's end."""
        while (status := await self.poll()) is None:
            await _readable(self._connection)
        return status

    async def send_signal(self, signum: int) -> None:
        """Have the warden send a signal to the kernel."""
        if self._connection is not None and await self.poll() is None:
            with contextlib.suppress(OSError):
                self._connection.send(b"%d\n" % signum)

    async def kill(self, restart: bool = False) -> None:
        """Kill the kernel and all its processes, and see them end."""
        await self.send_signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wait(), _END_SECONDS)

    async def terminate(self, restart: bool = False) -> None:
        """Kill it: a forked kernel has nothing to save."""
        await self.kill(restart)

    async def cleanup(self, restart: bool = False) -> None:
        """Close the connection: the warden then ends whatever is left."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        await super().cleanup(restart=restart)


async def _readable(connection: socket.socket) -> None:
    """Wait until the warden has said something, or for a second."""
    # A loop has one reader for each descriptor, and several may wait: a copy for each.
    loop, descriptor = asyncio.get_running_loop(), os.dup(connection.fileno())
    said = loop.create_future()
    loop.add_reader(descriptor, lambda: said.done() or said.set_result(None))
    try:
        await asyncio.wait({said}, timeout=1)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _send(connection: socket.socket, request: dict[str, Any]) -> None:
    connection.sendall(json.dumps(request).encode() + b"\n")


class WarmKernelManager(AsyncKernelManager):
    """A kernel manager whose kernel comes from a given server."""

    server: ForkServer | None = None
    files: dict[str, bytes] = {}
    limits = Limits()

    @property
    def kernel_spec(self) -> KernelSpec:
        """No file on disk is needed."""
        return KernelSpec(
            argv=["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Warm",
            language="python",
            metadata={"kernel_provisioner": {"provisioner_name": NAME}},
        )
