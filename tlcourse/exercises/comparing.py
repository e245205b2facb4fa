"""What differs between two observations: the first thing worth telling a learner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tlcourse.exercises.observing import Observation, Seen
from tlcourse.exercises.spec import Tolerance

Step = Literal[
    "raised", "changed", "missing", "type", "shape", "dtype", "finite", "value"
]


@dataclass(frozen=True)
class Difference:
    """The first thing in which an observation differs from what is expected."""

    step: Step
    case: int
    name: str = ""
    expected: str = ""
    got: str = ""


def alike(theirs: Observation, got: Observation, tolerance: Tolerance) -> bool:
    """Whether two runs made the same mistake; nan and inf count as one."""
    return difference(_blur(theirs), _blur(got), tolerance, 0) is None


def _blur(observation: Observation) -> Observation:
    values = {
        name: replace(seen, value=np.full_like(seen.value, np.nan))
        if seen.type in ("tensor", "array", "float")
        and not np.isfinite(seen.value).all()
        else seen
        for name, seen in observation.values.items()
    }
    return replace(observation, values=values)


def difference(
    want: Observation, got: Observation, tolerance: Tolerance, case: int
) -> Difference | None:
    """The first difference, in the order of :data:`Step`, or ``None``."""
    if (want.raised is None) != (got.raised is None) or (
        want.raised and got.raised and want.raised.type != got.raised.type
    ):
        return Difference("raised", case, "", _error(want), _error(got))
    if want.changed != got.changed:
        return Difference("changed", case, "", "", ", ".join(got.changed))
    for name, value in want.values.items():
        if name not in got.values:
            return Difference("missing", case, name, value.label, "nothing")
    for name, value in want.values.items():
        gap = _compare(value, got.values[name], tolerance)
        if gap:
            return Difference(gap[0], case, name, gap[1], gap[2])
    return None


def _error(observation: Observation) -> str:
    raised = observation.raised
    return f"{raised.type}: {raised.message}" if raised else "no error"


def _compare(
    want: Seen, got: Seen, tolerance: Tolerance
) -> tuple[Step, str, str] | None:
    if want.type != got.type and (want.type, got.type) != ("float", "int"):
        return "type", want.label, got.label
    if want.type == "list":
        if len(want.value) != len(got.value):
            return "shape", f"{len(want.value)} items", f"{len(got.value)} items"
        gaps = (
            _compare(w, g, tolerance)
            for w, g in zip(want.value, got.value, strict=True)
        )
        return next((gap for gap in gaps if gap), None)
    if want.type in ("tensor", "array"):
        if want.value.shape != got.value.shape:
            return "shape", want.label, got.label
        if want.dtype != got.dtype:
            return "dtype", want.label, got.label
    if want.type == "float":
        return _compare_numbers(np.asarray(want.value), _real(got.value), tolerance)
    if want.type in ("tensor", "array"):
        return _compare_numbers(want.value, got.value, tolerance)
    return None if want.value == got.value else ("value", want.label, got.label)


def _real(number: float) -> np.ndarray:
    try:
        return np.asarray(float(number))
    except OverflowError:  # a whole number too large for any float
        return np.asarray(np.inf)


def _compare_numbers(
    want: np.ndarray, got: np.ndarray, tolerance: Tolerance
) -> tuple[Step, str, str] | None:
    if want.dtype.kind in "iub":
        wrong = want != got
    else:
        strange = np.isfinite(want) & ~np.isfinite(got)
        if strange.any():
            return "finite", *_at(want, got, strange)
        wrong = ~np.isclose(
            got, want, rtol=tolerance.rtol, atol=tolerance.atol, equal_nan=True
        )
    return ("value", *_at(want, got, wrong)) if wrong.any() else None


def _at(want: np.ndarray, got: np.ndarray, wrong: np.ndarray) -> tuple[str, str]:
    """Both numbers at the first wrong place, with the place when there are many."""
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f" at {list(index)}" if index else ""
    return f"{want[index]:.6g}{where}", f"{got[index]:.6g}{where}"
