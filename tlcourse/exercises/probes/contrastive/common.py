"""What all of this chapter's probes use."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probing import Candidate, Seen, number

DEFAULTS, GRADIENT = "defaults", "gradient"


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


def one_apart(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Rows that point nearly one way, and a first one that points the other way.

    At a small temperature all its exponentials are tiny beside those of the others.
    """
    z = rng.normal(0, 1, d) + 0.15 * rng.normal(0, 1, (n, d))
    z[0] *= -1
    return stretched(rng, z)


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
        if not isinstance(value, torch.Tensor) or not value.requires_grad:
            raise TypeError("No gradient flows through the loss that you return.")
        gradients = torch.autograd.grad(value, moved.values(), allow_unused=True)
    found = dict(zip(names, gradients, strict=True))
    if not torch.isfinite(value).all():
        found = {name: torch.full_like(given[name], torch.nan) for name in names}
    return {"loss": number(value), **{f"gradient of {n}": g for n, g in found.items()}}
