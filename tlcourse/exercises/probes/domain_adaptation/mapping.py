"""What is asked about the CORAL map."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_MAP, _FEW, _REFUSES = "the map", "fewer samples than features", "refuses"


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, m: int, d: int, ridge: float | None
    ) -> Case:
        source = normal(rng, n, d) @ normal(rng, d, d) + 2 * normal(rng, d)
        target = normal(rng, m, d) @ (1.5 * normal(rng, d, d)) - normal(rng, d)
        return Case(group, about, {"source": source, "target": target, "ridge": ridge})

    narrow = case(_REFUSES, "3 features on one side, 4 on the other", 8, 8, 3, None)
    narrow.inputs["target"] = normal(rng, 8, 4)
    return [
        case(_MAP, "30 and 30 samples, ridge left out", 30, 30, 3, None),
        case(_MAP, "40 and 12 samples, ridge 0.1", 40, 12, 4, 0.1),
        case(_MAP, "9 and 25 samples, ridge 2", 9, 25, 2, 2.0),
        case(_MAP, "one feature", 12, 20, 1, 0.5),
        case(_FEW, "5 and 4 samples, 8 features", 5, 4, 8, 1.0),
        case(_FEW, "2 and 2 samples", 2, 2, 3, 0.5),
        narrow,
        case(_REFUSES, "one target sample", 8, 1, 3, None),
        case(_REFUSES, "one source sample", 1, 8, 3, None),
        case(_REFUSES, "no target sample", 8, 0, 3, None),
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    args = given["source"], given["target"]
    ridge = given["ridge"]
    moved = candidate(*args) if ridge is None else candidate(*args, ridge)
    return {"moved source": moved}


coral_map = Probe(
    id="domain_adaptation.coral_map",
    title="Whiten the source, colour it like the target",
    points=4,
    minutes=20,
    level="medium",
    hints=(
        "What are mean and covariance of the result? Which of the two sides' "
        "covariances does each of the two steps need?",
        "(s - mean_S) @ C_S^(-1/2) @ C_T^(1/2) + mean_T, where C = Z^T Z / (n - 1) + "
        "ridge * I with centred Z, and C^a = V diag(lambda^a) V^T.",
        "values, vectors = torch.linalg.eigh(C); C^a = vectors * values**a @ "
        "vectors.T. Check first: equal widths, at least two samples on each side.",
    ),
    make=_make,
    observe=_observe,
    forbid=("tlcourse.adapt.coral_map", "skada.CORALAdapter"),
)
