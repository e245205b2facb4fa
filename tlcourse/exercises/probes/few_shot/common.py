"""What all of this chapter's probes use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tlcourse.exercises.probing import Seen


def with_gradients(
    result: Any, inputs: Mapping[str, torch.Tensor], weights: torch.Tensor
) -> Seen:
    """A result, and the gradients of a weighted sum of it with respect to inputs.

    A gradient that does not exist is seen as zeros.
    """
    seen: dict[str, Any] = {"result": result}
    if type(result) is not torch.Tensor or result.shape != weights.shape:
        return seen
    grads: Any = [None] * len(inputs)
    if result.requires_grad:
        total = (result * weights).sum()
        grads = torch.autograd.grad(total, list(inputs.values()), allow_unused=True)
    for (name, z), grad in zip(inputs.items(), grads, strict=True):
        seen[f"gradient for {name}"] = torch.zeros_like(z) if grad is None else grad
    return seen
