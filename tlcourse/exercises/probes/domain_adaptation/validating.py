"""What is asked about deep embedded validation."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probing import Candidate, Seen, tensors
from tlcourse.exercises.spec import Case, Probe

_RISK, _CONSTANT = "the risk", "equal weights"
_REFUSES = "refuses"


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, mean: float, slope: float) -> Case:
        """Weights of this mean; losses that rise (or fall) with them."""
        weights = rng.gamma(2, mean / 2, n)
        losses = rng.gamma(2, 0.4, n) + np.exp(slope * weights)
        inputs = {"losses": losses, "weights": weights}
        return Case(group, about, {k: v.astype(np.float32) for k, v in inputs.items()})

    equal = case(_CONSTANT, "all weights 0.75", 12, 1.0, 0.3)
    equal.inputs["weights"][:] = 0.75
    # In float32 the mean of these is not 0.7, and the computed variance not 0.
    rounded = case(_CONSTANT, "all weights 0.7", 12, 1.0, 0.3)
    rounded.inputs["weights"][:] = 0.7
    nearly = case(_CONSTANT, "all weights 0.75 but one, which is 2", 12, 1.0, 0.3)
    nearly.inputs["weights"][:] = 0.75
    nearly.inputs["weights"][4] = 2
    zero = case(_RISK, "12 samples, one of weight 0", 12, 0.8, 0.4)
    zero.inputs["weights"][5] = 0
    shorter = case(_REFUSES, "8 losses and 6 weights", 8, 1.0, 0.3)
    shorter.inputs["weights"] = shorter.inputs["weights"][:6]
    negative = case(_REFUSES, "a negative weight", 8, 1.0, 0.3)
    negative.inputs["weights"][3] = -0.2
    two = case(_RISK, "2 samples", 2, 1.5, 0.3)
    two.inputs["weights"] += np.array([0, 1 + two.inputs["weights"].max()], np.float32)
    return [
        case(_RISK, "30 samples, mean weight near 0.6, losses rise", 30, 0.6, 0.5),
        case(_RISK, "30 samples, mean weight near 1.6, losses fall", 30, 1.6, -0.5),
        case(_RISK, "5 samples", 5, 0.8, 0.4),
        two,
        zero,
        equal,
        rounded,
        nearly,
        shorter,
        negative,
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    return {"risk": float(candidate(given["losses"], given["weights"]))}


dev_risk = Probe(
    id="domain_adaptation.dev_risk",
    title="Deep embedded validation",
    points=3,
    minutes=15,
    level="medium",
    hints=(
        "Density ratios have mean 1 in truth. If the weights of your sample have mean "
        "0.8, is the weighted mean of the losses likely too low or too high?",
        "mean(w l) + eta * (mean(w) - 1), eta = -Cov(w l, w) / Var(w), both with the "
        "same divisor.",
        "wl = weights * losses; d = weights - weights.mean(); eta = -(wl * d).mean() / "
        "(d * d).mean(); return wl.mean() + eta * (weights.mean() - 1); if all weights "
        "are equal: wl.mean(). Check lengths and signs first.",
    ),
    make=_make,
    observe=_observe,
    forbid=("tlcourse.adapt.validators.dev_risk",),
)
