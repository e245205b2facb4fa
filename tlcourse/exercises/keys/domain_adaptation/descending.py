"""The step of SGD that the keys of this chapter share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def descend(loss: Tensor, nets: tuple[nn.Module, ...], lr: float, keep: bool) -> None:
    """One SGD step; ``keep`` adds to the gradients left over."""
    parameters = [p for net in nets for p in net.parameters()]
    if not keep:
        for p in parameters:
            p.grad = None
    loss.backward()
    with torch.no_grad():
        for p in parameters:
            if p.grad is not None:
                p -= lr * p.grad
