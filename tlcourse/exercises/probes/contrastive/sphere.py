"""What is asked about the geometry of the sphere: alignment and uniformity."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlcourse.exercises.probes.contrastive.common import (
    DEFAULTS,
    GRADIENT,
    stretched,
    two_views,
    value_and_gradients,
)
from tlcourse.exercises.probing import REFUSES, Candidate, Seen, normal, number, tensors
from tlcourse.exercises.spec import Case, Probe


def _make_alignment(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, d: int, alpha: float | None, **more: Any
    ) -> Case:
        inputs = two_views(rng, n, d) | more
        if alpha is not None:
            inputs["alpha"] = alpha
        return Case(group, about, inputs)

    equal = two_views(rng, 12, 3)
    equal["z2"][2:] = equal["z1"][2:]  # rounding makes some cosines 1, others not
    other = "other powers"
    return [
        case("squared distance", "6 pairs, 4 features", 6, 4, 2.0),
        case("squared distance", "one pair", 1, 3, 2.0),
        case(other, "power 1", 7, 3, 1.0),
        case(other, "power 3", 5, 4, 3.0),
        case(other, "power 1.5", 6, 3, 1.5),
        case(GRADIENT, "5 pairs, power 2", 5, 4, 2.0),
        case(GRADIENT, "10 of 12 pairs equal, power 1", 12, 3, 1.0, **equal),
        case(DEFAULTS, "alignment(z1, z2) with nothing else", 6, 3, None),
        case(REFUSES, "4 rows and 1", 4, 3, 2.0, z2=normal(rng, 1, 3)),
        case(REFUSES, "4 and 5 rows", 4, 3, 2.0, z2=normal(rng, 5, 3)),
        case(REFUSES, "3 features and 1", 4, 3, 2.0, z2=normal(rng, 4, 1)),
    ]


def _observe_alignment(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    if case.group == GRADIENT:
        return value_and_gradients(candidate, given, ("z1", "z2"))
    return {"loss": number(candidate(*given.values()))}


alignment = Probe(
    id="contrastive.alignment",
    title="Alignment: how close two views of one sample lie",
    points=2,
    minutes=15,
    level="easy",
    hints=(
        "Which vectors are compared: all of them with each other, or row i with row "
        "i? And may their lengths play a part?",
        "u = z / |z|, row by row; the mean over i of |u1_i - u2_i|^alpha, a power of "
        "the length of the difference.",
        "u1, u2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1); return (u1 - "
        "u2).norm(dim=1).pow(alpha).mean(). Mind: squares.sum(1).pow(alpha / 2) has an "
        "infinite slope at 0 when alpha = 1. Refuse shapes that differ.",
    ),
    make=_make_alignment,
    observe=_observe_alignment,
    forbid=("tlcourse.losses.alignment",),
)


def _make_uniformity(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, d: int, t: float | None, **more: Any
    ) -> Case:
        inputs: dict[str, Any] = {"z": stretched(rng, rng.normal(0, 1, (n, d)))} | more
        if t is not None:
            inputs["t"] = t
        return Case(group, about, inputs)

    orthogonal, _ = np.linalg.qr(rng.normal(0, 1, (5, 5)))
    equal = stretched(rng, rng.normal(0, 1, (5, 3)))
    equal[3] = equal[1]
    other = "other widths"
    return [
        case("t = 2", "6 vectors, 3 features", 6, 3, 2.0),
        case("t = 2", "two vectors", 2, 4, 2.0),
        case(other, "t = 0.5", 7, 3, 0.5),
        case(other, "t = 5", 8, 2, 5.0),
        case("large t", "5 orthogonal vectors, t = 100", 5, 5, 100.0,
             z=stretched(rng, orthogonal)),
        case(GRADIENT, "6 vectors, t = 2", 6, 4, 2.0),
        case(GRADIENT, "two equal vectors, t = 1", 5, 3, 1.0, z=equal),
        case(DEFAULTS, "uniformity(z) with nothing else", 6, 3, None),
        case(REFUSES, "one vector: there is no pair", 1, 3, 2.0),
        case(REFUSES, "t = 0", 5, 3, 0.0),
        case(REFUSES, "t = -1", 5, 3, -1.0),
    ]  # fmt: skip


def _observe_uniformity(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    if case.group == GRADIENT:
        return value_and_gradients(candidate, given, ("z",))
    return {"loss": number(candidate(*given.values()))}


uniformity = Probe(
    id="contrastive.uniformity",
    title="Uniformity: how evenly vectors fill the sphere",
    points=3,
    minutes=20,
    level="medium",
    hints=(
        "Between how many pairs of different vectors is there a distance? In which "
        "order come logarithm, mean and exponential?",
        "log of the mean over i < j of exp(-t |u_i - u_j|^2), u = z / |z|. Safe "
        "from underflow: logsumexp over the pairs of -t |u_i - u_j|^2, minus "
        "log(number of pairs).",
        "u = F.normalize(z, dim=1); i, j = torch.triu_indices(n, n, 1); a = -t * (u[i] "
        "- u[j]).square().sum(1); return a.logsumexp(0) - math.log(len(a)). Refuse "
        "fewer than two rows and t <= 0 (ValueError).",
    ),
    make=_make_uniformity,
    observe=_observe_uniformity,
    forbid=("tlcourse.losses.uniformity",),
    forgeable=True,
)
