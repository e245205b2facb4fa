"""Input checks that the modules of this package share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def matrix(name: str, value: Any, *, least: int = 1) -> Tensor:
    """The tensor, if it is ``(n, d)``, floating, finite and has ``least`` rows."""
    if not isinstance(value, Tensor) or value.ndim != 2 or not value.shape[1]:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"{name} must be a tensor (n, d), got {got}; flatten or stack it first."
        )
    if not value.is_floating_point():
        raise ValueError(f"{name} must be floating, got {value.dtype}; use .float().")
    if len(value) < least:
        raise ValueError(f"{name} needs at least {least} rows, got {len(value)}.")
    if not torch.isfinite(value).all():
        raise ValueError(f"{name} holds NaN or infinity; find where they come from.")
    return value


def same_width(source: Tensor, target: Tensor) -> None:
    """Raise a ValueError unless both ``(n, d)`` have one width, dtype and device."""
    if source.shape[1] != target.shape[1]:
        raise ValueError(
            f"source has {source.shape[1]} features and target {target.shape[1]}; "
            "take both from the same layer."
        )
    if source.dtype != target.dtype or source.device != target.device:
        raise ValueError(
            f"source is {source.dtype} on {source.device} and target {target.dtype} on "
            f"{target.device}; bring both to one dtype and device."
        )


def labels(name: str, y: Any, n: int, num_classes: int | None = None) -> Tensor:
    """The class numbers, if they are ``(n,)`` int64 and in range."""
    if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.shape != (n,):
        got = (
            f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        )
        raise ValueError(f"{name} must be an int64 tensor of shape ({n},), got {got}.")
    if n and (y.min() < 0 or (num_classes is not None and y.max() >= num_classes)):
        raise ValueError(
            f"{name} holds classes {int(y.min())}..{int(y.max())}; expected 0.."
            f"{'' if num_classes is None else num_classes - 1}."
        )
    return y


def wide(z: Tensor) -> Tensor:
    """The values in float64, on the CPU if the device (MPS) has no float64."""
    z = z.detach()
    return (z.cpu() if z.device.type == "mps" else z).double()
