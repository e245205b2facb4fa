"""What is asked about the inner loss of a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probes.maml.common import FORBID, rate
from tlcourse.exercises.probing import Candidate, Seen, tensors
from tlcourse.exercises.spec import Case, Probe

_PLAIN, _DISCOUNT = "without a discount", "with a discount"
_GRADIENT, _REFUSES = "the gradient", "refuses"


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str,
        n: int,
        horizon: int,
        discount: float | None = None,
        dtype: str = "float32",
        other: tuple[int, int] | None = None,
    ) -> Case:
        log_probs = rng.normal(-1, 1, (n, horizon)).astype(dtype)
        size = (n, horizon) if other is None else other
        rewards = (-1 + 0.7 * rng.normal(0, 1, size)).astype(dtype)
        about = f"{n} trajectories, {horizon} steps"
        about += "" if discount is None else f", discount {discount}"
        if other is not None:
            about = f"log_probs {n} x {horizon}, rewards {size[0]} x {size[1]}"
        inputs = {"log_probs": log_probs, "rewards": rewards, "discount": discount}
        return Case(group, about, inputs)

    some = rate(rng, 0.5, 0.8)
    return [
        case(_PLAIN, 4, 5),
        case(_PLAIN, 2, 3),
        case(_PLAIN, 5, 1, dtype="float64"),
        case(_DISCOUNT, 4, 5, some),
        case(_DISCOUNT, 3, 8, 0.9, "float64"),
        case(_DISCOUNT, 3, 4, 0.0),
        case(_GRADIENT, 4, 5),
        case(_GRADIENT, 3, 6, some),
        case(_REFUSES, 1, 4),
        case(_REFUSES, 3, 5, other=(3, 1)),
        case(_REFUSES, 3, 5, other=(2, 5)),
        case(_REFUSES, 3, 4, other=(4, 3)),
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    log_probs = given["log_probs"].requires_grad_()
    # As in a simulator written in torch: there the rewards carry a graph.
    rewards = given["rewards"].requires_grad_(case.group == _GRADIENT)
    discount = () if given["discount"] is None else (given["discount"],)
    with_graph = rewards * 1.0 if case.group == _GRADIENT else rewards
    loss = candidate(log_probs, with_graph, *discount)
    seen: dict[str, Any] = {"loss": loss}
    if case.group != _GRADIENT:
        return seen
    graph = type(loss) is torch.Tensor and loss.requires_grad and loss.numel() == 1
    seen["the loss has a graph"] = graph
    if graph:
        both = [log_probs, rewards]
        found = torch.autograd.grad(loss.sum(), both, allow_unused=True)
        zeros = torch.zeros_like(log_probs)
        seen["gradient to log_probs"] = zeros if found[0] is None else found[0]
        into = found[1] is not None and bool(found[1].any())
        seen["gradient into the rewards"] = into
    return seen


rl_inner_loss = Probe(
    id="maml.rl_inner_loss",
    title="REINFORCE as an inner loss",
    points=4,
    minutes=25,
    level="medium",
    hints=(
        "Which rewards can an action still change? And which of the numbers in the "
        "loss depend on the policy in a way that autograd can see?",
        "G[i, h] = r[i, h] + discount * G[i, h + 1]; A = G minus the mean of G[:, h] "
        "over the other N - 1 trajectories, a constant; the loss is "
        "-(log_probs * A) summed over h, mean over i.",
        "r = rewards.detach(); g = torch.zeros_like(r[:, 0]); for h from the last to "
        "the first: g = r[:, h] + discount * g, and keep it; G = torch.stack(kept in "
        "the right order, 1); b = (G.sum(0) - G) / (N - 1); "
        "return -(log_probs * (G - b)).sum(1).mean().",
    ),
    make=_make,
    observe=_observe,
    forbid=FORBID,
)
