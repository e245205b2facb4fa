"""What is asked about AdaBN."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse.exercises.probes.domain_adaptation.common import drawn_by, flat
from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_ONE, _DEEP = "one layer", "several layers"
_ORDER, _REST = "any order of the samples", "the rest stays"


class _Pool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class _Nested(nn.Module):
    """BatchNorm inside blocks, registered in another order than they are run."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(5, 3)
        self.late = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh())
        self.early = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.late(self.early(x)))


def _build(kind: str) -> nn.Module:
    if kind == "one":
        model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    elif kind == "table":
        model = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3),
        )  # fmt: skip
    elif kind == "blocks":
        model = _Nested()
    else:
        model = nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.3),
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
            _Pool(), nn.Linear(4, 3),
        )  # fmt: skip
    for module, momentum in zip(_norms(model), (0.03, 0.2), strict=False):
        for tensor in (module.weight, module.bias, module.running_mean):
            nn.init.normal_(tensor, 0.5, 0.5)
        nn.init.uniform_(module.running_var, 0.3, 1.0)
        module.momentum = momentum
    return model


def _norms(model: nn.Module) -> list[nn.Module]:
    kinds = nn.BatchNorm1d | nn.BatchNorm2d
    return [m for m in model.modules() if isinstance(m, kinds)]


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, kind: str, n: int) -> Case:
        shape = (n, 1, 6, 6) if kind == "pictures" else (n, 4)
        x = 1.5 * normal(rng, *shape) + 1
        # Sorted samples: a batch of neighbours is not like the whole.
        x = x[np.argsort(x.reshape(n, -1).mean(1))]
        inputs = {"kind": kind, "x": x, "net_seed": int(rng.integers(2**31))}
        return Case(group, about, inputs)

    return [
        case(_ONE, "6 samples, BatchNorm1d", "one", 6),
        case(_ONE, "50 samples, BatchNorm1d", "one", 50),
        case(_DEEP, "two layers on a table, dropout between", "table", 9),
        case(_DEEP, "two layers on pictures, dropout between", "pictures", 40),
        case(_DEEP, "two layers inside blocks", "blocks", 20),
        case(_ORDER, "150 sorted samples, and shuffled ones", "table", 150),
        case(_REST, "parameters, modes, momentum", "pictures", 12),
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    x = given["x"]
    model = drawn_by(lambda: _build(given["kind"]), given["net_seed"]).train()
    first = next(model.children())
    first.eval()  # parts that their owner holds in eval mode, and frozen
    next(first.parameters()).requires_grad_(False)
    before, settings = flat(model), _settings(model)
    candidate(model, x)
    statistics = _statistics(model)
    seen: dict[str, Any] = {"running statistics": statistics}
    if case.group == _ORDER:
        again = drawn_by(lambda: _build(given["kind"]), given["net_seed"]).train()
        generator = torch.Generator().manual_seed(0)
        candidate(again, x[torch.randperm(len(x), generator=generator)])
        gap = (_statistics(again) - statistics).abs().max()
        return seen | {"another order gives other statistics": bool(gap > 1e-3)}
    if case.group == _REST:
        moved = {"parameters moved": not torch.equal(before, flat(model))}
        other = {
            f"with another {name}": sum(map(operator.ne, old, new))
            for (name, old), new in zip(
                settings.items(), _settings(model).values(), strict=True
            )
        }
        with torch.no_grad():
            model.eval()(2 * x + 1)
        later = not torch.equal(statistics, _statistics(model))
        return seen | moved | other | {"a later pass moves the statistics": later}
    with torch.no_grad():
        return seen | {"outputs in eval mode": model.eval()(x)}


def _settings(model: nn.Module) -> dict[str, list]:
    """What a pass may change by the way, and must give back."""
    return {
        "mode (modules)": [m.training for m in model.modules()],
        "requires_grad (parameters)": [p.requires_grad for p in model.parameters()],
        "momentum (layers)": [m.momentum for m in _norms(model)],
    }


def _statistics(model: nn.Module) -> Tensor:
    """Running means and variances, one vector."""
    parts = [b for name, b in model.named_buffers() if "running" in name]
    return torch.cat([part.detach().flatten() for part in parts]).clone()


adabn = Probe(
    id="domain_adaptation.adabn",
    title="BatchNorm statistics of the target",
    points=4,
    minutes=25,
    level="medium",
    hints=(
        "A running average over batches forgets the first ones. Which single batch has "
        "exactly the statistics of all samples?",
        "All samples at once through the BatchNorm layers in train mode, everything "
        "else in eval mode. A layer's statistics are mean and variance (divided by the "
        "number of values N, not N - 1) of what enters it, per channel.",
        "Remember every module's mode; model.eval(); each BatchNorm gets train(); a "
        "forward pre-hook on each copies a.mean(dims) and a.var(dims, unbiased=False) "
        "of its input; one pass of all x under no_grad; then copy them into "
        "running_mean and running_var; remove the hooks, give the modes back.",
    ),
    make=_make,
    observe=_observe,
    forbid=("tlcourse.adapt.adapt_batchnorm",),
)
