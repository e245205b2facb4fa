"""What all of this chapter's probes use."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probing import normal


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


def double(value: Any) -> Any:
    """A float64 tensor without a gradient; anything else as it is."""
    return value.detach().double() if type(value) is torch.Tensor else value


def hangs_on(value: Any) -> bool:
    """Whether gradients would flow back through ``value``."""
    return type(value) is torch.Tensor and value.requires_grad
