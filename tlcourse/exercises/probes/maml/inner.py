"""What is asked about the inner loop: one step that can be differentiated."""

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
    Params,
    as_dict,
    data,
    draw,
    is_what_it_was,
    listed,
    rate,
    task_loss,
)
from tlcourse.exercises.probing import Candidate, Seen, by_role, tensors
from tlcourse.exercises.spec import Case, Probe

_VALUES, _SOME = "the parameters after the step", "only the adapted ones move"
_THROUGH, _TRACE = "the gradient through the step", "leaves what it was given"


def _make_inner(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str,
        about: str,
        shapes: Mapping[str, tuple[int, ...]],
        n: int,
        adapted: list[str] | None = None,
        dtype: str = "float32",
        **more: Any,
    ) -> Case:
        x, y = data(rng, shapes, (n,), dtype)
        inputs = draw(rng, "params", shapes, dtype) | draw(rng, "up", shapes, dtype)
        inputs |= {"x": x, "y": y, "inner_lr": rate(rng, 0.1, 0.2), "steps": 1}
        return Case(group, about, inputs | {"adapted": adapted} | more)

    head, bias = ["head.weight", "head.bias"], ["body.bias"]
    turned = ["head.bias", "body.weight"]  # not the order of the parameters
    unused = NETWORK | {"other_head.weight": (2, 4)}
    return [
        case(_VALUES, "linear regression, 5 samples", LINEAR, 5),
        case(_VALUES, "a network, 7 samples", NETWORK, 7),
        case(_VALUES, "a classifier in float64", CLASSIFIER, 6, dtype="float64"),
        case(_VALUES, "a parameter that the loss does not use", unused, 5),
        case(_SOME, "adapted: the head", NETWORK, 5, head),
        case(_SOME, "adapted: one bias", NETWORK, 5, bias),
        case(_SOME, "adapted: two, in another order", NETWORK, 6, turned),
        case(_SOME, "adapted: the head, two steps in a row", NETWORK, 5, head, steps=2),
        case(_THROUGH, "a quadratic loss", LINEAR, 5, dtype="float64"),
        case(_THROUGH, "a network", NETWORK, 7),
        case(_THROUGH, "a classifier, two steps in a row", CLASSIFIER, 6, steps=2),
        case(_TRACE, "gradients in .grad, a dict of parameters", NETWORK, 4),
        case(_TRACE, "the same, adapted: one bias", NETWORK, 5, bias),
    ]


def _observe_inner(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    start = by_role(given, "params")
    for p in start.values():
        p.requires_grad_()
        p.grad = torch.ones_like(p)
    before = {name: p.detach().clone() for name, p in start.items()}
    mine, after = dict(start), dict(start)
    for step in range(given["steps"]):
        args = (mine if step == 0 else after, given["x"], given["y"], given["inner_lr"])
        names = given["adapted"]
        some = {} if names is None else {"adapted": list(names)}
        after = candidate(task_loss, *args, **some)
        after = as_dict(after, "the result")
    seen: dict[str, Any] = {"names of the result": listed(after)}
    seen |= {f"{name} after": after[name] for name in start if name in after}
    if case.group in (_SOME, _THROUGH):
        seen |= _gradients(start, after, by_role(given, "up"))
    if case.group == _TRACE:
        kept = all(torch.equal(p.detach(), before[k]) for k, p in start.items())
        grads = all(p.grad is not None and (p.grad == 1).all() for p in start.values())
        seen |= is_what_it_was(mine, start, True)
        seen["the tensors are what they were"] = kept
        seen[".grad is what it was"] = bool(grads)
    return seen


def _gradients(start: Params, after: Params, up: Params) -> Seen:
    """The gradient of <up, after> with respect to the parameters before the step."""
    shared = [name for name in start if name in after]
    total = sum(((after[k] * up[k]).sum() for k in shared), torch.zeros(()))
    seen = {"the result has a graph": bool(total.requires_grad)}
    if not total.requires_grad:
        return seen
    frozen = [name for name, p in start.items() if not p.requires_grad]
    asked = {name: p for name, p in start.items() if name not in frozen}
    found = torch.autograd.grad(total, list(asked.values()), allow_unused=True)
    return seen | {
        f"gradient to {name}": torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(asked.items(), found, strict=True)
    }


inner_step = Probe(
    id="maml.inner_step",
    title="A step of SGD that can be differentiated",
    points=4,
    minutes=20,
    level="medium",
    hints=(
        "The new parameters are a function of the old ones, twice: directly, and by "
        "the gradient. Which of the two does a plain gradient leave out of the graph?",
        "theta' = theta - inner_lr * g(theta), with g part of the graph: its "
        "derivative is I - inner_lr * H. Nothing is changed in place.",
        "names = list(params if adapted is None else adapted); g = "
        "torch.autograd.grad(loss(params, x, y), [params[k] for k in names], "
        "create_graph=True, allow_unused=True); then a new dict with "
        "params[k] - inner_lr * g_k, or params[k] itself where g_k is None.",
    ),
    make=_make_inner,
    observe=_observe_inner,
    forbid=FORBID,
    limits=SLOW_IMPORT,
)
