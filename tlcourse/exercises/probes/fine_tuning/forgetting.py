"""What is asked about elastic weight consolidation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probing import Candidate, Seen, by_role, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_FIXED = "source and Fisher stay fixed"
_BODY = {"conv.weight": (4, 1, 3, 3), "conv.bias": (4,), "fc.weight": (5, 4)}


def _make_ewc(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str,
        about: str,
        head: Mapping[str, tuple[int, ...]],
        source: Mapping[str, tuple[int, ...]] | None = None,
        fisher: Mapping[str, tuple[int, ...]] | None = None,
        **more: Any,
    ) -> Case:
        source = head if source is None else source
        fisher = source if fisher is None else fisher
        turned = more.pop("backwards", False)
        inputs: dict[str, Any] = {}
        for role, shapes in (("params", head), ("source", source), ("fisher", fisher)):
            entries = list({**_BODY, **shapes}.items())
            for name, shape in (
                entries[::-1] if turned and role != "params" else entries
            ):
                array = normal(rng, *shape)
                inputs[f"{role}[{name}]"] = array**2 if role == "fisher" else array
        inputs["strength"] = float(round(rng.uniform(1.5, 4), 3))
        return Case(group, about, inputs | more)

    penalty, new, refuses = "penalty and gradient", "a new head", "refuses bad input"
    three = {"head.weight": (3, 5), "head.bias": (3,)}
    ten = {"head.weight": (10, 5), "head.bias": (10,)}
    one = {"head.weight": (1, 5), "head.bias": (1,)}
    sealed = case(penalty, "the source task does not mind: Fisher 0", three).inputs
    zeros = {k: 0 * v for k, v in sealed.items() if k.startswith("fisher[")}
    return [
        case(penalty, "every parameter has a source value", three),
        case(penalty, "three parameters", {}),
        Case(penalty, "Fisher 0 everywhere", {**sealed, **zeros}),
        case(penalty, "strength 0", three, strength=0.0),
        case(penalty, "source and Fisher list their names in another order", three,
             backwards=True),
        case(new, "source and Fisher have no head", three, {}),
        case(new, "the source's head has 10 classes, the new one 3", three, ten),
        case(new, "the source's head has 1 output, the new one 3", three, one),
        case(new, "the source has the head, the Fisher does not", three, three, {}),
        case(new, "the Fisher has the head, the source does not", three, {}, three),
        case(new, "the head fits the source's, the Fisher's has 1 output", three, three,
             one),
        case(new, "source and Fisher have a part that is gone", {},
             {"old.weight": (2, 5)}),
        case(_FIXED, "both with requires_grad=True", three),
        case(refuses, "strength = -1", three, strength=-1.0),
    ]  # fmt: skip


def _observe_ewc(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    params, source, fisher = (by_role(given, r) for r in ("params", "source", "fisher"))
    fixed = [*source.values(), *fisher.values()]
    for tensor in [*params.values(), *(fixed if case.group == _FIXED else ())]:
        tensor.requires_grad_()
    names = [sorted(mapping) for mapping in (params, source, fisher)]
    penalty = candidate(params, source, fisher, given["strength"])
    after = [sorted(mapping) for mapping in (params, source, fisher)]
    seen: dict[str, Any] = {"penalty": penalty, "no name came or went": after == names}
    if case.group == _FIXED:
        seen["requires_grad as before"] = all(t.requires_grad for t in fixed)
    wanted = [t for t in [*params.values(), *fixed] if t.requires_grad]
    found: tuple[torch.Tensor | None, ...] = (None,) * len(wanted)
    if isinstance(penalty, torch.Tensor) and penalty.requires_grad:
        found = torch.autograd.grad(penalty.sum(), wanted, allow_unused=True)
    slopes = dict(zip(map(id, wanted), found, strict=True))
    for name, tensor in params.items():
        slope = slopes[id(tensor)]
        seen[f"gradient of {name}"] = 0 * tensor if slope is None else slope
    for role, mapping in (("source", source), ("Fisher", fisher)):
        into = [slopes.get(id(tensor)) for tensor in mapping.values()]
        flows = any(slope is not None and bool(slope.any()) for slope in into)
        seen[f"gradient into the {role}"] = flows
    return seen


ewc_penalty = Probe(
    id="fine_tuning.ewc_penalty",
    title="Elastic weight consolidation",
    points=3,
    minutes=15,
    level="medium",
    hints=(
        "Which parameters have an anchor and a Fisher value that fit, and which "
        "tensors may the gradient reach?",
        "strength / 2 * sum of F * (w - w0)**2 over parameters that are in source and "
        "fisher under the same name and with the same shape.",
        "total = 0; for name, w in params.items(): w0, f = source.get(name), "
        "fisher.get(name); if both are there and w0.shape == f.shape == w.shape: "
        "total = total + (f.detach() * (w - w0.detach())**2).sum(). Return strength / "
        "2 * total; a negative strength is a ValueError.",
    ),
    make=_make_ewc,
    observe=_observe_ewc,
    forbid=("tlcourse.losses.ewc_penalty", "tlcourse.losses.l2_sp"),
)
