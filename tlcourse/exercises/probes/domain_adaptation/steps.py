"""What is asked about one training step: adversarial, and with an MMD."""

from __future__ import annotations

import numpy as np
from torch import nn

from tlcourse.exercises.probes.domain_adaptation.common import (
    drawn_by,
    flat,
    leave_gradients,
)
from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_D, _H, _K = 5, 4, 3  # inputs, features, classes
_BODY, _HEAD = "the features' step", "the classifier's step"
_JUDGE, _LOSS = "the discriminator's step", "the losses"


def _nets(seed: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A body, a head and a discriminator, with gradients left over."""

    def build() -> nn.Module:
        body = nn.Sequential(nn.Linear(_D, 6), nn.Tanh(), nn.Linear(6, _H))
        judge = nn.Sequential(nn.Linear(_H, 6), nn.Tanh(), nn.Linear(6, 1))
        return nn.ModuleList([body, nn.Linear(_H, _K), judge])

    body, head, judge = drawn_by(build, seed)
    leave_gradients(body, head, judge)
    return body, head, judge


def _inputs(rng: np.random.Generator, n: int, m: int, strength: float) -> dict:
    return {
        "x_source": normal(rng, n, _D),
        "y_source": rng.permutation(np.arange(n) % _K),
        "x_target": 1.5 * normal(rng, m, _D) + 0.7,
        "strength": strength,
        "lr": float(np.round(rng.uniform(0.2, 0.5), 2)),
        "net_seed": int(rng.integers(2**31)),
    }


def _make_dann(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, n: int, m: int, strength: float) -> Case:
        about = f"{n} source and {m} target samples, strength {strength}"
        return Case(group, about, _inputs(rng, n, m, strength))

    return [
        case(_HEAD, 6, 6, 0.7),
        case(_HEAD, 9, 4, 2.0),
        case(_JUDGE, 6, 6, 0.7),
        case(_JUDGE, 9, 4, 2.0),
        case(_BODY, 6, 6, 0.7),
        case(_BODY, 4, 9, 2.0),
        case(_BODY, 5, 5, 0.0),
        case(_LOSS, 9, 4, 0.7),
    ]


def _observe_dann(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    body, head, judge = _nets(given["net_seed"])
    returned = candidate(
        body, head, judge, given["x_source"], given["y_source"], given["x_target"],
        given["strength"], given["lr"],
    )  # fmt: skip
    if case.group == _LOSS:
        task, domain = returned
        return {"task loss": float(task), "domain loss": float(domain)}
    net, name = {
        _BODY: (body, "body"),
        _HEAD: (head, "head"),
        _JUDGE: (judge, "discriminator"),
    }[case.group]
    return {f"{name} after the step": flat(net)}


dann_step = Probe(
    id="domain_adaptation.dann_step",
    title="One step of adversarial training",
    points=4,
    minutes=25,
    level="hard",
    hints=(
        "Three networks, three wishes. Which network wants to lower which loss, and "
        "which one wants to raise the domain loss?",
        "One loss, task + domain, with the reversal between the features and the "
        "discriminator: it changes the sign for the body only, and weighs it with "
        "strength. No minus in front of the domain loss.",
        "z_s, z_t = body(x_source), body(x_target); d_s = "
        "discriminator(grad_reverse(z_s, strength)) and so on; domain = (BCE(d_s, 1) + "
        "BCE(d_t, 0)) / 2; set every p.grad to None, (task + domain).backward(), and "
        "p -= lr * p.grad under no_grad for all three.",
    ),
    make=_make_dann,
    observe=_observe_dann,
    forbid=("tlcourse.adapt.run", "tlcourse.adapt.training.train"),
)


def _make_dan(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, n: int, m: int, strength: float) -> Case:
        about = f"{n} source and {m} target samples, strength {strength}"
        bandwidth = float(np.round(rng.uniform(0.8, 1.6), 2))
        inputs = _inputs(rng, n, m, strength) | {"bandwidth": bandwidth}
        return Case(group, about, inputs)

    return [
        case(_HEAD, 7, 7, 3.0),
        case(_HEAD, 9, 5, 8.0),
        case(_BODY, 7, 7, 3.0),
        case(_BODY, 9, 5, 8.0),
        case(_BODY, 5, 9, 0.0),
        case(_LOSS, 6, 8, 3.0),
    ]


def _observe_dan(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    body, head, _ = _nets(given["net_seed"])
    returned = candidate(
        body, head, given["x_source"], given["y_source"], given["x_target"],
        given["strength"], given["bandwidth"], given["lr"],
    )  # fmt: skip
    if case.group == _LOSS:
        task, distance = returned
        return {"task loss": float(task), "MMD^2": float(distance)}
    net, name = (body, "body") if case.group == _BODY else (head, "head")
    return {f"{name} after the step": flat(net)}


dan_step = Probe(
    id="domain_adaptation.dan_step",
    title="One step with an MMD",
    points=3,
    minutes=20,
    level="medium",
    hints=(
        "Between which two sets of vectors is the distance, and which networks did "
        "they come through?",
        "task + strength * MMD^2(body(x_source), body(x_target)); the gradient flows "
        "through both sides into the body. The head learns from the task alone.",
        "z_s, z_t = body(x_source), body(x_target); distance = shift.mmd2(z_s, z_t, "
        "bandwidth); set every p.grad to None, (F.cross_entropy(head(z_s), y_source) + "
        "strength * distance).backward(), p -= lr * p.grad under no_grad.",
    ),
    make=_make_dan,
    observe=_observe_dan,
    forbid=("tlcourse.adapt.run", "tlcourse.adapt.training.train"),
)
