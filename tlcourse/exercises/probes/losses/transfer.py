"""Chapter 02: what is asked about losses that look at a source model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probes.losses.common import has_gradient, loss_and_gradient
from tlcourse.exercises.probing import tensors
from tlcourse.exercises.spec import Case, Probe

_FIXED = "the source stays fixed"
_TEACHER = "the teacher stays fixed"
_BODY = {"conv.weight": (4, 1, 3, 3), "conv.bias": (4,), "fc.weight": (5, 4)}


def _make_l2_sp(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, head: dict, old_head: dict) -> Case:
        roles = {"params": {**_BODY, **head}, "source": {**_BODY, **old_head}}
        inputs: dict[str, Any] = {
            f"{role}[{name}]": rng.normal(0, 1, shape).astype(np.float32)
            for role, shapes in roles.items()
            for name, shape in shapes.items()
        }
        alpha, beta = (float(round(rng.uniform(0.2, 2), 3)) for _ in range(2))
        return Case(group, about, {**inputs, "alpha": alpha, "beta": beta + 2.5})

    new, three = "a new head", {"head.weight": (3, 5), "head.bias": (3,)}
    ten = {"head.weight": (10, 5), "head.bias": (10,)}
    one = {"head.weight": (1, 5), "head.bias": (1,)}
    turned, narrow = {"head.weight": (5, 3)}, {"head.weight": (3, 4)}
    adapter = {"adapter.weight": (3, 5)}
    return [
        case("pulled to the source", "every parameter has a source value", {}, {}),
        case("pulled to the source", "the source has one name more", {}, three),
        case("pulled to the source", "the source has this head, too", three, three),
        case(new, "the head has no source value", three, {}),
        case(new, "the new part is called adapter", adapter, three),
        case(new, "the source's head has 10 classes, the new one 3", three, ten),
        case(new, "the source's head has 1 output, the new one 3", three, one),
        case(new, "the source's head is 5 x 3, the new one 3 x 5", three, turned),
        case(new, "the source's head is 3 x 4, the new one 3 x 5", three, narrow),
        case(_FIXED, "source tensors with requires_grad=True", three, {}),
    ]


def _observe_l2_sp(candidate: Callable[..., Any], case: Case) -> Mapping[str, Any]:
    given = tensors(case)
    params, source = (_by_name(given, role) for role in ("params", "source"))
    for tensor in [
        *params.values(),
        *(source.values() if case.group == _FIXED else ()),
    ]:
        tensor.requires_grad_()
    mine, its = dict(params), dict(source)
    penalty = candidate(mine, its, given["alpha"], given["beta"])
    seen: dict[str, Any] = {"penalty": penalty}
    if case.group == _FIXED:
        seen["names in params afterwards"] = ", ".join(mine)
        seen["names in source afterwards"] = ", ".join(its)
        still = all(tensor.requires_grad for tensor in source.values())
        seen["requires_grad of the source afterwards"] = still
    if has_gradient(penalty):
        both = [*params.values(), *source.values()]
        wanted = [t for t in both if t.requires_grad]
        found = torch.autograd.grad(penalty.sum(), wanted, allow_unused=True)
        own = zip(params, found, strict=False)
        seen |= {f"gradient of {name}": gradient for name, gradient in own}
        into_source = [g for g in found[len(params) :] if g is not None]
        seen["gradient into the source"] = any(bool(g.any()) for g in into_source)
    return seen


def _by_name(given: Mapping[str, Any], role: str) -> dict[str, torch.Tensor]:
    start = f"{role}["
    return {k[len(start) : -1]: v for k, v in given.items() if k.startswith(start)}


l2_sp = Probe(
    id="losses.l2_sp",
    title="L2-SP: a penalty towards the starting point",
    points=4,
    minutes=20,
    level="medium",
    hints=(
        "Which parameters have a counterpart in the source, and how do you tell "
        "when a name is there but belongs to something else?",
        "alpha/2 * sum((w - w0)**2) over parameters with the same name and the same "
        "shape in the source, plus beta/2 * sum(w**2) over all others.",
        "total = 0; for name, w in params.items(): w0 = source.get(name); if w0 is "
        "not None and w0.shape == w.shape: total = total + alpha / 2 * "
        "((w - w0.detach()) ** 2).sum(); else: the same with beta and 0 for w0.",
    ),
    make=_make_l2_sp,
    observe=_observe_l2_sp,
    forbid=("tlcourse.losses.l2_sp",),
)


def _make_distillation(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, k: int, temperature: float, scale: float = 3.0
    ) -> Case:
        student, teacher = rng.normal(0, scale, (2, n, k)).astype(np.float32)
        inputs = {"student": student, "teacher": teacher, "temperature": temperature}
        return Case(group, about, inputs)

    softened = "other temperatures"
    return [
        case("temperature 1", "5 samples, 4 classes, T = 1", 5, 4, 1.0),
        case("temperature 1", "one sample, T = 1", 1, 6, 1.0),
        case("temperature 1", "logits near 500, T = 1", 4, 5, 1.0, 500.0),
        case(softened, "5 samples, 4 classes, T = 4", 5, 4, 4.0),
        case(softened, "7 samples, 3 classes, T = 20", 7, 3, 20.0),
        case(softened, "logits near 500, T = 2", 4, 5, 2.0, 500.0),
        case(_TEACHER, "teacher logits with requires_grad=True, T = 3", 4, 5, 3.0),
        case("refuses bad input", "T = 0", 3, 4, 0.0),
        case("refuses bad input", "T = -2", 3, 4, -2.0),
    ]


def _observe_distillation(
    candidate: Callable[..., Any], case: Case
) -> Mapping[str, Any]:
    names = "student", "teacher", "temperature"
    if case.group != _TEACHER:
        return loss_and_gradient(candidate, case, *names)
    student, teacher, temperature = (tensors(case)[name] for name in names)
    both = student.requires_grad_(), teacher.requires_grad_()
    loss = candidate(*both, temperature)
    seen = {"loss": loss, "requires_grad of the teacher": teacher.requires_grad}
    if has_gradient(loss):
        wanted = [t for t in both if t.requires_grad]
        mine, *its = torch.autograd.grad(loss.sum(), wanted, allow_unused=True)
        seen["gradient"] = mine
        seen["gradient into the teacher"] = any(g is not None and g.any() for g in its)
    return seen


distillation_loss = Probe(
    id="losses.distillation_loss",
    title="Distillation with a temperature",
    points=4,
    minutes=20,
    level="medium",
    hints=(
        "Which of the two distributions is the truth here, and what happens to the "
        "gradient's size when both are flattened by a large T?",
        "T^2 * mean_i sum_k p_k (log p_k - log q_k) with p = softmax(teacher / T), "
        "q = softmax(student / T).",
        "Check temperature > 0 (ValueError). Then: "
        "log_q = (student / T).log_softmax(1); "
        "log_p = (teacher.detach() / T).log_softmax(1); "
        "kl = (log_p.exp() * (log_p - log_q)).sum(1); return T**2 * kl.mean().",
    ),
    make=_make_distillation,
    observe=_observe_distillation,
    forbid=(
        "tlcourse.losses.distillation_loss",
        "torch.nn.functional.kl_div",
        "torch.kl_div",
        "torch.distributions.kl_divergence",
    ),
)
