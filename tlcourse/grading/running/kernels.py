"""One kernel in which a submission runs: its start, one request after another, its end.

This does by hand what nbclient does for kernels that mean well. A hostile kernel can
keep nbclient from ever timing out (unrelated messages renew its patience), and can make
it take minutes over one long line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import psutil
import zmq
import zmq.asyncio
from jupyter_client import AsyncKernelClient, AsyncKernelManager

from tlcourse.grading.running.messages import connect, connect_outputs, receive
from tlcourse.grading.running.outputs import Outputs

START_SECONDS = 60.0
ANSWER_SECONDS = 15.0  # until a living kernel is heard again after too much output
GRACE_SECONDS = 3.0  # what an interrupted cell has left to stop by itself
LAST_OUTPUT_SECONDS = 4.0  # what outputs may lag behind a reply
DRAIN_SECONDS = 0.2
LOOK_SECONDS = 0.1  # how often this process's own memory is looked at
GROWTH = 2**28  # bytes that one request may cost this process; then the kernel is ended
FLOOD = 2**26  # bytes of messages during one request; then the kernel is ended

# Why a kernel ended, as a learner reads it after "Your code cell 7 ...".
_SENTENCES = {
    "memory": "used more memory than is allowed",
    "processes": "started more processes than are allowed",
    "out of time": "ran longer than is allowed and could not be interrupted",
    "output": "printed more than is allowed",
    "quit": "quit Python",
    "silent": "sent too much at once and then stopped answering",
}


class KernelEnded(Exception):
    """The kernel is gone: ``how`` is "memory", "exit 3", "signal 11", "out of time".

    ``started`` is false if it was gone already when it was asked.
    """

    def __init__(self, how: str, started: bool = True) -> None:
        """Keep how it ended."""
        super().__init__(how)
        self.how, self.started = how, started

    @property
    def sentence(self) -> str:
        """What follows "Your code cell 7 ..."."""
        return _SENTENCES.get(self.how, f"ended Python ({self.how})")


class StartFailed(RuntimeError):
    """A kernel did not start: the grader's own failure, not the submission's."""


@dataclass(frozen=True)
class Reply:
    """How a request ended while its kernel lives on."""

    status: Literal["ok", "error", "late"]
    content: Mapping[str, Any] = field(default_factory=dict)


class Kernel:
    """A kernel from its start to its end.

    Args:
        manager: not started yet.
        folder: the working folder, for kernels that have none of their own.
    """

    def __init__(self, manager: AsyncKernelManager, folder: str | None = None) -> None:
        """Nothing runs yet."""
        self._manager, self._folder = manager, folder
        self._client: AsyncKernelClient | None = None
        self._end: asyncio.Future[Any] | None = None
        self._torn = False

    async def start(self) -> None:
        """Start, and wait until both channels carry messages.

        Raises:
            StartFailed: it did not, within a minute.
        """
        try:
            where = {"cwd": self._folder} if self._folder else {}
            await self._manager.start_kernel(**where)
            self._manager._close_control_socket()  # nobody would read what it sends
            self._client = connect(self._manager)
            self._end = asyncio.ensure_future(self._manager.provisioner.wait())
            await self._race(self._until_ready(), START_SECONDS)
        except (KernelEnded, TimeoutError, OSError, RuntimeError) as error:
            raise StartFailed(f"A kernel did not start: {error!r}") from error

    async def stop(self) -> None:
        """End the kernel and all it has started."""
        if self._end is not None:
            self._end.cancel()
        if self._client is not None:
            self._client.stop_channels()
        await self._manager.shutdown_kernel(now=True)

    async def execute(
        self,
        source: str,
        seconds: float,
        outputs: Outputs,
        *,
        silent: bool = False,
        store_history: bool = True,
    ) -> Reply:
        """Run code; after ``seconds`` interrupt it, and if that is of no use, end it.

        Raises:
            KernelEnded: the kernel is gone.
        """
        content = {
            "code": source,
            "silent": silent,
            "store_history": store_history and not silent,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        reply = await self.request("execute", content, seconds, outputs)
        if _asks_to_quit(reply.content):
            raise KernelEnded("quit")
        if reply.status != "late" and reply.content.get("status") != "ok":
            return Reply("error", reply.content)
        return reply

    async def request(
        self,
        kind: str,
        content: dict[str, Any],
        seconds: float,
        outputs: Outputs | None = None,
    ) -> Reply:
        """Send ``kind_request`` and wait for its ``kind_reply``.

        Raises:
            KernelEnded: the kernel is gone.
        """
        assert self._client is not None
        outputs = outputs or Outputs(0)
        if self._torn:
            await self._hear_again()
        if not await self._manager.is_alive():
            raise KernelEnded(self._how, started=False)
        message = self._client.session.msg(f"{kind}_request", content)
        self._client.shell_channel.send(message)
        exchange = asyncio.ensure_future(self._exchange(message["msg_id"], outputs))
        try:
            return Reply("ok", await self._race(exchange, seconds))
        except TimeoutError:
            await self._manager.interrupt_kernel()
            try:
                return Reply("late", await self._race(exchange, GRACE_SECONDS))
            except TimeoutError:
                raise KernelEnded("out of time") from None
        finally:
            exchange.cancel()

    async def _hear_again(self) -> None:
        """Connect anew to a kernel whose outputs were more than is taken.

        Raises:
            KernelEnded: it ended, or says nothing.
        """
        assert self._client is not None
        connect_outputs(self._client)
        ready = asyncio.ensure_future(self._until_ready())
        try:
            await self._race(ready, ANSWER_SECONDS)
        except TimeoutError:
            raise KernelEnded("silent", started=False) from None
        except KernelEnded as end:
            raise KernelEnded(end.how, started=False) from None
        finally:
            ready.cancel()

    async def _race(self, task: Any, seconds: float) -> Any:
        """What the task gives, unless the kernel ends or the time is up before.

        The transport takes in a message of any number of parts before anybody sees
        it, so memory is watched, too.
        """
        task = asyncio.ensure_future(task)
        assert self._end is not None
        racers = {task, self._end}
        until, before = time.monotonic() + seconds, _resident()
        while not task.done() and not self._end.done():
            if (left := until - time.monotonic()) <= 0:
                break
            if _resident() - before > GROWTH:
                task.cancel()
                raise KernelEnded("output")
            left = min(left, LOOK_SECONDS)
            await asyncio.wait(racers, timeout=left, return_when="FIRST_COMPLETED")
        if not task.done() and self._end.done():
            # What was sent before the end is worth reading.
            await asyncio.wait({task}, timeout=DRAIN_SECONDS)
        if task.done():
            return task.result()
        if self._end.done():
            raise KernelEnded(self._how)
        raise TimeoutError

    @property
    def _how(self) -> str:
        return getattr(self._manager.provisioner, "ending", "") or "killed"

    async def _exchange(
        self, asked: str, outputs: Outputs, patience: float = LAST_OUTPUT_SECONDS
    ) -> dict[str, Any]:
        """Collect outputs until both the reply and the end of the outputs are here."""
        assert self._client is not None
        shell = self._client.shell_channel.socket
        sockets = (shell, self._client.iopub_channel.socket)
        poller = zmq.asyncio.Poller()
        for socket in sockets:
            poller.register(socket, zmq.POLLIN)
        reply, idle, seen, until = None, False, 0, 0.0
        while reply is None or not idle:
            left = None if reply is None else max(0, until - time.monotonic())
            ready = await poller.poll(None if left is None else left * 1_000)
            if not ready:
                outputs.torn = self._torn = True
                break
            for socket, _ in ready:
                message = await receive(self._client, socket)
                seen += message.size
                if seen > FLOOD:
                    raise KernelEnded("output")
                if message.parent != asked:
                    continue
                if socket is shell:
                    if message.kind.endswith("_reply") and reply is None:
                        reply = message.content
                        until = time.monotonic() + patience
                elif message.kind == "status":
                    idle = idle or message.content.get("execution_state") == "idle"
                else:
                    outputs.take(message.kind, message.content)
            await asyncio.sleep(0)  # a flood must not keep the clock from being seen
        return reply or {}

    async def _until_ready(self) -> None:
        """Ask who it is until an answer's outputs arrive, too."""
        assert self._client is not None
        self._torn = True
        while self._torn:
            self._torn = False
            asked = self._client.kernel_info()
            await self._exchange(asked, Outputs(0), patience=0.2)


def _resident() -> int:
    """Bytes of memory that this process holds."""
    return psutil.Process().memory_info().rss


def _asks_to_quit(content: Mapping[str, Any]) -> bool:
    """Whether a cell called ``quit()``: the kernel then ends soon after its reply."""
    payload = content.get("payload")
    parts = payload if isinstance(payload, list) else []
    return any(isinstance(p, dict) and p.get("source") == "ask_exit" for p in parts)
