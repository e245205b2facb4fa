"""What is asked about linear probing before fine-tuning."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from tlcourse.exercises.probes.fine_tuning.common import Row, seeded, stage
from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_RESULT, _AFTER = "weights and statistics", "left as it was"


class _Watch(nn.Module):
    """Notes its mode in every forward pass; dropout would do nothing in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` itself."""
        self.modes.append(self.training)
        return x


def _make_lp_ft(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, **more: Any) -> Case:
        inputs = {
            "net_seed": int(rng.integers(2**31)),
            "x": normal(rng, 12, 6) + 0.5,
            "y": rng.permutation(np.arange(12) % 3),
            "body": "body",
            "head": "head",
            "lr": float(round(rng.uniform(0.05, 0.1), 3)),
            "probe_lr": float(round(rng.uniform(0.4, 0.6), 3)),
            "probe_steps": 4,
            "steps": 3,
            "frozen": [],
        }
        return Case(group, about, inputs | more)

    owners = "what its owner had frozen"
    return [
        case(_RESULT, "4 steps on the head, 3 on everything"),
        case(_RESULT, "2 steps on the head, 5 on everything", probe_steps=2, steps=5),
        case(_RESULT, "a head called top", head="top"),
        case(_RESULT, "a body called head_in", body="head_in"),
        case(owners, "the first weight is frozen", frozen=["body.0.0.weight"]),
        case(_AFTER, "modes and requires_grad", frozen=["body.1.1.bias"]),
    ]


def _observe_lp_ft(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    head = given["head"]

    def build() -> nn.Module:
        body = nn.Sequential(stage(6, 5), stage(5, 4), _Watch())
        return Row(**{given["body"]: body, head: nn.Linear(4, 3)})

    model = seeded(build, given["net_seed"]).train()
    for name in given["frozen"]:
        model.get_parameter(name).requires_grad_(False)
    asked = [p.requires_grad for p in model.parameters()]
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    names = ("x", "y", "probe_lr", "lr", "probe_steps", "steps")
    candidate(model, head, *(given[name] for name in names))
    if case.group != _AFTER:
        with torch.no_grad():
            state = model.state_dict()
            floats = {n: v for n, v in state.items() if v.is_floating_point()}
        modes = model.get_submodule(given["body"])[2].modes
        return {**floats, "passes of the body in train mode": sum(modes)}
    moved = {n: not torch.equal(p, start[n]) for n, p in model.named_parameters()}
    flags = [p.requires_grad for p in model.parameters()]
    in_train_mode = [m.training for m in model.modules()]
    model.train()
    return {
        "parameters that moved": sum(moved.values()),
        "parameters with another requires_grad": sum(
            a != b for a, b in zip(asked, flags, strict=True)
        ),
        "modules in train mode": sum(in_train_mode),
        "modules in eval mode after train()": sum(
            not m.training for m in model.modules()
        ),
    }


lp_ft = Probe(
    id="fine_tuning.lp_ft",
    title="Linear probing, then fine-tuning",
    points=4,
    minutes=25,
    level="medium",
    hints=(
        "In each phase: which parameters move, at which rate, and in which mode is "
        "every BatchNorm?",
        "Phase 1: only the head asks for a gradient, the body is in eval mode. Phase "
        "2: requires_grad as its owner had it, everything in train mode. At the end "
        "eval mode.",
        "asked = [(p, p.requires_grad) for p in model.parameters()]; freeze(model, "
        "except_for=[head]); model.train(); descend(.., probe_lr, probe_steps); "
        "unfreeze(model); put the flags of `asked` back; model.train(); descend(.., "
        "lr, steps); model.eval().",
    ),
    make=_make_lp_ft,
    observe=_observe_lp_ft,
    forbid=("tlcourse.tuning.lp_ft",),
    forgeable=True,
)
