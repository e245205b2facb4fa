"""What is asked in the bug hunt: a fine-tuning script."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse.exercises.probes.fine_tuning.common import Row, seeded, stage
from tlcourse.exercises.probing import Candidate, Seen, tensors
from tlcourse.exercises.spec import Case, Limits, Probe

_D, _CLASSES, _EPOCHS, _BATCH = 8, 4, 4, 8
_MARK = 1e-3  # what the probe's augmentation leaves in the last column
IDLE = (1, 4, 9, 10)  # steps of rate 0, where the rates are asked about
RATE = "a rate for every step"
GROUPS = (
    "the new head and the body learn",
    "the stem is frozen",
    RATE,
    "clean validation",
    "the best weights",
)


class _Watch(nn.Module):
    """Notes at every forward pass what the network is and what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []
        self.model: list[nn.Module] = []  # in a list: not a submodule

    def forward(self, x: Tensor) -> Tensor:
        """The last column, where the mark is, is hidden from the network."""
        model = self.model[0]
        marked = (x[:, -1] > _MARK / 2).tolist()
        modes = model.training or model.body[1].training
        self.calls.append({
            # A step may be taken in eval mode, by mistake: augmented, with a gradient.
            "training": torch.is_grad_enabled() and (modes or any(marked)),
            "body training": model.body[1].training,
            "stem training": model.stem[1].training,
            "marked": marked,
            "rows": x[:, 0].tolist(),
            "state": {k: v.clone() for k, v in model.state_dict().items()},
        })  # fmt: skip
        return x[:, :-1]


def _network(seed: int) -> Row:
    model = seeded(
        lambda: Row(
            watch=_Watch(), stem=stage(_D, 10), body=stage(10, 8), head=nn.Linear(8, 6)
        ),
        seed,
    )
    model.watch.model.append(model)
    return model


def _make_hunt(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str) -> Case:
        centres = 3 * np.linalg.qr(rng.normal(size=(_D, _D)))[0][:_CLASSES]

        def samples(n: int) -> tuple[np.ndarray, np.ndarray]:
            y = rng.permutation(np.arange(n) % _CLASSES)
            x = centres[y] + 0.5 * rng.normal(size=(n, _D))
            return np.pad(x, ((0, 0), (0, 1))).astype(np.float32), y

        (x, y), (x_val, y_val) = samples(28), samples(40)
        inputs = {"x": x, "y": y, "x_val": x_val, "y_val": y_val}
        return Case(group, group, {**inputs, "net_seed": int(rng.integers(2**31))})

    return [case(group) for group in GROUPS]


def _observe_hunt(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    model, asked = _network(given["net_seed"]), []
    total = _EPOCHS * -(-len(given["x"]) // _BATCH)

    def rate(step: int) -> float:
        """Step 3 and the last epoch climb instead of descending."""
        asked.append(int(step))
        if case.group == RATE:
            return 0.0 if step in IDLE else 0.5
        harmful = step == _EPOCHS - 1 or step >= total * (_EPOCHS - 1) // _EPOCHS
        return -3.0 if harmful else 0.5

    def augment(x: Tensor) -> Tensor:
        x = x + 0.1 * torch.randn_like(x)
        x[:, -1] = _MARK
        return x

    stem = {k: v.clone() for k, v in model.stem.state_dict().items()}
    accuracy = candidate(
        model, *(given[n] for n in ("x", "y", "x_val", "y_val")), _CLASSES, _EPOCHS,
        _BATCH, rate, augment,
    )  # fmt: skip
    calls, model.watch.calls = model.watch.calls, []
    val = given["x_val"], given["y_val"]
    steps = [c for c in calls if c["training"]]
    looks = [c for c in calls if not c["training"]]
    return {
        **_what_learnt([c["state"] for c in steps]),
        "outputs": model.head.out_features,
        "body always in train mode": all(c["body training"] for c in steps),
        "stem moved": not _same(stem, model.stem.state_dict()),
        "stem in train mode": any(c["stem training"] for c in calls),
        "steps asked": list(dict.fromkeys(asked)),
        "steps": total,
        "marked in training": _all(steps, "marked"),
        "rows in training": _all(steps, "rows"),
        "marked in validation": _all(looks, "marked"),
        "rows in validation": _all(looks, "rows"),
        "validation in train mode": any(c["body training"] for c in looks),
        "reported": float(accuracy),
        "accuracy": _accuracy(model, *val),
        "best": _best(model, looks, *val),
    }


def _all(calls: list[dict[str, Any]], name: str) -> list[Any]:
    return [value for call in calls for value in call[name]]


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def _what_learnt(states: list[dict[str, Tensor]]) -> Seen:
    """Whether head and body move at all, and which single steps move anything."""

    def moved(part: str, old: dict[str, Tensor], new: dict[str, Tensor]) -> bool:
        names = [n for n in old if n.startswith(part) and "running_" not in n]
        return any(not torch.equal(old[n], new[n]) for n in names if "num_" not in n)

    ends = (states[0], states[-1]) if states else ({}, {})
    pairs = zip(states, states[1:], strict=False)
    return {
        "head moved": moved("head.", *ends),
        "body moved": moved("body.", *ends),
        "steps that moved": [moved("body.", *pair) for pair in pairs],
    }


def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


def _best(model: nn.Module, calls: list[dict[str, Any]], x: Tensor, y: Tensor) -> float:
    """The best validation accuracy of all states that were evaluated."""
    watched = copy.deepcopy(model)
    watched.watch.model[0] = watched
    found = [0.0]
    for call in calls:
        watched.load_state_dict(call["state"])
        found.append(_accuracy(watched, x, y))
    return max(found)


bug_hunt = Probe(
    id="fine_tuning.bug_hunt",
    title="Bug hunt: a fine-tuning script",
    points=5,
    minutes=35,
    level="hard",
    hints=(
        "Follow five things through the script: the parameters that the optimiser "
        "holds, the mode of the stem, the argument of rate, the data of the "
        "validation, and the memory of `best`.",
        "An optimiser trains the tensors it was given. model.train() reaches every "
        "part. rate counts optimiser steps. A validation picture is never changed. "
        "A state_dict is a view of the weights, not a copy.",
        "Replace the head before SGD(...) is made; after model.train() call "
        "model.stem.eval(); count the steps and pass that number to rate; evaluate "
        "x_val itself; best = copy.deepcopy(model.state_dict()).",
    ),
    make=_make_hunt,
    observe=_observe_hunt,
    forbid=("tlcourse.training.fit", "tlcourse.tuning.lp_ft"),
    kind="program",
    limits=Limits(seconds=20.0),  # whoever takes torch.optim loads it first
    forgeable=True,
)
