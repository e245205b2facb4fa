"""What all of this chapter's probes use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tlcourse.exercises.spec import Case

Seen = Mapping[str, Any]
Candidate = Callable[..., Any]
REFUSES = "refuses bad input"


def tensors(case: Case) -> dict[str, Any]:
    """The case's inputs with arrays as tensors that share their memory."""
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in case.inputs.items()
    }


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal numbers, float32."""
    return rng.normal(0, 1, shape).astype(np.float32)


def number(value: Any) -> Any:
    """A float for a one-element tensor or NumPy number; anything else as it is."""
    if type(value) is torch.Tensor and value.numel() == 1:
        return float(value.detach())
    if isinstance(value, np.generic):
        return float(value)
    return value


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
