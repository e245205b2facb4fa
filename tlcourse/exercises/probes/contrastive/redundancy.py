"""What is asked about VICReg, which needs no negatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlcourse.exercises.probes.contrastive.common import (
    DEFAULTS,
    GRADIENT,
    value_and_gradients,
)
from tlcourse.exercises.probing import REFUSES, Candidate, Seen, normal, number, tensors
from tlcourse.exercises.spec import Case, Probe

_WEIGHTS = ("invariance", "variance", "covariance")


def _make_vicreg(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def embeddings(n: int, d: int) -> dict[str, np.ndarray]:
        # Spreads below and above 1, correlated features, means far from 0.
        spread = np.linspace(0.25, 1.6, d)
        mix = np.eye(d) + 0.4 * rng.uniform(0.3, 1, (d, d))
        common = rng.normal(0, 1, (n, d)) @ mix
        views = {}
        for name, scale in (("z1", 0.7), ("z2", 0.5)):
            z = scale * spread * (common + 0.5 * rng.normal(0, 1, (n, d)))
            views[name] = (z + rng.uniform(0.5, 1.5, d)).astype(np.float32)
        return views

    def case(
        group: str, about: str, n: int, d: int, weights: tuple[float, ...], **more: Any
    ) -> Case:
        named = dict(zip(_WEIGHTS, weights, strict=False))
        return Case(group, about, {**embeddings(n, d), **named, **more})

    collapsed = embeddings(6, 3)
    collapsed["z1"][:, 1] = 0.5  # a feature without any variance
    unequal = embeddings(7, 3)
    for z in unequal.values():
        z *= np.array([0.3, 4, 4], np.float32)
    bare = "vicreg(z1, z2) with nothing else"
    ones = (1.0, 1.0, 1.0)
    return [
        case("invariance", "8 samples, 4 features", 8, 4, (2.0, 0.0, 0.0)),
        case("invariance", "5 samples, 7 features", 5, 7, (25.0, 0.0, 0.0)),
        case("variance", "8 samples, 4 features", 8, 4, (0.0, 3.0, 0.0)),
        case("variance", "4 samples, 6 features", 4, 6, (0.0, 25.0, 0.0)),
        case("variance", "one narrow, two wide", 7, 3, (0.0, 5.0, 0.0), **unequal),
        case("variance", "one feature is constant", 6, 3, (0.0, 9.0, 0.0), **collapsed),
        case("covariance", "8 samples, 4 features", 8, 4, (0.0, 0.0, 2.0)),
        case("covariance", "5 samples, 7 features", 5, 7, (0.0, 0.0, 1.0)),
        case("covariance", "a single feature", 5, 1, (0.0, 0.0, 2.0)),
        case(GRADIENT, "7 samples, 3 features", 7, 3, (5.0, 4.0, 3.0)),
        case(GRADIENT, "one feature is constant", 6, 3, (5.0, 4.0, 3.0), **collapsed),
        case(DEFAULTS, bare, 9, 3, ()),
        case(REFUSES, "one sample: no variance", 1, 3, ones),
        case(REFUSES, "3 features and 1", 5, 3, ones, z2=normal(rng, 5, 1)),
        case(REFUSES, "4 and 5 samples", 4, 3, ones, z2=normal(rng, 5, 3)),
    ]


def _observe_vicreg(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    if case.group == GRADIENT:
        return value_and_gradients(candidate, given, ("z1", "z2"))
    return {"loss": number(candidate(*given.values()))}


vicreg = Probe(
    id="contrastive.vicreg",
    title="VICReg: agree, spread, decorrelate",
    points=4,
    minutes=30,
    level="medium",
    hints=(
        "Three terms stop three things: views that disagree, features that stand "
        "still, features that say the same. Over what is each mean taken, rows or "
        "columns, and is it divided by n or by n - 1?",
        "inv = mean over all n d entries of (z1 - z2)^2; v(z) = mean over columns of "
        "max(0, 1 - sqrt(var + 1e-4)); c(z) = sum of the squared covariances off the "
        "diagonal, over d. Total: a inv + b (v1 + v2) / 2 + c (c1 + c2).",
        "v: (1 - (z.var(dim=0) + 1e-4).sqrt()).relu().mean(); c: zc = z - z.mean(0); "
        "cov = zc.T @ zc / (len(z) - 1); (cov.square().sum() - "
        "cov.diagonal().square().sum()) / z.shape[1]. No normalising of rows. "
        "ValueError first for unequal shapes and n < 2.",
    ),
    make=_make_vicreg,
    observe=_observe_vicreg,
    forbid=(
        "tlcourse.losses.vicreg",
        "tlcourse.losses.vicreg_terms",
        "lightly.loss.VICRegLoss",
        "pytorch_metric_learning.losses.VICRegLoss",
    ),
)
