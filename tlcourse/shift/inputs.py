"""What all measures of shift ask of their inputs, with errors that help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor

Bandwidth = float | Tensor | Sequence[float]


def check_pair(
    x: Tensor, y: Tensor, least: int = 1, names: tuple[str, str] = ("x", "y")
) -> None:
    """Refuse samples that cannot be compared.

    Args:
        x: the first sample, ``(n, d)`` float.
        y: the second sample, ``(m, d)`` float.
        least: how many rows each needs.
        names: what the caller's arguments are called.

    Raises:
        ValueError: wrong shape or dtype, too few rows, unequal widths, dtypes or
            devices, or a number that is not finite.
    """
    for name, z in zip(names, (x, y), strict=True):
        if not isinstance(z, Tensor) or z.ndim != 2 or not z.is_floating_point():
            raise ValueError(
                f"{name} must be a float tensor of shape (n, d), got {_kind(z)}; "
                "flatten or pool maps to one row per sample first."
            )
        if len(z) < least or z.shape[1] == 0:
            raise ValueError(
                f"{name} must have at least {least} row{'s' * (least > 1)} and one "
                f"column, got {tuple(z.shape)}; give more samples."
            )
    a, b = names
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"{a} and {b} must have the same number of columns, got {x.shape[1]} and "
            f"{y.shape[1]}; use the same features for both."
        )
    if x.dtype != y.dtype or x.device != y.device:
        raise ValueError(
            f"{a} and {b} must have one dtype and lie on one device, got {x.dtype} on "
            f"{x.device} and {y.dtype} on {y.device}; use {b}.to({a})."
        )
    for name, z in zip(names, (x, y), strict=True):
        _check_finite(name, z.detach())


def _check_finite(name: str, z: Tensor) -> None:
    dtype = torch.promote_types(z.dtype, torch.float32)
    # A norm is finite only if all its parts are, and is cheap to look at.
    if bool(torch.linalg.vector_norm(z, dtype=dtype).isfinite()):
        return
    if bool(z.isfinite().all()):
        raise ValueError(
            f"{name} holds numbers up to {float(z.abs().max()):.2g}, whose squares "
            f"overflow {dtype}; did training diverge? Scale the features."
        )
    raise ValueError(
        f"{name} holds nan or inf; find the samples with ~{name}.isfinite().all(1) "
        "and mend or drop them."
    )


def as_bandwidths(bandwidth: Bandwidth) -> list[float]:
    """One sigma or several, as a list of positive floats, without a gradient.

    Raises:
        ValueError: none given, or one that is not a finite number > 0.
    """
    values = bandwidth
    if isinstance(bandwidth, Tensor):
        values = bandwidth.detach().flatten().tolist()
    elif isinstance(bandwidth, Real):  # NumPy's numbers, too
        values = [bandwidth]
    sigmas = [float(sigma) for sigma in values]
    if not sigmas or not all(0 < sigma < math.inf for sigma in sigmas):
        raise ValueError(
            "bandwidth must be one sigma > 0 or several (not their squares), got "
            f"{bandwidth!r}; try median_heuristic(x, y)."
        )
    return sigmas


def _kind(z: object) -> str:
    if not isinstance(z, Tensor):
        return f"a {type(z).__name__}"
    return f"{tuple(z.shape)} of {z.dtype}"
