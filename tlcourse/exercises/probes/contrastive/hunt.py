"""A SimCLR training loop with five mistakes to find."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_D, _H, _OUT = 6, 5, 4  # inputs, features, projections
_VIEWS, _LENGTH = "new views in every epoch", "lengths do not count"
_TEMPERATURE, _NEGATIVES = "the temperature", "the negatives"
_FEATURES, _RUN = "the features", "a whole run"


class _Spy(nn.Module):
    """A backbone that notes the number and the draws of each sample it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(_D, 7), nn.Tanh(), nn.Linear(7, _H))
        self.seen: list[tuple[int, float, float]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen += zip(_numbers(x), x[:, 1].tolist(), x[:, 2].tolist(), strict=True)
        return self.layers(x)


class _Projector(nn.Module):
    """A linear layer whose results are ``scale`` times as long, or of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(_H, _OUT)
        self.scale: float | None = None

    def forward(self, h: Tensor) -> Tensor:
        z = self.linear(h)
        return F.normalize(z, dim=1) if self.scale is None else self.scale * z


def _nets(seed: int, bias: float) -> nn.ModuleList:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nets = nn.ModuleList([_Spy(), _Projector()])
    nets[1].linear.bias.data += bias  # all projections point nearly one way
    return nets


def _unchanged(x: Tensor, generator: torch.Generator) -> Tensor:
    return x.clone()


def _marked(x: Tensor, generator: torch.Generator) -> Tensor:
    """Two draws in [1, 2) for each sample, in the place of two of its numbers."""
    x = x.clone()
    x[:, 1:3] = 1 + torch.rand(len(x), 2, generator=generator)
    return x


class _Alternating:
    """A sample as it is when it comes for the first time, then turned, and so on.

    Both views are known then, whatever draws them first, and they differ.
    """

    def __init__(self) -> None:
        self.visits: Counter[int] = Counter()

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        x = x.clone()
        for row, number in zip(x, _numbers(x), strict=True):
            if self.visits[number] % 2:
                row[2:] = row[2:].flip(0)
            self.visits[number] += 1
        return x


def _numbers(x: Tensor) -> list[int]:
    """Which sample each row shows: it stands in the first column."""
    return x[:, 0].detach().mul(100).round().long().tolist()


def _make_hunt(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, temperature: float, lr: float, **more: Any
    ) -> Case:
        inputs = {
            "x": normal(rng, n, _D),
            "epochs": 1,
            "batch_size": n,
            "temperature": temperature,
            "lr": lr,
            "seed": int(rng.integers(2**31)),
            "bias": 0.0,
        }
        inputs["x"][:, 0] = np.arange(n) / 100  # known by its first number
        inputs["x"][:, 1] = 0.0
        return Case(group, about, inputs | more)

    batches = {"epochs": 4, "batch_size": 4}
    return [
        case(_VIEWS, "12 samples, 3 batches, 4 epochs", 12, 0.5, 0.01, **batches),
        case(_LENGTH, "projections three times as long", 8, 1.0, 0.3, epochs=2),
        case(_TEMPERATURE, "temperature 0.02", 7, 0.02, 0.05, bias=4.0),
        case(_TEMPERATURE, "temperature 0.03", 5, 0.03, 0.05, bias=4.0),
        case(_NEGATIVES, "8 samples, temperature 1", 8, 1.0, 1.0, epochs=2),
        case(_NEGATIVES, "3 samples, temperature 1", 3, 1.0, 1.0, epochs=2),
        case(_FEATURES, "the learning rate is 0", 9, 0.5, 0.0),
        case(_FEATURES, "after 3 epochs", 9, 0.5, 0.5, epochs=3),
        case(_RUN, "6 samples, 3 epochs", 6, 0.4, 0.2, epochs=3),
    ]


def _observe_hunt(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    names = ("epochs", "batch_size", "temperature", "lr")

    def run(scale: float | None, augment: Candidate) -> tuple[nn.ModuleList, Any]:
        nets = _nets(given["seed"], given["bias"])
        nets[1].scale = scale
        generator = torch.Generator().manual_seed(given["seed"])
        x, numbers = given["x"], [given[name] for name in names]
        return nets, candidate(*nets, x, augment, *numbers, generator)

    before = _nets(given["seed"], given["bias"])
    if case.group == _VIEWS:
        nets, _ = run(1.0, _marked)
        return _views(nets[0].seen, given)
    if case.group == _FEATURES:
        nets, features = run(1.0, _marked)
        far, early = (_gap(n, features, given["x"]) for n in (nets, before))
        shape = str(tuple(features.shape))
        if given["lr"] == 0:
            return {"shape of the features": shape, "farthest from backbone(x)": far}
        return {
            "shape of the features": shape,
            "they are backbone(x) after training": far == 0,
            "they are backbone(x) before training": early == 0,
            "the backbone was trained": not torch.equal(_flat(nets), _flat(before)),
        }
    if case.group == _LENGTH:
        short, long = (_flat(run(scale, _unchanged)[0]) for scale in (1.0, 3.0))
        return {
            "longer projections change the training": not _close(short, long),
            "the backbone was trained": not torch.equal(short, _flat(before)),
        }
    if case.group == _RUN:
        return {"backbone after training": _flat(run(1.0, _Alternating())[0])}
    return {"backbone after training": _flat(run(None, _unchanged)[0])}


def _gap(nets: nn.ModuleList, features: Tensor, x: Tensor) -> float | None:
    """How far the features are from those of this backbone; None for another shape."""
    if features.shape != (len(x), _H):
        return None
    with torch.no_grad():
        return round(float((features - nets[0](x)).abs().max()), 4)


def _flat(nets: nn.ModuleList) -> Tensor:
    """The backbone's parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in nets[0].parameters()])


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-3, atol=1e-3)


