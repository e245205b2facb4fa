"""What is asked about gradient reversal and its schedule."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tlcourse.exercises.probes.domain_adaptation.common import drawn_by
from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_BOTH, _FORMS = "forward and backward", "other shapes and types"
_OTHERS, _TWO = "other gradients stay", "two reversals, one pass"


def _make_reverse(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, shape: tuple[int, ...], strength: float, **more: object
    ) -> Case:
        inputs = {
            "z": normal(rng, *shape),
            "weight": normal(rng, *shape),
            "strength": strength,
            "net_seed": int(rng.integers(2**31)),
            "learns": True,
        }
        return Case(group, about, inputs | more)

    some = float(np.round(rng.uniform(1.5, 3), 2))
    double = {"z": rng.normal(0, 1, (3, 2)), "weight": rng.normal(0, 1, (3, 2))}
    return [
        case(_BOTH, f"strength {some}", (5, 4), some),
        case(_BOTH, "strength 0.25", (1, 3), 0.25),
        case(_BOTH, "strength 0", (4, 3), 0.0),
        case(_FORMS, "float64", (3, 2), 0.5, **double),
        case(_FORMS, "a map (b, c, h, w)", (2, 3, 4, 4), some),
        case(_FORMS, "features that need no gradient", (4, 2), some, learns=False),
        case(_OTHERS, "a discriminator behind, a classifier beside", (6, 4), some),
        case(_OTHERS, "the same with strength 0.25", (6, 4), 0.25),
        case(_OTHERS, _TWO, (4, 3), some),
    ]


def _observe_reverse(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    strength = given["strength"]
    if case.about == _TWO:
        return _twice(candidate, given["z"], given["weight"], strength)
    if case.group == _OTHERS:
        return _beside(candidate, given["z"], given["net_seed"], strength)
    z = given["z"].clone().requires_grad_(given["learns"])
    before = z.detach().clone()
    out = candidate(z, strength)
    changed = not torch.equal(z.detach(), before) or z.requires_grad != given["learns"]
    seen = {"output": out, "z or its requires_grad changed": changed}
    if not given["learns"]:
        return seen
    if out.requires_grad:
        (out.sin() * given["weight"]).sum().backward()
    return seen | {"gradient": torch.zeros_like(z) if z.grad is None else z.grad}


def _twice(
    candidate: Candidate, z: torch.Tensor, other: torch.Tensor, strength: float
) -> Seen:
    """Two reversals of unequal strength and a plain summand, one backward pass."""
    leaves = [t.clone().requires_grad_() for t in (z, other, z + other)]
    first, second, plain = (leaf * 1.0 for leaf in leaves)
    out = candidate(first, strength) + candidate(second, 0.25) + plain
    out.sin().sum().backward()
    names = ("first", "second", "plain summand")
    return {
        f"gradient of the {name}": torch.zeros_like(z) if t.grad is None else t.grad
        for name, t in zip(names, leaves, strict=True)
    }


def _beside(candidate: Candidate, x: torch.Tensor, seed: int, strength: float) -> Seen:
    """Gradients of a body, a discriminator behind the reversal, a classifier beside."""
    nets = drawn_by(lambda: nn.ModuleList(nn.Linear(4, k) for k in (4, 1, 3)), seed)
    body, discriminator, classifier = nets
    z = body(x).tanh()
    behind = discriminator(candidate(z, strength)).square().mean()
    beside = classifier(z).square().mean()
    (behind + beside).backward()
    zero = torch.zeros(1)
    return {
        f"gradient of the {name}": zero if p.weight.grad is None else p.weight.grad
        for name, p in zip(("body", "discriminator", "classifier"), nets, strict=True)
    }


grad_reverse = Probe(
    id="domain_adaptation.grad_reverse",
    title="Reverse the gradient",
    points=3,
    minutes=15,
    level="medium",
    hints=(
        "Which function is the identity when it is evaluated and has another "
        "derivative? Autograd lets you write both halves by hand.",
        "Forward: z. Backward: the incoming gradient g becomes -strength * g for z, "
        "and None for the strength.",
        "class R(torch.autograd.Function) with two static methods: forward(ctx, z, s) "
        "keeps ctx.s = s and returns z.view_as(z); backward(ctx, g) returns "
        "-ctx.s * g, None. Call R.apply(z, strength).",
    ),
    make=_make_reverse,
    observe=_observe_reverse,
    forbid=(
        "tlcourse.adapt.grad_reverse",
        "tlcourse.adapt.reversal.GradReverse",
    ),
)


_VALUES, _REFUSES = "the schedule", "refuses"


def _make_lambda(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, progress: float, slope: float | None) -> Case:
        return Case(group, about, {"progress": float(progress), "slope": slope})

    p, slope = np.round(rng.uniform(0.1, 0.4), 3), float(np.round(rng.uniform(2, 8), 2))
    return [
        case(_VALUES, "the start", 0.0, None),
        case(_VALUES, f"p = {p}, the usual slope", p, None),
        case(_VALUES, "the end", 1.0, None),
        case("another slope", f"p = {p}, slope {slope}", p, slope),
        case("another slope", "p = 0.9, slope 1", 0.9, 1.0),
        case("another slope", "p = 1, slope 2,000", 1.0, 2000.0),
        case(_REFUSES, "a step number, 25", 25.0, None),
        case(_REFUSES, "progress -0.01", -0.01, None),
    ]


def _observe_lambda(candidate: Candidate, case: Case) -> Seen:
    progress, slope = case.inputs["progress"], case.inputs["slope"]
    args = (progress,) if slope is None else (progress, slope)
    return {"lambda": float(candidate(*args))}


dann_lambda = Probe(
    id="domain_adaptation.dann_lambda",
    title="The schedule of the reversal",
    points=2,
    minutes=8,
    level="easy",
    hints=(
        "What should the weight be at the very start, when the discriminator knows "
        "nothing yet? And at the end?",
        "2 / (1 + exp(-slope * p)) - 1, with p the share of the training that is done.",
        "if not 0 <= progress <= 1: raise ValueError(...); "
        "return 2 / (1 + math.exp(-slope * progress)) - 1",
    ),
    make=_make_lambda,
    observe=_observe_lambda,
    forbid=("tlcourse.adapt.dann_lambda",),
    forgeable=True,
)
