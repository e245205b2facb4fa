"""The bug hunt: what is true of every right evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tlcourse.exercises.probes.few_shot.hunt import (
    CHANCE,
    FEW,
    INTERVAL,
    NETWORK,
    RIGHT,
)
from tlcourse.exercises.spec import Case, Property

_SAME = 3 / 7  # INTERVAL: chance that both classes of a task lie in one place
_ASKED = FEW["num_ways"] * FEW["num_queries"]


def _near(value: Any, wanted: float, off: float) -> bool:
    return math.isfinite(value) and abs(value - wanted) < off


def _at_chance(seen: Mapping[str, Any], case: Case) -> bool:
    """1 in N: every sample is equally far from every other one, so all classes tie."""
    given = case.inputs
    p, n = 1 / given["num_ways"], given["num_ways"] * given["num_queries"]
    off = 9 * math.sqrt(p * (1 - p) / (n * given["episodes"]))
    two = 1.5 * off  # half as many queries, and p of 1/2
    return _near(seen["mean"], p, off) and _near(seen["mean of two ways"], 0.5, two)


def _mixed_mean(seen: Mapping[str, Any], case: Case) -> bool:
    off = 7 * 0.25 / math.sqrt(case.inputs["episodes"])
    return _near(seen["mean"], 1 - _SAME / 2, off)


def _half(case: Case) -> float:
    """What it should be: episodes give about 1/2 or 1, the first 3 times in 7."""
    spread = 0.5 * math.sqrt(_SAME * (1 - _SAME) + 0.025 * _SAME)
    return 1.96 * spread / math.sqrt(case.inputs["episodes"])


def _whole(value: float) -> bool:
    return math.isfinite(value) and abs(value - round(value)) < 0.01


def _whole_answers(seen: Mapping[str, Any], case: Case) -> bool:
    """The mean counts right answers among N * Q for each of two episodes."""
    return all(_whole(mean * 2 * _ASKED) for mean, _ in seen["few"])


def _exact_halves(seen: Mapping[str, Any], case: Case) -> bool:
    """With two episodes the half width is 1.96 |a - b| / 2."""
    return all(_whole(half * 2 * _ASKED / 1.96) for _, half in seen["few"])


PROPERTIES = (
    Property(
        "chance",
        _at_chance,
        "With features that mean nothing the accuracy must be 1 in N. Is a query "
        "also in the support, or are right answers not counted?",
        CHANCE,
    ),
    Property(
        "all right",
        lambda seen, case: seen["mean"] > 0.999 and seen["mean of blanks"] < 0.9,
        "With classes far enough apart every answer is right, and yet the accuracy "
        "is not 1. What is compared with what?",
        RIGHT,
    ),
    Property(
        "not the farthest",
        lambda seen, case: seen["mean"] > 0.02,
        "With classes far apart not one answer is right.",
        RIGHT,
    ),
    Property(
        "mean of unequal tasks",
        _mixed_mean,
        "The mean over tasks, half of which are easy, is not what it should be. "
        "Are the episodes drawn anew each time?",
        INTERVAL,
    ),
    Property(
        "half large enough",
        lambda seen, case: seen["half"] > 0.6 * _half(case),
        "The half width is too small for the spread from episode to episode. The "
        "unit is the episode: 1.96 s / sqrt(episodes).",
        INTERVAL,
    ),
    Property(
        "half small enough",
        lambda seen, case: seen["half"] < 1.6 * _half(case),
        "The half width is too large for the mean of so many episodes: "
        "1.96 s / sqrt(episodes).",
        INTERVAL,
    ),
    Property(
        "half above 0",
        lambda seen, case: seen["half"] > 1e-6,
        "The half width is 0: all episodes gave the same.",
        INTERVAL,
    ),
    Property(
        "Q queries",
        _whole_answers,
        "The mean over two episodes is no share of N * Q answers each. Does every "
        "class have Q queries?",
        INTERVAL,
    ),
    Property(
        "exact halves",
        _exact_halves,
        "With two episodes the half width is not 1.96 s / sqrt(2), s with the "
        "divisor episodes - 1.",
        INTERVAL,
    ),
    Property(
        "again",
        lambda seen, case: seen["again"] and seen["other"],
        "The same seed must give the same result, another seed another one.",
        INTERVAL,
    ),
    Property(
        "eval mode",
        lambda seen, case: not seen["ran in train mode"],
        "The network ran in train mode: BatchNorm normalised by the episode.",
        NETWORK,
    ),
    Property(
        "statistics",
        lambda seen, case: seen["statistics kept"],
        "The evaluation changed the network's running statistics.",
        NETWORK,
    ),
    Property(
        "still right",
        lambda seen, case: 0 <= seen["mean"] <= 1,
        "The accuracy is no number between 0 and 1.",
        NETWORK,
    ),
)
