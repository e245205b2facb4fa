"""What all of this chapter's probes use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network whose weights and running statistics follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                nn.init.normal_(module.running_mean, 0, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        return model


def descend(model: nn.Module, x: Tensor, y: Tensor, lr: float, steps: int) -> None:
    """Full-batch gradient descent on what asks for a gradient.

    By hand: importing torch's optimisers takes seconds, more than a check may.
    """
    for _ in range(steps):
        learning = [p for p in model.parameters() if p.requires_grad]
        if not learning:
            return
        loss = F.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, learning, allow_unused=True)
        with torch.no_grad():
            for p, g in zip(learning, gradients, strict=True):
                if g is not None:
                    p -= lr * g


def stage(n_in: int, n_out: int, norm: bool = True) -> nn.Sequential:
    """Linear, BatchNorm, tanh: every weight has a gradient."""
    if not norm:
        return nn.Sequential(nn.Linear(n_in, n_out), nn.Tanh())
    return nn.Sequential(
        nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), nn.Tanh()
    )


class Row(nn.Module):
    """Named parts, one after the other."""

    def __init__(self, **parts: nn.Module) -> None:
        """Register the parts in their order."""
        super().__init__()
        self.order = tuple(parts)
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, d)`` to what the last part gives."""
        for name in self.order:
            x = self.get_submodule(name)(x)
        return x


def part_names(model: nn.Module) -> Iterator[str]:
    """Names of the direct parts and of parameters outside them."""
    yield from (name for name, _ in model.named_children())
    yield from (name for name, _ in model.named_parameters(recurse=False))
