"""What all of this chapter's probes use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tlcourse.exercises.spec import Case

Seen = Mapping[str, Any]
Candidate = Callable[..., Any]

DEFAULTS, GRADIENT = "defaults", "gradient"
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


def stretched(rng: np.random.Generator, z: np.ndarray) -> np.ndarray:
    """The rows of ``z``, each with a length of its own, float32."""
    return (z * rng.lognormal(0, 0.6, (len(z), 1))).astype(np.float32)


def two_views(
    rng: np.random.Generator, n: int, d: int, noise: float = 0.8
) -> dict[str, Any]:
    """Embeddings of two views: rows are alike, lengths differ."""
    common = rng.normal(0, 1, (n, d))
    views = (common + noise * rng.normal(0, 1, (n, d)) for _ in range(2))
    z1, z2 = (stretched(rng, view) for view in views)
    return {"z1": z1, "z2": z2}


def number(value: Any) -> Any:
    """A float for a one-element tensor or NumPy number; anything else as it is."""
    if type(value) is torch.Tensor and value.numel() == 1:
        return float(value.detach())
    if isinstance(value, np.generic):
        return float(value)
    return value


def value_and_gradients(
    candidate: Candidate, given: dict[str, Any], names: tuple[str, ...]
) -> Seen:
    """The loss of all of ``given``, and its gradient in the tensors ``names``.

    The gradient of a loss that is not finite counts as nan, whatever it is: it depends
    on the way the loss was written.
    """
    moved = {name: given[name].clone().requires_grad_() for name in names}
    with torch.enable_grad():
        value = candidate(*(moved.get(name, v) for name, v in given.items()))
        gradients = torch.autograd.grad(value, moved.values(), allow_unused=True)
    found = dict(zip(names, gradients, strict=True))
    if not torch.isfinite(value).all():
        found = {name: torch.full_like(given[name], torch.nan) for name in names}
    return {"loss": number(value), **{f"gradient of {n}": g for n, g in found.items()}}
