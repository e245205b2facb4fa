"""What is asked about the epoch from which a stage learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse.exercises.probes.fine_tuning.common import descend, part_names, seeded
from tlcourse.exercises.probes.fine_tuning.nets import NETS
from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe


def _make_unfreeze(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, epochs: list[int], **more: Any) -> Case:
        inputs = {
            "kind": "four",
            "stages": ["part0", "part1", "part2", "head"],
            "epochs": epochs,
            "every": 1,
            "frozen": [],
            "net_seed": int(rng.integers(2**31)),
            "x": normal(rng, 9, 6) + 0.5,
            "y": rng.integers(0, 3, 9),
        }
        return Case(group, about, inputs | more)

    which, norm, again = "which stages learn", "BatchNorm", "thawing and back"
    refuses = "refuses bad input"
    twins = ["body21", "body2", "body", "head"]
    three = ["part0", "part1", "head"]
    unknown = ["part0", "part7", "part2", "head"]
    return [
        case(which, "epoch 0", [0]),
        case(which, "epoch 2", [2]),
        case(which, "epoch 5 of a network with four stages", [5]),
        case(which, "epoch 5, one more stage every 3 epochs", [5], every=3),
        case(which, "epoch 7, one more stage every 4 epochs", [7], every=4),
        case(which, "part0 is in no stage", [6], stages=["part1", "part2", "head"]),
        case(which, "parts called body21, body2 and body", [1], kind="twins backwards",
             stages=twins),
        case(which, "stages part0, part1.0, part1.1 and head", [1], kind="three",
             stages=["part0", "part1.0", "part1.1", "head"]),
        case(which, "a weight of part2 was frozen before", [1],
             frozen=["part2.0.weight"]),
        case(norm, "statistics in epoch 1", [1]),
        case(norm, "statistics in epoch 0, every 2", [0], every=2),
        case(norm, "stages with dropout, epoch 1", [1], kind="dropout", stages=three),
        case(again, "epochs 0, 1 and 2", [0, 1, 2]),
        case(again, "epochs 3, then 0 again", [3, 0]),
        case(refuses, "a name the model does not have", [0], stages=unknown),
        case(refuses, "epoch -1", [-1]),
    ]  # fmt: skip


def _observe_unfreeze(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    model = seeded(NETS[given["kind"]], given["net_seed"]).train()
    for name in given["frozen"]:
        model.get_parameter(name).requires_grad_(False)
    seen: dict[str, Any] = {}
    for epoch in given["epochs"]:
        names = candidate(model, epoch, given["stages"], given["every"])
        model.train()
        before = {k: v.clone() for k, v in model.state_dict().items()}
        descend(model, given["x"], given["y"], lr=0.5, steps=1)
        at = f"epoch {epoch}"
        if case.group.startswith("which"):
            seen[f"returned in {at}"] = ", ".join(map(str, names))
        seen[f"weights that moved in {at}"] = _moved(model, before, statistics=False)
        if not case.group.startswith("which"):
            seen[f"running statistics that moved in {at}"] = _moved(
                model, before, statistics=True
            )
            seen[f"in train mode in {at}"] = ", ".join(
                name
                for name, module in model.named_modules()
                if isinstance(module, nn.BatchNorm1d | nn.Dropout) and module.training
            )
    return seen


def _moved(model: nn.Module, before: Mapping[str, Tensor], *, statistics: bool) -> str:
    """For each part how many of its tensors moved, "head 2 of 2"."""
    lines = []
    for part in part_names(model):
        flags = [
            not torch.equal(value, before[name])
            for name, value in model.state_dict().items()
            if name.startswith(f"{part}.")
            and value.is_floating_point()
            and ("running_" in name) == statistics
        ]
        if flags:
            lines.append(f"{part} {sum(flags)} of {len(flags)}")
    return ", ".join(lines)


gradual_unfreeze = Probe(
    id="fine_tuning.gradual_unfreeze",
    title="Gradual unfreezing",
    points=4,
    minutes=20,
    level="medium",
    hints=(
        "How many stages learn in epoch 0, and what does a slice such as stages[-n:] "
        "give when n is larger than the list, or 0? What does a frozen BatchNorm do "
        "after model.train()?",
        "n = 1 + epoch // every stages learn, the last ones. First thaw everything, "
        "then freeze all but these, so that the result depends on the epoch alone.",
        "Check the names and the epoch (ValueError). Then: n = 1 + epoch // every; "
        "learning = stages[-n:]; unfreeze(model); freeze(model, except_for=learning); "
        "return learning.",
    ),
    make=_make_unfreeze,
    observe=_observe_unfreeze,
    forbid=("tlcourse.tuning.gradual_unfreeze",),
    forgeable=True,
)
