"""Warm-up and cosine: what is right, and the rates that are one step off."""

from __future__ import annotations

import math

from tlcourse import tuning
from tlcourse.exercises.spec import Key, Mutant


def _guard(t: int, total: int, warmup: int) -> None:
    if t < 0 or warmup >= total:
        raise ValueError(f"step {t}, warm-up {warmup} of {total}")


def _fall(u: float, peak: float, floor: float) -> float:
    return floor + (peak - floor) / 2 * (1 + math.cos(math.pi * u))


def _down(t: int, total: int, warmup: int) -> float:
    """The fraction of the way down, in [0, 1]."""
    return min(1.0, (t - warmup) / max(1, total - 1 - warmup))


def _from_zero(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total, warmup)
    if t < warmup:
        return peak * t / warmup
    return _fall(_down(t, total, warmup), peak, floor)


def _as_elsewhere(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total, warmup)
    if t < warmup:
        return peak * t / warmup
    return _fall(min(1.0, (t - warmup) / (total - warmup)), peak, floor)


def _peak_early(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total, warmup)
    if t < warmup:
        return peak * (t + 1) / warmup
    return _fall(_down(t, total, warmup), peak, floor)


def _from_floor(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total, warmup)
    if t < warmup:
        return floor + (peak - floor) * (t + 1) / (warmup + 1)
    return _fall(_down(t, total, warmup), peak, floor)


def _no_warmup(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total, warmup)
    return _fall(_down(max(t, warmup), total, warmup), peak, floor)


def _no_floor(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    return tuning.warmup_cosine(t, total, warmup, peak, 0.0)


def _floor_added(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    rate = tuning.warmup_cosine(t, total, warmup, peak, 0.0)
    return rate if t < warmup else floor + rate


def _never_reaches(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total, warmup)
    if t <= warmup:
        return peak * (t + 1) / (warmup + 1)
    return _fall(min(1.0, (t - warmup) / (total - warmup)), peak, floor)


def _from_step_0(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total, warmup)
    if t <= warmup:
        return peak * (t + 1) / (warmup + 1)
    return _fall(_down(t, total, 0), peak, floor)


def _linear(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total, warmup)
    if t <= warmup:
        return peak * (t + 1) / (warmup + 1)
    return peak + (floor - peak) * _down(t, total, warmup)


def _whole_wave(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total, warmup)
    if t <= warmup:
        return peak * (t + 1) / (warmup + 1)
    return _fall(2 * _down(t, total, warmup), peak, floor)


def _rises_again(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total, warmup)
    if t <= warmup:
        return peak * (t + 1) / (warmup + 1)
    return _fall((t - warmup) / max(1, total - 1 - warmup), peak, floor)


def _unchecked(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    if t <= warmup:
        return peak * (t + 1) / (warmup + 1)
    return _fall(_down(t, total, warmup), peak, floor)


def _ends_first(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    rate = tuning.warmup_cosine(t, total, warmup, peak, floor)
    return floor if t >= total - 1 else rate


def _divides_by_zero(t: int, total: int, warmup: int, peak: float, low: float) -> float:
    _guard(t, total, warmup)
    if t <= warmup:
        return peak * (t + 1) / (warmup + 1)
    return _fall(min(1.0, (t - warmup) / (total - 1 - warmup)), peak, low)


def _one_ahead(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total, warmup)
    if t <= warmup:
        return peak * (t + 1) / (warmup + 1)
    return _fall(min(1.0, (t - warmup + 1) / (total - warmup)), peak, floor)


def _peak_twice(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    return tuning.warmup_cosine(t - (t > warmup), total, warmup, peak, floor)


def _equal_only(t: int, total: int, warmup: int, peak: float, floor: float) -> float:
    _guard(t, total + (warmup > total) * warmup, warmup)
    return _unchecked(t, total, warmup, peak, floor)


warmup_cosine = Key(
    reference=tuning.warmup_cosine,
    mutants=(
        Mutant(
            "from_zero",
            _from_zero,
            "Step 0 has the rate 0: one batch is computed for nothing. Steps count "
            "from 0, so the numerator is step + 1.",
        ),
        Mutant(
            "as_in_transformers",
            _as_elsewhere,
            "This is the schedule of the transformers library: rate 0 in step 0, and "
            "the floor only in the step after the last. Here the numerator of the "
            "warm-up is t + 1, and the cosine has T - 1 - W intervals.",
        ),
        Mutant(
            "peak_one_early",
            _peak_early,
            "The peak is reached one step early and then held for a step. Divide by "
            "W + 1, so that step W is the first and only one at the peak.",
        ),
        Mutant(
            "from_the_floor",
            _from_floor,
            "The warm-up starts at the floor. The floor is for the end; the warm-up is "
            "the straight line peak * (t + 1) / (W + 1).",
        ),
        Mutant(
            "no_warmup",
            _no_warmup,
            "The first W steps have the full rate. The head is still random then: that "
            "is what the warm-up protects the body from.",
        ),
        Mutant(
            "no_floor",
            _no_floor,
            "The floor is ignored and the rate falls to 0. Let the cosine run between "
            "peak and floor.",
        ),
        Mutant(
            "floor_added",
            _floor_added,
            "The floor is added on top, so that the largest rate is peak + floor. "
            "Scale the cosine by (peak - floor) / 2.",
        ),
        Mutant(
            "never_reaches_the_floor",
            _never_reaches,
            "The last step is not at the floor. Between step W and step T - 1 there "
            "are T - 1 - W intervals, not T - W.",
        ),
        Mutant(
            "cosine_from_step_0",
            _from_step_0,
            "The cosine is counted from step 0, so that the rate jumps when the "
            "warm-up ends. Count from step W.",
        ),
        Mutant(
            "one_ahead",
            _one_ahead,
            "The cosine is one step ahead: the first step after the warm-up is two "
            "intervals down. It counts t - W, and step W is the peak.",
        ),
        Mutant(
            "peak_twice",
            _peak_twice,
            "The peak comes twice, and the cosine is one step late. Step W has the "
            "peak already: the way down is (t - W) / (T - 1 - W).",
        ),
        Mutant(
            "floor_before_the_peak",
            _ends_first,
            "When the last step is also step W, it has the peak: the first line of the "
            "formula, t <= W, comes before the others.",
        ),
        Mutant(
            "divides_by_zero",
            _divides_by_zero,
            "With W = T - 1 the cosine has no interval, and after the end you divide "
            "by T - 1 - W = 0. Return the floor for t >= T first.",
        ),
        Mutant(
            "straight_down",
            _linear,
            "The rate falls along a straight line. Use half a cosine, which is flat at "
            "both ends.",
        ),
        Mutant(
            "whole_wave",
            _whole_wave,
            "The cosine runs through a whole period and comes back to the peak. Half a "
            "period, from 0 to pi, goes down.",
        ),
        Mutant(
            "rises_again",
            _rises_again,
            "After the last step the cosine rises again. Schedulers ask one step past "
            "the end: stay at the floor.",
        ),
        Mutant(
            "only_equal_refused",
            _equal_only,
            "A warm-up longer than the run was accepted; only W = T is refused. Ask "
            "for W >= T.",
        ),
        Mutant(
            "unchecked",
            _unchecked,
            "Impossible settings were accepted: a negative step, or a warm-up that "
            "leaves no step at the end. Raise a ValueError.",
        ),
    ),
)
