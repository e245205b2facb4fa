"""What is asked about the estimators of MMD²."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probes.distribution_shift.common import double, pair
from tlcourse.exercises.probing import REFUSES, Candidate, Seen, normal, number, tensors
from tlcourse.exercises.spec import Case, Probe

_DEFAULT = "default bandwidths"


def _make_mmd(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, m: int, d: int, bandwidth: Any, **more: Any
    ) -> Case:
        inputs = {**pair(rng, n, m, d), "bandwidth": bandwidth, "unbiased": True}
        return Case(group, about, inputs | more)

    twice = normal(rng, 6, 3)
    same = {"x": twice, "y": twice.copy()}
    ladder = [0.7, 1.4, float(rng.uniform(2, 3))]
    bare = case(_DEFAULT, "mmd2(x, y) with nothing else", 5, 10, 2, None)
    del bare.inputs["bandwidth"], bare.inputs["unbiased"]
    return [
        case("unbiased", "7 and 5 samples, 3 features", 7, 5, 3, 1.5),
        case("unbiased", "two copies of one sample: negative", 6, 6, 3, 1.0, **same),
        case("unbiased", "2 and 9 samples", 2, 9, 2, 2.0),
        case("biased", "5 and 8 samples", 5, 8, 3, 1.5, unbiased=False),
        case("biased", "one sample and 4", 1, 4, 3, 1.5, unbiased=False),
        case("several bandwidths", "three bandwidths", 6, 5, 4, ladder),
        case(_DEFAULT, "bandwidth None: the value and its gradient", 6, 8, 3, None),
        bare,
        case(REFUSES, "one sample in x, unbiased", 1, 4, 3, 1.5),
        case(REFUSES, "one sample in y, unbiased", 4, 1, 3, 1.5),
        case(REFUSES, "3 features and 1", 4, 4, 3, 1.5, y=normal(rng, 4, 1)),
    ]


def _observe_mmd(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    with torch.enable_grad():
        x = given["x"].clone().requires_grad_()
        y = given["y"].clone().requires_grad_()
        options = [given[k] for k in ("bandwidth", "unbiased") if k in given]
        value = candidate(x, y, *options)
        gradients = torch.autograd.grad(value, (x, y), allow_unused=True)
    names = ("gradient of x", "gradient of y")
    return {
        "mmd2": number(value),
        **{n: double(g) for n, g in zip(names, gradients, strict=True)},
    }


mmd2 = Probe(
    id="distribution_shift.mmd2",
    title="MMD²: how far two samples lie apart",
    points=4,
    minutes=30,
    level="medium",
    hints=(
        "In the mean of k(x_i, x_j) over pairs of different samples, which entries of "
        "the matrix count, and how many are they? Should a network be able to lower "
        "the distance by changing the width of the ruler?",
        "(sum Kxx - trace) / (n (n-1)) + (sum Kyy - trace) / (m (m-1)) - 2 mean Kxy; "
        "biased: the three plain means. Default: sigma² = median² x 1/4, 1/2, 1, 2, 4, "
        "without a gradient; the mean of the five kernels.",
        "if bandwidth is None: s = median of torch.pdist(torch.cat([x, y])).detach(), "
        "bandwidth = [s * f**0.5 for f in (.25, .5, 1, 2, 4)]. kxx, kyy, kxy from your "
        "rbf_kernel; within = lambda k: (k.sum() - k.trace()) / (len(k) * (len(k) - "
        "1)); return within(kxx) + within(kyy) - 2 * kxy.mean().",
    ),
    make=_make_mmd,
    observe=_observe_mmd,
    forbid=("tlcourse.shift.mmd2",),
)


def _make_linear(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, d: int, bandwidth: Any, **more: Any
    ) -> Case:
        return Case(
            group, about, {**pair(rng, n, n, d), "bandwidth": bandwidth, **more}
        )

    value, variance = "estimate", "variance of the estimate"
    return [
        case(value, "8 samples each", 8, 3, 1.5),
        case(value, "7 samples each: the last is left out", 7, 2, 1.2),
        case(value, "three bandwidths", 10, 3, [0.7, 1.3, 2.9]),
        case(variance, "12 samples each", 12, 3, 1.5),
        case(variance, "9 samples each", 9, 2, 1.0),
        case(variance, "4 samples each: two pairs are enough", 4, 2, 1.0),
        case(REFUSES, "8 and 6 samples", 8, 3, 1.5, y=normal(rng, 6, 3)),
        case(REFUSES, "6 and 8 samples", 6, 3, 1.5, y=normal(rng, 8, 3)),
        case(REFUSES, "3 samples each: one pair has no variance", 3, 3, 1.5),
    ]


def _observe_linear(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    value, variance = candidate(given["x"], given["y"], given["bandwidth"])
    if case.group == "estimate":
        return {"value": number(value)}
    return {"value": number(value), "variance": number(variance)}


mmd_linear_time = Probe(
    id="distribution_shift.mmd_linear_time",
    title="MMD² in linear time, with its variance",
    points=3,
    minutes=20,
    level="medium",
    hints=(
        "Which four kernel values can you make of two samples of x and two of y? If "
        "every sample is used once, what do you know about the resulting numbers?",
        "h_i = k(x_1, x_2) + k(y_1, y_2) - k(x_1, y_2) - k(x_2, y_1), on rows 2i and "
        "2i + 1. The estimate is the mean of the h; its variance is their sample "
        "variance divided by how many there are.",
        "pairs = len(x) // 2; x1, x2 = x[0:2*pairs:2], x[1:2*pairs:2], the same for y; "
        "k = lambda a, b: exp(-(a - b).square().sum(1) / (2 s²)), mean over s; h as "
        "above  # (pairs,); return h.mean(), h.var() / pairs. Refuse unequal sizes and "
        "fewer than 4 rows first.",
    ),
    make=_make_linear,
    observe=_observe_linear,
    forbid=("tlcourse.shift.mmd_linear_time",),
)
