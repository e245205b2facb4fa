"""Meta-training with five mistakes to find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probes.maml.common import (
    CLASSIFIER,
    FORBID,
    LINEAR,
    NETWORK,
    SLOW_IMPORT,
    as_dict,
    as_pair,
    data,
    draw,
    is_what_it_was,
    listed,
    rate,
    task_loss,
)
from tlcourse.exercises.probing import Candidate, Seen, by_role, tensors
from tlcourse.exercises.spec import Case, Probe

_VALUES, _ONE = "the losses that are reported", "one task, one step"
_TASKS, _INNER, _OUTER = "several tasks", "several inner steps", "several outer steps"
_TRACE = "leaves params as they are"


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str,
        tasks: int,
        steps: int = 1,
        rounds: int = 1,
        shapes: Mapping[str, tuple[int, ...]] = LINEAR,
    ) -> Case:
        dtype = "float64" if shapes is LINEAR else "float32"
        inputs: dict[str, Any] = draw(rng, "params", shapes, dtype)
        for r in range(rounds):
            for name, n in (("support", 5), ("query", 7)):
                x, y = data(rng, shapes, (tasks, n), dtype)
                inputs |= {f"{name} x[{r}]": x, f"{name} y[{r}]": y}
        inputs |= {"inner_lr": rate(rng, 0.1, 0.2), "outer_lr": rate(rng, 0.1, 0.3)}
        about = f"{tasks} task(s), {steps} inner step(s), {rounds} outer step(s)"
        return Case(group, about, inputs | {"steps": steps, "rounds": rounds})

    return [
        case(_VALUES, 1),
        case(_VALUES, 4),
        case(_ONE, 1),
        case(_ONE, 1, shapes=NETWORK),
        case(_TASKS, 3),
        case(_TASKS, 4, shapes=CLASSIFIER),
        case(_INNER, 1, 3),
        case(_INNER, 1, 2, shapes=NETWORK),
        case(_OUTER, 1, rounds=3),
        case(_OUTER, 1, rounds=2, shapes=NETWORK),
        case(_OUTER, 2, steps=2, rounds=3, shapes=NETWORK),
        case(_TRACE, 2, rounds=2, shapes=NETWORK),
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    params = by_role(given, "params")
    mine = dict(params)

    def batch(name: str, r: int) -> tuple[torch.Tensor, torch.Tensor]:
        return given[f"{name} x[{r}]"], given[f"{name} y[{r}]"]

    batches = [(batch("support", r), batch("query", r)) for r in range(given["rounds"])]
    rates = given["inner_lr"], given["outer_lr"]
    result = candidate(task_loss, mine, batches, *rates, given["steps"])
    after, values = as_pair(result, "params, losses")
    seen = {"query losses": [float(value) for value in values]}
    if case.group == _VALUES:
        return seen
    seen["names of the result"] = listed(as_dict(after, "the first result"))
    seen |= {f"{k} after training": after[k] for k in params if k in after}
    if case.group != _TRACE:
        return seen
    kept = is_what_it_was(mine, params, False)
    return seen | {f"params: {what}": held for what, held in kept.items()}


bug_hunt = Probe(
    id="maml.bug_hunt",
    title="Bug hunt: meta-training",
    points=5,
    minutes=30,
    level="hard",
    hints=(
        "For one task and one step, write down which data each loss uses and what is "
        "in the graph. Then ask what is left over from the task, the inner step and "
        "the outer step before. There are five mistakes.",
        "Each task starts from the start and adapts on its support by gradients at its "
        "current parameters, in the graph; the outer loss is on the query; each outer "
        "step has a gradient of its own.",
        "Look at: where `fast` is made; by what, and with which option, autograd.grad "
        "differentiates; x_s and y_s in the line of `total`; and p.grad, which "
        "backward() adds to.",
    ),
    make=_make,
    observe=_observe,
    forbid=FORBID,
    limits=SLOW_IMPORT,
)
