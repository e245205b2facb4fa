"""Messages of a kernel in which strangers' code runs: bounded, checked, or dropped.

Whoever runs in a kernel can send what he likes over its sockets. So sizes are limited
before a message is parsed, and only what has the form of a message gets through.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client import AsyncKernelClient, AsyncKernelManager

from tlcourse.exercises.wire import MAX_CHARACTERS

MAX_FRAME = 2**25  # bytes of one part of a message about outputs
_WAITING = 16  # messages that may wait here; the kernel keeps, or loses, the others
_MAX_MARKS = 500_000  # commas and brackets: what parsing makes objects of
_MARKS = (b",", b"[", b"{")


@dataclass(frozen=True)
class Message:
    """What came: ``kind`` is empty where it was no message at all."""

    size: int
    kind: str = ""
    parent: str = ""
    content: dict[str, Any] = field(default_factory=dict)


def connect(manager: AsyncKernelManager) -> AsyncKernelClient:
    """A client of two sockets, for shell and iopub, that take no more than this."""
    client = manager.client()
    client.context.setsockopt(zmq.RCVHWM, _WAITING)
    client.context.setsockopt(zmq.LINGER, 0)
    client.context.setsockopt(zmq.MAXMSGSIZE, 2 * MAX_CHARACTERS)
    client.shell_channel.start()
    connect_outputs(client)
    return client


def connect_outputs(client: AsyncKernelClient) -> None:
    """Connect iopub, again too: a larger message than it takes ends a connection."""
    if client._iopub_channel is not None:
        client._iopub_channel.close()
        client._iopub_channel = None
    client.context.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
    client.iopub_channel.start()


async def receive(client: AsyncKernelClient, socket: zmq.asyncio.Socket) -> Message:
    """The next message of a socket; never raises for what is in it."""
    frames = await socket.recv_multipart()
    size = sum(map(len, frames))
    if sum(frame.count(mark) for frame in frames for mark in _MARKS) > _MAX_MARKS:
        return Message(size)
    try:
        raw = client.session.deserialize(client.session.feed_identities(frames)[1])
        kind, content = raw["msg_type"], raw["content"]
        parent = raw["parent_header"].get("msg_id")
    except Exception:  # whatever it was, it was no message
        return Message(size)
    if type(kind) is str and type(parent) is str and type(content) is dict:
        return Message(size, kind, parent, content)
    return Message(size)
