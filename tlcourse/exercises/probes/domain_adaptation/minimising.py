"""What is asked about one step of TENT."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse.exercises.probes.domain_adaptation.common import drawn_by, leave_gradients
from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_STEP, _STAYS = "the step", "what must stay"
_LOGITS, _CERTAIN = "the predictions", "certain predictions"
_NEVER = -300.0  # a bias with which a class has probability 0 exactly


def _build() -> nn.Module:
    block = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU())
    return nn.Sequential(
        block, nn.Dropout(0.5), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)
    )


def _norms(model: nn.Module) -> list[nn.BatchNorm1d]:
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]


def _model(seed: int, scale: float, never: bool) -> nn.Module:
    """Two BatchNorm layers with statistics unlike the batch's; old gradients."""
    model = drawn_by(_build, seed)
    generator = torch.Generator().manual_seed(seed)
    for layer, momentum in zip(_norms(model), (0.03, 0.2), strict=True):
        for tensor in (layer.weight.data, layer.bias.data, layer.running_mean):
            tensor += torch.randn(tensor.shape, generator=generator) / 2
        layer.running_var += torch.rand(layer.running_var.shape, generator=generator)
        layer.momentum = momentum
    model[4].weight.data *= scale
    if never:
        model[4].bias.data[2] = _NEVER
    leave_gradients(model)
    model.eval()
    model[2].train()  # a part that its owner holds in train mode
    model[2].bias.requires_grad_(False)  # and another that is frozen
    return model


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, n: int, scale: float = 1.0, never: bool = False) -> Case:
        inputs = {"x": 2 * normal(rng, n, 4) + 1, "scale": scale, "never": never}
        inputs["lr"] = float(np.round(rng.uniform(0.3, 0.6), 2))
        inputs["net_seed"] = int(rng.integers(2**31))
        about = f"{n} samples, a class of probability 0" if never else f"{n} samples"
        return Case(group, about, inputs)

    return [
        case(_STEP, 8),
        case(_STEP, 21),
        case(_LOGITS, 8),
        case(_LOGITS, 21),
        case(_STAYS, 12),
        case(_CERTAIN, 10, 3000.0),
        case(_CERTAIN, 12, never=True),
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    model = _model(given["net_seed"], given["scale"], given["never"])
    norms = _norms(model)
    affine = {id(p) for m in norms for p in m.parameters()}
    rest = [p for p in model.parameters() if id(p) not in affine]
    old = [p.detach().clone() for p in rest]
    buffers, start, settings = _running(norms), _affine(norms), _settings(model)
    logits = candidate(model, given["x"], given["lr"])
    step = {"weights and biases of BatchNorm": _affine(norms)}
    if case.group == _LOGITS:
        return {"logits": logits}
    if case.group == _STEP or given["never"]:
        return step
    if case.group == _CERTAIN:
        finite = {"all finite": bool(torch.isfinite(_affine(norms)).all())}
        return finite | {"logits": logits}
    return {
        "BatchNorm moved": not torch.allclose(start, _affine(norms), atol=1e-6),
        "other parameters moved": not all(map(torch.equal, old, rest)),
        "running statistics moved": not torch.equal(buffers, _running(norms)),
        "running statistics are there": all(m.running_mean is not None for m in norms),
    } | {
        f"with another {name}": sum(map(operator.ne, before, after))
        for (name, before), after in zip(
            settings.items(), _settings(model).values(), strict=True
        )
    }


def _settings(model: nn.Module) -> dict[str, list]:
    """What a pass may change by the way, and must give back."""
    norms = _norms(model)
    return {
        "mode (modules)": [m.training for m in model.modules()],
        "requires_grad (parameters)": [p.requires_grad for p in model.parameters()],
        "momentum (BatchNorm layers)": [m.momentum for m in norms],
        "track_running_stats (layers)": [m.track_running_stats for m in norms],
    }


def _affine(norms: Sequence[nn.Module]) -> Tensor:
    return torch.cat([p.detach() for m in norms for p in (m.weight, m.bias)]).clone()


def _running(norms: Sequence[nn.Module]) -> Tensor:
    parts = [b for m in norms for b in (m.running_mean, m.running_var)]
    return torch.cat([torch.zeros(0) if b is None else b for b in parts]).clone()


entropy_minimization = Probe(
    id="domain_adaptation.entropy_minimization",
    title="One step of TENT",
    points=4,
    minutes=25,
    level="hard",
    hints=(
        "Which statistics does BatchNorm use for this batch, and which few numbers of "
        "the network may move? What is 0 * log(0)?",
        "H = -mean_i sum_k p_ik log p_ik, from log_softmax, with the gradient through "
        "both factors; weight and bias of each BatchNorm take one SGD step downhill.",
        "Keep modes and running statistics; eval(), then train() for the BatchNorm "
        "layers only; logits = model(x); log_p = log_softmax(logits, 1); loss = "
        "-(log_p.exp() * log_p).sum(1).mean(); grads = torch.autograd.grad(loss, "
        "affine); p -= lr * g under no_grad; put statistics and modes back; return "
        "logits.detach().",
    ),
    make=_make,
    observe=_observe,
    forbid=("tlcourse.adapt.tent", "tlcourse.adapt.entropy"),
    forgeable=True,
)
