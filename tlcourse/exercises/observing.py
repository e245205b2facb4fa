"""Run a candidate on cases and write down what it did, as plain data.

This half knows no answers. What it returns holds only numbers, strings and plain
NumPy arrays, so that nothing of the candidate's making is trusted or evaluated.
"""

from __future__ import annotations

import contextlib
import copy
import io
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlcourse.exercises.containing import (
    OutOfTime,
    quiet,
    reseed,
    same_modes,
    shorten,
    time_limit,
)
from tlcourse.exercises.forbidding import ForbiddenCall, watch
from tlcourse.exercises.spec import Case, Probe

_NOT_THE_LEARNERS = (
    str(Path(__file__).parents[1]),
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
)


@dataclass(frozen=True)
class Seen:
    """One observed value as plain data.

    Args:
        type: ``tensor``, ``array``, ``float``, ``int``, ``bool``, ``str``, ``none``,
            ``list`` or, for anything else, ``other``.
        value: a NumPy array, number, string, or a tuple of :class:`Seen`.
        dtype: for tensors and arrays ("float32").
        label: what to call it when speaking to a learner.
    """

    type: str
    value: Any
    dtype: str = ""
    label: str = ""


@dataclass(frozen=True)
class Raised:
    """An exception that a candidate raised."""

    type: str
    message: str
    line: str = ""  # the learner's own source line
    lineno: int = 0


@dataclass(frozen=True)
class Observation:
    """What a candidate did on one case."""

    values: Mapping[str, Seen] = field(default_factory=dict)
    raised: Raised | None = None
    changed: tuple[str, ...] = ()  # names of inputs the candidate modified


@dataclass(frozen=True)
class Run:
    """What a candidate did on all cases."""

    observations: tuple[Observation, ...]
    printed: str = ""
    forbidden: str | None = None  # the forbidden name that was called
    out_of_time: bool = False


def observe(
    probe: Probe, candidate: Any, cases: Sequence[Case], *, guarded: bool = False
) -> Run:
    """Run ``candidate`` on every case, within the probe's limits.

    Every case gets fresh inputs and a fresh random state. What the candidate
    prints or warns is kept aside, never on stderr. ``guarded`` also stops it when
    it calls what the probe forbids.
    """
    printed = io.StringIO()
    observations: list[Observation] = []
    forbidden, late = None, False
    with quiet(printed), same_modes():
        try:
            with time_limit(probe.limits.seconds), _guard(probe, guarded) as go_on:
                for index, case in enumerate(cases):
                    reseed(index)
                    observations.append(_observe_case(probe, candidate, case))
                    go_on(observations[-1].raised is None)
        except OutOfTime:
            late = True
        except ForbiddenCall as call:
            forbidden = call.name
    return Run(tuple(observations), shorten(printed.getvalue()), forbidden, late)


def _guard(
    probe: Probe, guarded: bool
) -> contextlib.AbstractContextManager[Callable[[bool], None]]:
    if guarded:
        return watch(probe.forbid)
    return contextlib.nullcontext(lambda gave_values: None)


def _observe_case(probe: Probe, candidate: Any, case: Case) -> Observation:
    inputs = copy.deepcopy(dict(case.inputs))
    given = Case(case.group, case.about, inputs)
    try:
        raw = probe.observe(candidate, given)
        items = probe.limits.items
        values = {name: plain(value, items) for name, value in raw.items()}
    except (OutOfTime, ForbiddenCall, KeyboardInterrupt):
        raise
    except BaseException as error:  # exit() in an answer must not end the notebook
        return Observation(raised=_describe(error))
    changed = [n for n, v in case.inputs.items() if not _same(v, inputs.get(n))]
    return Observation(values, changed=tuple(changed))


def plain(value: Any, items: int = 10_000) -> Seen:
    """Turn an observed value into plain data; exact types only, no duck typing."""
    kind = type(value)
    if kind in (torch.Tensor, torch.nn.Parameter):
        dense = value.detach().cpu()
        dtype = str(dense.dtype).removeprefix("torch.")
        array = dense.float().numpy() if dtype == "bfloat16" else dense.numpy()
        return Seen("tensor", array.copy(), dtype, _shape_label("tensor", array, dtype))
    if kind is np.ndarray and value.dtype.kind in "biufc":
        label = _shape_label("array", value, str(value.dtype))
        return Seen("array", value.copy(), str(value.dtype), label)
    if isinstance(value, np.generic) and kind.__module__ == "numpy":
        return plain(value.item(), items)
    if kind in (bool, int, float, str):
        return Seen(kind.__name__, value, label=f"{kind.__name__} {value!r}"[:80])
    if value is None:
        return Seen("none", None, label="None")
    if kind in (list, tuple, range) or isinstance(value, Iterator):
        parts = tuple(plain(part, items) for part in islice(value, items))
        return Seen("list", parts, label=f"{kind.__name__} of {len(parts)}")
    return Seen("other", None, label=f"an object of type {kind.__name__}")


def _shape_label(kind: str, array: np.ndarray, dtype: str) -> str:
    if array.size == 1:
        return (
            f"{kind} {array.item():.6g} ({dtype})"
            if array.dtype.kind == "f"
            else (f"{kind} {array.item()} ({dtype})")
        )
    return f"{kind} of shape {tuple(array.shape)} ({dtype})"


def _same(before: Any, after: Any) -> bool:
    """Whether an input is what it was; asks no ``__eq__`` of the candidate's making."""
    if type(before) is not type(after):
        return False
    if isinstance(before, np.ndarray):
        return (
            before.shape == after.shape
            and before.dtype == after.dtype
            and before.tobytes() == after.tobytes()
        )
    if isinstance(before, dict):
        return _same(list(before), list(after)) and all(
            _same(before[key], after[key]) for key in before
        )
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(_same, before, after))
    return before is after or bool(before == after)


def _describe(error: BaseException) -> Raised:
    """The exception with the last line of the learner's own code it passed."""
    line, lineno = "", 0
    # Only lines of the learner's are looked up: reading whole files of torch is slow.
    frames = traceback.walk_tb(error.__traceback__)
    for frame in traceback.StackSummary.extract(frames, lookup_lines=False):
        if not frame.filename.startswith(_NOT_THE_LEARNERS) and frame.line:
            line, lineno = frame.line.strip(), frame.lineno or 0
    try:
        message = str(error)[:500]
    except Exception:
        message = "(its message cannot be shown)"
    return Raised(type(error).__name__, message, line, lineno)
