"""What is asked about CORAL and sample weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probes.distribution_shift.common import double, pair
from tlcourse.exercises.probing import REFUSES, Candidate, Seen, normal, number, tensors
from tlcourse.exercises.spec import Case, Probe


def _make_coral(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, m: int, d: int, **more: Any) -> Case:
        samples = pair(rng, n, m, d)
        mixed = samples["y"] @ normal(rng, d, d)  # correlated features
        return Case(group, about, {"source": samples["x"], "target": mixed, **more})

    moved = case("what it must ignore", "the means of both domains moved", 8, 8, 3)
    moved.inputs["source"] += 3
    moved.inputs["target"] -= 2
    return [
        case("equal sizes", "10 samples each, 3 features", 10, 10, 3),
        case("unequal sizes", "6 and 15 samples, 4 features", 6, 15, 4),
        case("unequal sizes", "2 and 3 samples, 5 features", 2, 3, 5),
        moved,
        case(REFUSES, "one source sample", 1, 6, 3),
        case(REFUSES, "one target sample", 6, 1, 3),
        case(REFUSES, "3 features and 1", 6, 6, 3, target=normal(rng, 6, 1)),
    ]


def _observe_coral(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    with torch.enable_grad():
        source = given["source"].clone().requires_grad_()
        target = given["target"].clone().requires_grad_()
        distance = candidate(source, target)
        slopes = torch.autograd.grad(distance, (source, target), allow_unused=True)
    return {
        "distance": number(distance),
        "gradient of source": double(slopes[0]),
        "gradient of target": double(slopes[1]),
    }


coral_distance = Probe(
    id="distribution_shift.coral_distance",
    title="CORAL distance",
    points=2,
    minutes=15,
    level="easy",
    hints=(
        "What must you take away from the features before z'z is a covariance, and by "
        "what do you divide?",
        "C = (z - mean)' (z - mean) / (n - 1), of each domain with its own mean and n; "
        "distance = ||C_S - C_T||_F² / (4 d²).",
        "centred = z - z.mean(0); c = centred.T @ centred / (len(z) - 1)  # (d, d); "
        "gap = c_source - c_target; return gap.square().sum() / (4 * d**2). Refuse "
        "fewer than two rows and unequal widths.",
    ),
    make=_make_coral,
    observe=_observe_coral,
    forbid=("tlcourse.shift.coral_distance",),
)


def _make_weights(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, source: int, target: int, normalise: bool
    ) -> Case:
        logits = rng.normal(-0.5, 1.2, n).astype(np.float32)
        inputs = {
            "logits": logits,
            "num_source": source,
            "num_target": target,
            "normalise": normalise,
        }
        return Case(group, about, inputs)

    ratio, mean_one, large = "density ratio", "normalised", "large logits"
    huge = case(large, "logits around 200, normalised", 6, 6, 9, True)
    huge.inputs["logits"] += 200
    tiny = case(large, "logits around -200, normalised", 6, 6, 9, True)
    tiny.inputs["logits"] -= 200
    by_default = case(mean_one, "normalise left at its default", 7, 9, 14, True)
    del by_default.inputs["normalise"]
    return [
        case(ratio, "8 of 40 source samples, 10 target samples", 8, 40, 10, False),
        case(ratio, "20 source and 60 target samples", 20, 20, 60, False),
        case(mean_one, "12 of 20 source samples, 30 target samples", 12, 20, 30, True),
        by_default,
        case(mean_one, "one source sample", 1, 1, 5, True),
        huge,
        tiny,
        case(REFUSES, "no source sample", 0, 5, 5, True),
        case(REFUSES, "num_target 0", 4, 4, 0, False),
        case(REFUSES, "num_source 0, normalised", 4, 0, 4, True),
    ]


def _observe_weights(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    logits = given.pop("logits")
    counts = given.pop("num_source"), given.pop("num_target")
    return {"weights": double(candidate(logits, *counts, **given))}


importance_weights = Probe(
    id="distribution_shift.importance_weights",
    title="Importance weights from a domain classifier",
    points=3,
    minutes=15,
    level="medium",
    hints=(
        "A classifier sees ten times as many source as target samples, and the two "
        "domains are the same. What does it say, and what should the weight be?",
        "w = p_T(x) / p_S(x) = (n_S / n_T) P(target | x) / P(source | x), and the odds "
        "are exp(logit). Normalised: divide by the mean weight.",
        "normalise: torch.softmax(logits, 0) * len(logits), which cannot overflow; "
        "otherwise logits.exp() * num_source / num_target. Refuse no samples and "
        "counts below 1 first, in both cases.",
    ),
    make=_make_weights,
    observe=_observe_weights,
    forbid=("tlcourse.shift.importance_weights",),
)