def _views(seen: list[tuple[int, float, float]], given: dict[str, Any]) -> Seen:
    """What came through the backbone, up to the clean pass for the features."""
    n, epochs = len(given["x"]), given["epochs"]
    views = [sample for sample in seen if sample[1] >= 1]
    numbers = [number for number, *_ in views]
    rounds = [tuple(numbers[i * 2 * n : (i + 1) * 2 * n]) for i in range(epochs)]
    return {
        "views seen in training": len(views),
        "different views among them": len(set(views)),
        "samples seen without augmentation in training": len(seen) - len(views) - n,
        "each sample twice per epoch": all(
            sorted(r) == sorted([*range(n), *range(n)]) for r in rounds
        ),
        "another order in each epoch": len(set(rounds)) == epochs,
    }


bug_hunt = Probe(
    id="contrastive.bug_hunt",
    title="Bug hunt: SimCLR from views to features",
    points=6,
    minutes=30,
    level="hard",
    hints=(
        "Follow one picture through the code: how often is it augmented, which "
        "number says how alike two projections are, with whom is it compared, and "
        "what is kept of the network in the end? There are five mistakes.",
        "Views are new in every epoch. Similarity is a cosine, divided by the "
        "temperature. A row is never its own candidate: exp(0) is not 0. The "
        "projector is thrown away after training.",
        "Look at: augment above the loop over epochs; z @ z.T without F.normalize; "
        "`* temperature`; masked_fill with 0 where -inf belongs; "
        "`projector(backbone(x))` in the return.",
    ),
    make=_make_hunt,
    observe=_observe_hunt,
    forbid=(
        "tlcourse.losses.nt_xent",
        "tlcourse.losses.sup_con",
        "tlcourse.pretraining.pretrain",
        "lightly.loss.NTXentLoss",
        "pytorch_metric_learning.losses.NTXentLoss",
        "pytorch_metric_learning.losses.SupConLoss",
    ),
    forgeable=True,
)
