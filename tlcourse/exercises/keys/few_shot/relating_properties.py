"""A relation head: what is true of every right one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlcourse.exercises.probes.few_shot.relating import LEARNS, PAIRS, SCORES
from tlcourse.exercises.spec import Case, Property

_LEAST = 1e-5  # a change of a score that is no rounding
_BENT = 1e-4  # far above rounding, far below what a tanh does


def _shape(seen: Mapping[str, Any], case: Case) -> bool:
    shape = len(case.inputs["query_z"]), len(case.inputs["prototypes"])
    return seen["scores"].shape == shape and seen["scores"].dtype == np.float32


def _in_range(seen: Mapping[str, Any], case: Case) -> bool:
    return bool((seen["scores"] >= 0).all() and (seen["scores"] <= 1).all())


def _alone(seen: Mapping[str, Any], case: Case) -> bool:
    return np.allclose(seen["scores"].ravel(), seen["alone"], rtol=1e-3, atol=1e-5)


def _differ(seen: Mapping[str, Any], case: Case) -> bool:
    """At scale 1; a sigmoid of large numbers may be 1 for all pairs."""
    large = np.abs(case.inputs["query_z"]).max() > 100
    return large or seen["scores"].size == 1 or np.ptp(seen["scores"]) > 1e-7


def _width(seen: Mapping[str, Any], case: Case) -> bool:
    """Weights of W1, b1, w2, b2; a second bias in the first layer does no harm."""
    d, hidden = case.inputs["query_z"].shape[1], case.inputs["hidden"]
    least = (2 * d + 2) * hidden + 1
    return least <= seen["weights"] <= least + hidden


def _no_contest(seen: Mapping[str, Any], case: Case) -> bool:
    return not np.allclose(seen["scores"].sum(1), 1, rtol=0, atol=1e-4)


def _changes(name: str, what: str, message: str) -> Property:
    return Property(what, lambda seen, case: seen[name] > _LEAST, message, PAIRS)


PROPERTIES = (
    Property(
        "module",
        lambda seen, case: seen["module"],
        "RelationHead is to be a subclass of nn.Module.",
    ),
    Property("shape", _shape, "The scores are float32 of shape (m, N), always."),
    Property("range", _in_range, "A score lies between 0 and 1.", SCORES),
    Property(
        "again",
        lambda seen, case: seen["again"],
        "The same inputs give other scores in the next call.",
    ),
    Property(
        "scores differ",
        _differ,
        "All pairs get one score.",
        SCORES,
    ),
    Property(
        "alone",
        _alone,
        "The score of query i and class k differs from what the head gives when it "
        "sees only these two.",
        PAIRS,
    ),
    Property(
        "no contest",
        _no_contest,
        "The scores of a query sum to 1: classes compete. A relation score is for each "
        "pair by itself.",
        PAIRS,
    ),
    _changes("query matters", "query matters", "The query has no influence."),
    _changes("class matters", "class matters", "The class has no influence."),
    _changes(
        "gap alone",
        "pair matters",
        "The score depends on the difference only; it gets the pair.",
    ),
    Property(
        "straight",
        lambda seen, case: seen["bent"] < _BENT,
        "Before the sigmoid the score bends where no ReLU has its kink: the hidden "
        "layer has another nonlinearity.",
        PAIRS,
    ),
    Property(
        "gradients",
        lambda seen, case: min(seen["gradients"]) > 0,
        "No gradient reaches query and class features through the score.",
        PAIRS,
    ),
    Property(
        "trainable",
        lambda seen, case: seen["weights"] > 0 and seen["moved"],
        "head.parameters() gives nothing that a training step moves.",
        LEARNS,
    ),
    Property(
        "width",
        _width,
        "The number of weights is not that of a layer from 2d to `hidden` numbers and "
        "one from `hidden` to 1, both with bias.",
        LEARNS,
    ),
    Property(
        "learns",
        lambda seen, case: seen["last loss"] < 0.6 * seen["baseline"],
        "Trained on 'same sign or not' it stays near the best constant score.",
        LEARNS,
    ),
)
