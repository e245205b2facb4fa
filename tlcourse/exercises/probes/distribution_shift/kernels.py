"""What is asked about the kernel and its width."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probes.distribution_shift.common import double, hangs_on, pair
from tlcourse.exercises.probing import REFUSES, Candidate, Seen, normal, number, tensors
from tlcourse.exercises.spec import Case, Probe

_SLOPE, _FAR = "gradient", "far from the origin"


def _make_kernel(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, m: int, d: int, bandwidth: Any, **more: Any
    ) -> Case:
        inputs = {**pair(rng, n, m, d), "bandwidth": bandwidth}
        return Case(group, about, inputs | more)

    def sigma() -> float:
        return float(rng.uniform(1.4, 2.2))

    several = "several bandwidths"
    far = case(_FAR, "30 and 28 close points, each coordinate near 300", 30, 28, 3, 0.1)
    for name in ("x", "y"):
        far.inputs[name] = (0.1 * far.inputs[name] + 300).astype(np.float32)
    return [
        case("one bandwidth", "5 and 4 samples, 3 features", 5, 4, 3, sigma()),
        case("one bandwidth", "one sample and 6, a whole-number bandwidth", 1, 6, 2, 2),
        case(several, "three bandwidths", 4, 3, 3, [0.6, 1.1, sigma()]),
        case(several, "a list with one", 3, 3, 2, [sigma()]),
        case(_SLOPE, "x against itself: the gradient of the sum", 5, 1, 3, 1.3),
        far,
        case(REFUSES, "a bandwidth of 0", 3, 3, 2, 0.0),
        case(REFUSES, "a negative bandwidth", 3, 3, 2, -1.0),
        case(REFUSES, "one of two bandwidths is 0", 3, 3, 2, [1.0, 0.0]),
        case(REFUSES, "3 features and 1", 3, 4, 3, 1.0, y=normal(rng, 4, 1)),
    ]


def _observe_kernel(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    x, y, bandwidth = given["x"], given["y"], given["bandwidth"]
    if case.group != _SLOPE:
        return {"kernel": double(candidate(x, y, bandwidth))}
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        kernel = candidate(x, x, bandwidth)
        weights = torch.arange(kernel.numel()).reshape(kernel.shape).to(kernel)
        (kernel * weights).sum().backward()
    return {"kernel": double(kernel), "gradient": double(x.grad)}


rbf_kernel = Probe(
    id="distribution_shift.rbf_kernel",
    title="The Gaussian kernel",
    points=2,
    minutes=15,
    level="easy",
    hints=(
        "Which shape has the result for 5 and 4 samples, and which value does a pair "
        "of equal points have? What is left of 300.01² - 2 · 300.01 · 300.02 + 300.02² "
        "in seven digits?",
        "d² = sum over features of (x_i - y_j)², from differences; k = exp(-d² / "
        "(2 sigma²)). With several sigmas, the mean of their kernels.",
        "d2 = (x[:, None] - y[None]).square().sum(-1)  # (n, m); sigmas = [bandwidth] "
        "if it is a number; return the mean over s in sigmas of torch.exp(-d2 / "
        "(2 * s**2)). Refuse unequal widths and s <= 0 first (ValueError).",
    ),
    make=_make_kernel,
    observe=_observe_kernel,
    forbid=("tlcourse.shift.rbf_kernel", "sklearn.metrics.pairwise.rbf_kernel"),
)


def _make_median(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    # n + m leaves 2 or 3 when divided by 4: the number of pairs is odd, so that the
    # median is one of them, whichever convention is used.
    def case(group: str, about: str, n: int, m: int, d: int, **more: Any) -> Case:
        return Case(group, about, {**pair(rng, n, m, d), **more})

    value, loose = "value", "no gradient"
    constant = np.full((4, 2), 0.5, dtype=np.float32)
    far = case(value, "two clusters, 4 and 6 samples", 4, 6, 3)
    far.inputs["y"] += 6
    twice = case(value, "six of 14 samples are equal", 6, 8, 3)
    twice.inputs["y"][:5] = twice.inputs["x"][0]
    most = case(REFUSES, "five of six samples equal", 4, 2, 2, x=constant)
    most.inputs["y"][0] = 0.5
    return [
        case(value, "6 and 8 samples, 3 features", 6, 8, 3),
        case("unequal sizes", "2 and 9 samples", 2, 9, 2),
        case("unequal sizes", "9 and 1 samples", 9, 1, 4),
        far,
        twice,
        case(loose, "x asks for a gradient", 5, 5, 3, asks="x"),
        case(loose, "y asks for a gradient", 5, 5, 3, asks="y"),
        case(REFUSES, "all samples equal", 4, 2, 2, x=constant, y=constant[:2]),
        most,
    ]


def _observe_median(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    with torch.enable_grad():
        if "asks" in given:
            given[given["asks"]] = given[given["asks"]].clone().requires_grad_()
        sigma = candidate(given["x"], given["y"])
    return {"sigma": number(sigma), "a gradient would flow": hangs_on(sigma)}


median_heuristic = Probe(
    id="distribution_shift.median_heuristic",
    title="The median heuristic",
    points=2,
    minutes=10,
    level="easy",
    hints=(
        "Four pooled samples: how many pairs of different samples are there, and how "
        "many entries has the distance matrix? What are the others?",
        "Pool both samples; take the distances of the n_all (n_all - 1) / 2 pairs "
        "i < j; the median of these, not squared.",
        "z = torch.cat([x, y]).detach(); sigma = torch.pdist(z).median(); raise "
        "ValueError if it is 0; return sigma.",
    ),
    make=_make_median,
    observe=_observe_median,
    forbid=("tlcourse.shift.median_heuristic",),
)
