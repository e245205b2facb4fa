"""Shared by the probes of chapter 02: inputs as tensors, a loss with its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tlcourse.exercises.probing import tensors
from tlcourse.exercises.spec import Case


def has_gradient(loss: Any) -> bool:
    """Whether it is one number that can be differentiated."""
    return type(loss) is torch.Tensor and loss.requires_grad and loss.numel() == 1


def loss_and_gradient(
    candidate: Callable[..., Any], case: Case, *names: str
) -> dict[str, Any]:
    """The loss, and its gradient with respect to the first named input."""
    inputs = tensors(case)
    first = inputs[names[0]].requires_grad_()
    loss = candidate(*(inputs[name] for name in names))
    seen = {"loss": loss}
    if has_gradient(loss):
        (gradient,) = torch.autograd.grad(loss.sum(), first, allow_unused=True)
        seen["gradient"] = gradient
    return seen
