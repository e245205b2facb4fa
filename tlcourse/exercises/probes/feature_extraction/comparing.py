"""What is asked about comparing features."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe


def _make_cka(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, d1: int, d2: int) -> Case:
        a = normal(rng, n, d1) * rng.uniform(0.2, 3, d1) + rng.uniform(1, 2, d1)
        b = normal(rng, n, d2) + rng.uniform(1, 2, d2)
        common = min(d1, d2)
        b[:, :common] += 0.7 * a[:, :common]
        return Case(
            group, about, {"a": a.astype(np.float32), "b": b.astype(np.float32)}
        )

    other = case("refuses", "unequal numbers of samples", 20, 3, 3)
    other.inputs["b"] = other.inputs["b"][:-2]
    constant = case("refuses", "features that never vary", 20, 3, 4)
    # Quarters: their mean is exact, so that centring gives exact zeros.
    constant.inputs["b"][:] = np.round(constant.inputs["b"][0] * 4) / 4
    never = case("refuses", "a first side that never varies", 20, 3, 4)
    never.inputs["a"][:] = np.round(never.inputs["a"][0] * 4) / 4
    dead = case("value", "one dead feature among five", 25, 4, 5)
    dead.inputs["b"][:, 1] = 0
    turned = case("what it must ignore", "a side turned, scaled and shifted", 30, 4, 4)
    rotation, _ = np.linalg.qr(rng.normal(0, 1, (4, 4)))
    turned.inputs["b"] = (2.5 * turned.inputs["a"] @ rotation + 3).astype(np.float32)
    return [
        case("value", "30 samples, 4 and 6 features", 30, 4, 6),
        case("value", "12 samples, 20 and 5 features", 12, 20, 5),
        dead,
        turned,
        other,
        constant,
        never,
    ]


def _observe_cka(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    return {"similarity": candidate(given["a"], given["b"])}


linear_cka = Probe(
    id="feature_extraction.linear_cka",
    title="Linear CKA",
    points=3,
    minutes=20,
    level="medium",
    hints=(
        "Two layers of the same network: what should not count as a difference "
        "between them, and which step of the formula removes it?",
        "With columns centred: CKA = ||B'A||_F^2 / (||A'A||_F ||B'B||_F). No n by n "
        "matrix is needed.",
        "a = a - a.mean(0), the same for b; top = (b.T @ a).square().sum(); bottom = "
        "(a.T @ a).norm() * (b.T @ b).norm(); return top / bottom. First refuse "
        "unequal lengths and features that do not vary (ValueError).",
    ),
    make=_make_cka,
    observe=_observe_cka,
    forbid=("tlcourse.features.linear_cka",),
    forgeable=True,
)
