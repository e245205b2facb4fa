"""What is asked about the outer gradient: MAML and its first-order form."""

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
    NORMED,
    SLOW_IMPORT,
    Params,
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

_VALUE, _ONE, _SEVERAL = "the query loss", "one inner step", "several inner steps"
_NETS, _TRACE = "networks", "takes and leaves params as they are"


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str,
        tasks: int,
        steps: int | None = None,
        shapes: Mapping[str, tuple[int, ...]] = LINEAR,
        learns: bool = True,
    ) -> Case:
        dtype = "float64" if shapes in (LINEAR, NORMED) else "float32"
        support = data(rng, shapes, (tasks, 5), dtype)
        query = data(rng, shapes, (tasks, 7), dtype)
        inputs: dict[str, Any] = draw(rng, "params", shapes, dtype)
        for name, (x, y) in (("support", support), ("query", query)):
            inputs |= {f"{name} x": x, f"{name} y": y}
        inputs |= {"inner_lr": rate(rng, 0.1, 0.2), "steps": steps, "learns": learns}
        what = {1: "linear regression", 3: "a classifier"}[shapes["head.weight"][0]]
        what = "a network" if shapes is NETWORK else what
        what = "a network with a LayerNorm" if shapes is NORMED else what
        taken = 1 if steps is None else steps
        about = f"{what}, {tasks} task(s), {taken} inner step(s)"
        about += "" if learns else ", params without requires_grad"
        return Case(group, about, inputs)

    return [
        case(_VALUE, 3),
        case(_VALUE, 4, 2, NETWORK),
        case(_ONE, 1),
        case(_ONE, 4),
        case(_ONE, 3, 1),
        case(_SEVERAL, 1, 3),
        case(_SEVERAL, 3, 2),
        case(_SEVERAL, 2, 0),
        case(_NETS, 3, 1, NETWORK),
        case(_NETS, 2, 3, CLASSIFIER),
        case(_NETS, 3, 2, NORMED),
        case(_TRACE, 3, 2, NETWORK),
        case(_TRACE, 2, 1, NETWORK, learns=False),
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    params = by_role(given, "params")
    if given["learns"]:
        for p in params.values():
            p.requires_grad_()
            p.grad = torch.ones_like(p)
    tasks = ((given[f"{d} x"], given[f"{d} y"]) for d in ("support", "query"))
    mine = dict(params)
    steps = () if given["steps"] is None else (given["steps"],)
    result = candidate(task_loss, mine, *tasks, given["inner_lr"], *steps)
    grads, value = as_pair(result, "grads, value")
    grads = as_dict(grads, "grads")
    if case.group == _VALUE:
        return {"value": float(value)}
    seen = {"names in grads": listed(grads)}
    seen |= {f"gradient of {k}": grads[k] for k in params if k in grads}
    return seen | (_kept(params, mine, given) if case.group == _TRACE else {})


def _kept(params: Params, mine: Params, given: Mapping[str, Any]) -> Seen:
    """Whether the dict, requires_grad and .grad are what they were."""
    old = 1.0 if given["learns"] else None
    grads = all(
        p.grad is None
        if old is None
        else p.grad is not None and bool((p.grad == 1).all())
        for p in params.values()
    )
    kept = is_what_it_was(mine, params, given["learns"])
    return kept | {".grad is what it was": grads}


maml_grad = Probe(
    id="maml.maml_grad",
    title="The gradient of MAML",
    points=5,
    minutes=30,
    level="hard",
    hints=(
        "The query loss is a function of the start through the inner steps. What must "
        "the inner gradient still have, that a plain one has not?",
        "Per task: theta_0 = theta; theta_(j+1) = theta_j - inner_lr * grad of the "
        "support loss at theta_j, in the graph; the value is the mean over tasks of "
        "the query loss at theta_steps; differentiate that by theta.",
        "start = {k: p.detach().requires_grad_() ...}; for each task fast = start; "
        "`steps` times g = autograd.grad(loss(fast, x_s, y_s), list(fast.values()), "
        "create_graph=True) and a new fast; total = total + loss(fast, x_q, y_q) / T. "
        "At last autograd.grad(total, list(start.values())).",
    ),
    make=_make,
    observe=_observe,
    forbid=FORBID,
    limits=SLOW_IMPORT,
)

fomaml_grad = Probe(
    id="maml.fomaml_grad",
    title="The first-order gradient",
    points=3,
    minutes=15,
    level="medium",
    hints=(
        "If the inner gradients count as constants, what is the derivative of the "
        "adapted parameters by the start?",
        "The identity. So: adapt each task, then take the gradient of its query loss "
        "by the adapted parameters, at the adapted parameters; mean over tasks.",
        "Per task: fast = {k: p.detach().requires_grad_() ...}; each step g = "
        "autograd.grad(loss(fast, x_s, y_s), list(fast.values())) and fast = "
        "{k: (p - inner_lr * g_k).detach().requires_grad_()}; then "
        "autograd.grad(loss(fast, x_q, y_q), list(fast.values())), added up, over T.",
    ),
    make=_make,
    observe=_observe,
    forbid=FORBID,
    limits=SLOW_IMPORT,
)
