"""The bug hunt's data: a report on two samples, on data that show one bug each."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlcourse.exercises.probes.distribution_shift.common import pair
from tlcourse.exercises.probing import Candidate, Seen, normal, number, tensors
from tlcourse.exercises.spec import Case, Probe

_SEEN = {
    "standardised together": ("mean_gap",),
    "bandwidth": ("sigma",),
    "MMD²": ("mmd2",),
    "p-value": ("p_value",),
    "decision": ("different",),
}


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    together, width, value, p_value, decision = _SEEN

    def case(
        group: str, about: str, data: dict[str, Any], count: int, alpha: float
    ) -> Case:
        rows = len(data["x"]) + len(data["y"])
        orders = np.stack([rng.permutation(rows) for _ in range(count)])
        return Case(group, about, {**data, "orders": orders, "alpha": alpha})

    def mixed(about: str, count: int, alpha: float) -> Case:
        found = case(decision, about, _corners(rng), count, alpha)
        found.inputs["orders"] = np.stack([_mixed(rng) for _ in range(count)])
        return found

    # n + m leaves 2 when divided by 4: the number of pairs is odd, and its median one
    # of them. 1/16 is a float of few digits: p and alpha are equal in any precision.
    return [
        case(together, "a shift of the mean", pair(rng, 12, 10, 3), 19, 0.05),
        case(width, "two samples of mean 0 and spread 1", _even(rng), 19, 0.05),
        case(value, "two samples of mean 0 and spread 1", _even(rng), 19, 0.05),
        case(p_value, "opposite corners of a square", _corners(rng), 49, 0.05),
        mixed("15 permutations, alpha 1/16", 15, 1 / 16),
        mixed("19 permutations, alpha 0.01", 19, 0.01),
    ]


def _even(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Samples that need no standardising, together or apart."""
    return {"x": _standard(normal(rng, 12, 4)), "y": _standard(normal(rng, 10, 4) ** 3)}


def _corners(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """x at two opposite corners, y at the others: only the dependence differs."""
    side = np.where(np.arange(18) % 2 == 0, 1, -1)
    x = np.stack([side, side], 1)[:16] + 0.05 * normal(rng, 16, 2)
    y = np.stack([side, -side], 1) + 0.05 * normal(rng, 18, 2)
    return {"x": _standard(x), "y": _standard(y)}


def _mixed(rng: np.random.Generator) -> np.ndarray:
    """An order in which x gets four rows of each corner: MMD² is far smaller."""
    rows = np.arange(34)
    corner = rows % 2 + 2 * (rows >= 16)
    dealt = np.zeros(34, dtype=bool)
    for c in range(4):
        dealt[rng.choice(rows[corner == c], 4, replace=False)] = True
    return np.concatenate([rng.permutation(rows[part]) for part in (dealt, ~dealt)])


def _standard(z: np.ndarray) -> np.ndarray:
    return ((z - z.mean(0)) / z.std(0)).astype(np.float32)


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    report = candidate(given["x"], given["y"], given["orders"], given["alpha"])
    seen = {name: number(report[name]) for name in _SEEN[case.group]}
    return {k: bool(v) if k == "different" else v for k, v in seen.items()}


bug_hunt = Probe(
    id="distribution_shift.bug_hunt",
    title="Bug hunt: a report on two samples",
    points=5,
    minutes=30,
    level="medium",
    hints=(
        "Follow one number at a time: what is left of a shift of the mean after the "
        "first two lines? In which unit is sigma? Which pairs does the mean count? "
        "What is the smallest p? What decides?",
        "One mean and one spread for both samples; sigma is a distance; pairs of "
        "different samples only, n (n - 1) of them; p = (1 + s) / (B + 1); different "
        "if p <= alpha.",
        "z = torch.cat([x, y]); z = (z - z.mean(0)) / z.std(0, correction=0); sigma = "
        "torch.pdist(z).median(); within = lambda k: (k.sum() - k.trace()) / (len(k) * "
        "(len(k) - 1)); different = p_value <= alpha.",
    ),
    make=_make,
    observe=_observe,
    forgeable=True,
)
