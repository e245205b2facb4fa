"""What all of this chapter's probes use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def drawn_by(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network whose weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def flat(model: nn.Module) -> Tensor:
    """All parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def leave_gradients(*models: nn.Module) -> None:
    """Old gradients, as an earlier step leaves them."""
    for model in models:
        for p in model.parameters():
            p.grad = torch.ones_like(p)
