"""What is asked about the interval of a few-shot result."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probing import REFUSES, Candidate, Seen, number, tensors
from tlcourse.exercises.spec import Case, Probe

_MEAN, _MANY, _FEW = "the mean", "half width, many episodes", "half width, few episodes"


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, queries: int, spread: float) -> Case:
        p = np.clip(rng.normal(0.7, spread, n), 0.05, 0.95)
        values = rng.binomial(queries, p) / queries
        values[:2] = 0.2, 0.8  # never all equal
        return Case(group, about, {"accuracies": values.astype(np.float32)})

    same = {"accuracies": np.full(9, round(rng.uniform(0.2, 0.9), 2), np.float32)}
    one = {"accuracies": rng.uniform(0.3, 0.9, 1).astype(np.float32)}
    return [
        case(_MEAN, "600 episodes of 75 queries", 600, 75, 0.1),
        case(_MEAN, "7 episodes", 7, 25, 0.2),
        case(_MANY, "600 episodes of 75 queries", 600, 75, 0.1),
        case(_MANY, "200 episodes of unequal difficulty", 200, 50, 0.25),
        case(_FEW, "5 episodes", 5, 25, 0.2),
        case(_FEW, "2 episodes", 2, 75, 0.1),
        Case(_FEW, "9 episodes, all alike", same),
        Case(REFUSES, "a single episode", one),
        Case(REFUSES, "no episode", {"accuracies": np.zeros(0, np.float32)}),
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    mean, half = candidate(tensors(case)["accuracies"])
    if case.group == _MEAN:
        return {"mean": number(mean)}
    return {"half width": number(half)}


ci95 = Probe(
    id="few_shot.ci95",
    title="Mean and 95 % interval over episodes",
    points=2,
    minutes=10,
    level="easy",
    hints=(
        "What was drawn anew, independently, each time: a query or an episode?",
        "half = 1.96 s / sqrt(n), s^2 = sum (a_i - mean)^2 / (n - 1), n episodes.",
        "accuracies.mean() and 1.96 * accuracies.std() / len(accuracies) ** 0.5; "
        "torch's std divides by n - 1 already. Fewer than two episodes: ValueError.",
    ),
    make=_make,
    observe=_observe,
    forbid=("tlcourse.metrics.mean_interval", "scipy.stats.sem"),
)
