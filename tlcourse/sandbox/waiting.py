"""Copies of a kernel that keep a moment and wait for cases to observe an answer on."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import struct
import time
from dataclasses import replace
from typing import Any

_HEADER = struct.Struct("!Q")  # the length of what follows in a pipe
_MARGIN = 5.0  # seconds for a fork to begin and to end, beside a probe's own


def silence() -> None:
    """Standard input, output and errors lead nowhere; ipykernel makes its own."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    if nowhere > 2:
        os.close(nowhere)


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
        self.pid = os.fork()
        if self.pid == 0:
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
            os.kill(self.pid, signal.SIGKILL)
        try:
            status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
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
        end = os.pidfd_open(self.pid)
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
        silence()
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
