"""Small networks that only the probes know, and ways to watch them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAST = ("fc", "head", "classifier.2", "top.block.2")  # what replace_head has to replace


class Refused(Exception):
    """What a failing :class:`Spy` raises."""


class Net(nn.Module):
    """A body and one more part with a name of its own."""

    def __init__(self, body: nn.Module, name: str, tail: nn.Module) -> None:
        """Keep the parts; ``tail`` is registered last, under ``name``."""
        super().__init__()
        self.body = body
        self.tail_name = name
        self.add_module(name, tail)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, 1, 8, 8)`` to what the tail gives, ``(b, c)``."""
        return self.get_submodule(self.tail_name)(self.body(x))


class Pool(nn.Module):
    """Global average pooling, ``(b, c, h, w)`` to ``(b, c)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Average over h and w."""
        return x.mean((2, 3))


class Gate(nn.Module):
    """Scales channels by a linear function of their means (squeeze-excitation)."""

    def __init__(self, channels: int) -> None:
        """One linear layer, which is not the classifier."""
        super().__init__()
        self.weigh = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape ``(b, c, h, w)``."""
        return x * self.weigh(x.mean((2, 3)))[:, :, None, None].sigmoid()


class Notes(list):
    """A list that a copied model shares, so that a copy is watched too."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Notes:
        """The same list."""
        return self


class Spy(nn.Module):
    """A layer that notes batch sizes and whether a graph was recorded."""

    def __init__(self, layer: nn.Module, fails: bool) -> None:
        """Stand before ``layer``; ``fails``: raise :class:`Refused` instead."""
        super().__init__()
        self.layer, self.fails = layer, fails
        self.sizes, self.recorded = Notes(), Notes()

    def forward(self, x: Tensor) -> Tensor:
        """What the layer gives."""
        if self.fails:
            raise Refused
        z = self.layer(x)
        self.sizes.append(len(x))
        self.recorded.append(z.requires_grad)
        return z


def build(kind: str, seed: int) -> nn.Module:
    """A network of one kind; weights and running statistics follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _KINDS[kind]()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, 0, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        return model


def _convolutions(*more: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        *more,
    )


def _perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 6))


def _deep_classifier() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 4))


_KINDS = {
    "plain": lambda: Net(_perceptron(), "head", nn.Linear(6, 3)),
    "norm": lambda: Net(_convolutions(Pool()), "head", nn.Linear(6, 3)),
    "dropout": lambda: Net(
        _convolutions(Pool(), nn.Dropout(0.5)), "head", nn.Linear(6, 3)
    ),
    "norm_head": lambda: Net(
        _perceptron(), "head", nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3))
    ),
    "fc": lambda: Net(_convolutions(Pool()), "fc", nn.Linear(6, 4)),
    "gated": lambda: Net(_convolutions(Gate(6), Pool()), "head", nn.Linear(6, 4)),
    "deep_head": lambda: Net(_convolutions(Pool()), "classifier", _deep_classifier()),
    "twins": lambda: Net(
        _perceptron(), "body2", nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3))
    ),
    "nested": lambda: Net(
        _convolutions(Pool()),
        "top",
        nn.Sequential(OrderedDict(block=_deep_classifier())),
    ),
    "no_linear": lambda: Net(_convolutions(), "end", Pool()),
}


def training_steps(model: nn.Module, x: Tensor, y: Tensor, steps: int = 2) -> None:
    """SGD on what asks for a gradient; a pass forward only when nothing does.

    By hand: importing torch's optimisers takes seconds, more than a check may.
    """
    for _ in range(steps):
        loss = F.cross_entropy(model(x), y)
        learning = [p for p in model.parameters() if p.requires_grad]
        if learning and loss.requires_grad:
            gradients = torch.autograd.grad(loss, learning, allow_unused=True)
            with torch.no_grad():
                for p, g in zip(learning, gradients, strict=True):
                    if g is not None:
                        p -= 0.2 * g


def flat(state: Mapping[str, Tensor], prefix: str, *, statistics: bool) -> Tensor:
    """One vector of all entries below ``prefix``: running statistics, or the rest."""
    chosen = [
        value.detach().flatten()
        for name, value in state.items()
        if name.startswith(prefix)
        and ("running_" in name) == statistics
        and value.is_floating_point()
    ]
    return torch.cat([torch.zeros(0), *chosen])


def modes(model: nn.Module) -> list[bool]:
    """Each module's ``training`` flag."""
    return [module.training for module in model.modules()]


def asking(model: nn.Module) -> list[bool]:
    """Each parameter's ``requires_grad``."""
    return [p.requires_grad for p in model.parameters()]


def changed(before: Sequence[bool], after: Sequence[bool]) -> int:
    """How many flags differ."""
    return sum(a != b for a, b in zip(before, after, strict=True))


def parts(model: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """All modules inside the named parts; unknown names have none."""
    known = dict(model.named_modules())
    return [m for name in names if name in known for m in known[name].modules()]


def hooks(model: nn.Module) -> int:
    """Number of forward hooks in the whole model."""
    return sum(len(m._forward_hooks) for m in model.modules())
