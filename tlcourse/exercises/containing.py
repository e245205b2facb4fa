"""Keep a candidate's run from touching anything else: output, randomness, time."""

from __future__ import annotations

import contextlib
import io
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

_OURS = str(Path(__file__).parents[1])
MAX_PRINTED = 2_000  # characters of the candidate's own output that are kept


class OutOfTime(BaseException):
    """The candidate used up its time. Not an Exception: it must not be caught."""


def reseed(index: int) -> None:
    """Give case number ``index`` its own random state, the same for everyone."""
    random.seed(index)
    np.random.seed(index)
    # What torch.manual_seed does, but for the call stacks that it formats each time,
    # for devices that nothing uses.
    torch.default_generator.manual_seed(index)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(index)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(index)


@contextlib.contextmanager
def same_modes() -> Iterator[None]:
    """Leave the caller's random generators and torch's modes as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)
        with torch.inference_mode(False):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)


@contextlib.contextmanager
def quiet(sink: io.StringIO) -> Iterator[None]:
    """Collect what is printed, on stdout and stderr, and drop warnings."""
    out, err = contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink)
    with out, err, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def shorten(text: str) -> str:
    """The first characters of what was printed, and how many were cut."""
    if len(text) <= MAX_PRINTED:
        return text
    return f"{text[:MAX_PRINTED]}\n... ({len(text) - MAX_PRINTED} characters cut)"


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`OutOfTime` after ``seconds``; in the main thread of POSIX only.

    Elsewhere there is no limit: the learner interrupts the kernel, and grading
    runs candidates in processes of their own.
    """
    main = threading.current_thread() is threading.main_thread()
    if not hasattr(signal, "setitimer") or not main or sys.platform == "win32":
        yield
        return

    live, tracer = True, sys.gettrace()

    def stop(signum: int, frame: FrameType | None) -> None:
        if live:
            _stop_on_every_line(frame)
            raise OutOfTime

    handler = signal.signal(signal.SIGALRM, stop)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
    try:
        yield
    finally:
        live = False
        sys.settrace(tracer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _stop_on_every_line(frame: FrameType | None) -> None:
    """A loop with a bare ``except`` swallows one exception, but not the next line's.

    Only frames that run now are traced: code that tidies up afterwards is not hit.
    """

    def on_line(inner: FrameType, event: str, arg: Any) -> None:
        if event == "line":
            raise OutOfTime

    sys.settrace(lambda *_: None)
    while frame is not None and not frame.f_code.co_filename.startswith(_OURS):
        frame.f_trace = on_line
        frame = frame.f_back
