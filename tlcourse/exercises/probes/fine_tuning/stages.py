"""What is asked about a learning rate for every stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from tlcourse.exercises.probes.fine_tuning.common import seeded
from tlcourse.exercises.probes.fine_tuning.nets import NETS
from tlcourse.exercises.probing import Candidate, Seen
from tlcourse.exercises.spec import Case, Probe


def _make_param_groups(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, kind: str, stages: list[str], **more: Any) -> Case:
        inputs = {
            "kind": kind,
            "stages": stages,
            "lr": float(round(rng.uniform(0.01, 0.2), 4)),
            "factor": float(round(rng.uniform(2, 4), 2)),
            "frozen": [],
        }
        return Case(group, about, inputs | more)

    four = ["part0", "part1", "part2", "head"]
    rates, once, frozen = "rates", "every parameter once", "frozen parameters"
    refuses = "refuses bad input"
    return [
        case(rates, "four stages", "four", four),
        case(rates, "two stages", "two", ["part0", "head"]),
        case(rates, "factor 1: one rate for all", "three", ["part0", "part1", "head"],
             factor=1.0),
        case(once, "dotted names", "three",
             ["part0.0", "part0.1", "part1.0", "part1.1", "head"]),
        case(once, "parts called body, body2 and body21", "twins",
             ["body", "body2", "body21", "head"]),
        case(once, "the last stage shares a weight with the first", "tied",
             ["embed", "mix", "out"]),
        case(once, "the same, the model made its last stage first", "tied backwards",
             ["embed", "mix", "out"]),
        case(frozen, "one stage frozen as a whole", "four", four,
             frozen=["part1.0.weight", "part1.1.weight", "part1.1.bias"]),
        case(frozen, "single weights frozen, in the head too", "four", four,
             frozen=["part0.0.weight", "head.bias"]),
        case(frozen, "a part outside the stages, all of it frozen", "two", ["head"],
             frozen=["part0.0.weight", "part0.1.weight", "part0.1.bias"]),
        case(refuses, "no stage holds part1, which learns", "three",
             ["part0", "head"]),
        case(refuses, "part0.1 learns and is in no stage", "three",
             ["part0.0", "part1", "head"]),
        case(refuses, "a parameter of the model itself is in no stage", "scaled",
             ["part0", "head"]),
        case(refuses, "a name the model does not have", "two",
             ["part0", "part7", "head"]),
    ]  # fmt: skip


def _observe_param_groups(candidate: Candidate, case: Case) -> Seen:
    given = case.inputs
    model = seeded(NETS[given["kind"]], 0)
    for name in given["frozen"]:
        model.get_parameter(name).requires_grad_(False)
    asked = {name: p.requires_grad for name, p in model.named_parameters()}
    groups = candidate(model, given["lr"], given["stages"], given["factor"])
    listed = [(p, group["lr"]) for group in groups for p in _params(group)]
    seen: dict[str, Any] = {}
    for name, p in model.named_parameters():
        rates = [float(rate) for other, rate in listed if other is p]
        seen[f"times {name} is listed"] = len(rates)
        if rates and asked[name]:
            seen[f"rate of {name}"] = rates[0]
    seen["requires_grad changed"] = any(
        p.requires_grad != asked[name] for name, p in model.named_parameters()
    )
    return seen


def _params(group: Mapping[str, Any]) -> Iterable[Tensor]:
    params = group["params"]
    return [params] if isinstance(params, Tensor) else list(params)


param_groups = Probe(
    id="fine_tuning.param_groups",
    title="A learning rate for every stage",
    points=4,
    minutes=25,
    level="medium",
    hints=(
        "How far is a stage from the last one, and who may already be in a group, or "
        "must not be in any?",
        "Stage i of 0..L-1 has the rate lr / factor**(L - 1 - i). Its parameters: "
        "those of model.get_submodule(stage) that require a gradient and are in no "
        "earlier group.",
        "seen = set(); for i, stage in enumerate(stages): params = [p for p in "
        "model.get_submodule(stage).parameters() if p.requires_grad and p not in "
        "seen]; seen.update(params); append the group if it is not empty. At the end "
        "every trainable parameter must be in seen, else ValueError. get_submodule "
        "raises AttributeError for an unknown name: turn it into a ValueError.",
    ),
    make=_make_param_groups,
    observe=_observe_param_groups,
    forbid=("tlcourse.tuning.param_groups",),
)
