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


def pair(rng: np.random.Generator, n: int, m: int, d: int) -> dict[str, Any]:
    """Two samples that differ in mean and spread, float32."""
    shift, scale = rng.uniform(0.5, 1.0, d), rng.uniform(1.2, 1.8, d)
    y = normal(rng, m, d) * scale + shift
    return {"x": normal(rng, n, d), "y": y.astype(np.float32)}


def numbered(first: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows whose first feature is their own number."""
    rows = rng.normal(0, 1, (count, 3)).astype(np.float32)
    rows[:, 0] = np.arange(first, first + count)
    return rows


def number(value: Any) -> Any:
    """A float for a one-element tensor or NumPy number; anything else as it is."""
    if type(value) is torch.Tensor and value.numel() == 1:
        return float(value.detach())
    if isinstance(value, np.generic):
        return float(value)
    return value


def double(value: Any) -> Any:
    """A float64 tensor without a gradient; anything else as it is."""
    return value.detach().double() if type(value) is torch.Tensor else value


def hangs_on(value: Any) -> bool:
    """Whether gradients would flow back through ``value``."""
    return type(value) is torch.Tensor and value.requires_grad
