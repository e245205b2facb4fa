"""What the few-shot heads ask of features and labels, with errors that help."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.arguments import whole


def check_features(name: str, z: Tensor, inner: int = 1) -> None:
    """Refuse what is no stack of finite features.

    Args:
        name: what the caller's argument is called.
        z: ``(..., n, d)`` float for ``inner=1``, ``(..., n, c, h, w)`` for 3.
        inner: dimensions of one sample's features.

    Raises:
        ValueError: wrong type or shape, no samples, or a number that is not finite.
    """
    shape = "(..., n, d)" if inner == 1 else "(..., n, c, h, w)"
    right = isinstance(z, Tensor) and z.is_floating_point() and z.ndim > inner
    if not right or 0 in z.shape:
        got = f"{tuple(z.shape)} of {z.dtype}" if isinstance(z, Tensor) else type(z)
        raise ValueError(
            f"{name} must be a float tensor {shape} with at least one sample, got "
            f"{got}; one row of features per sample."
        )
    # A sum is finite only if all its terms are (or they overflow), and is cheap.
    if not z.detach().sum().isfinite() and not z.detach().isfinite().all():
        raise ValueError(
            f"{name} holds nan or inf; did training diverge? Use a smaller lr, or "
            "clean the inputs."
        )


def check_alike(
    names: tuple[str, str], first: Tensor, second: Tensor, inner: int = 1
) -> None:
    """Refuse two stacks of features that cannot be compared.

    Raises:
        ValueError: unequal leading dimensions, features, dtypes or devices.
    """
    a, b = names
    cut = -inner - 1
    if first.shape[cut + 1 :] != second.shape[cut + 1 :] or (
        first.shape[:cut] != second.shape[:cut]
    ):
        raise ValueError(
            f"{a} and {b} may differ only in their number of samples, got "
            f"{tuple(first.shape)} and {tuple(second.shape)}; embed both with one "
            "network, and give both the same leading dimensions."
        )
    if first.dtype != second.dtype or first.device != second.device:
        raise ValueError(
            f"{a} and {b} must have one dtype and lie on one device, got "
            f"{first.dtype} on {first.device} and {second.dtype} on {second.device}; "
            f"use {b}.to({a})."
        )


def support_classes(support_z: Tensor, support_y: Tensor, num_ways: int) -> Tensor:
    """The classes of the support set as one-hot rows ``(..., n, num_ways)``.

    Args:
        support_z: features ``(..., n, d)``; gives the dtype.
        support_y: classes ``(..., n)`` int64, relabelled 0 to ``num_ways - 1``.
        num_ways: number of classes N, at least 1.

    Raises:
        ValueError: the labels do not fit, or a class has no support sample.
    """
    whole("num_ways", num_ways, 1)
    if not isinstance(support_y, Tensor) or support_y.dtype != torch.int64:
        raise ValueError(
            "support_y must be an int64 tensor of class numbers, got "
            f"{getattr(support_y, 'dtype', type(support_y))}; use .long()."
        )
    if support_y.shape != support_z.shape[:-1] or support_y.device != support_z.device:
        raise ValueError(
            "support_y must have one label per row of support_z on its device, got "
            f"{tuple(support_y.shape)} on {support_y.device} for "
            f"{tuple(support_z.shape)} on {support_z.device}."
        )
    low, high = (int(v) for v in support_y.aminmax())
    if low < 0 or high >= num_ways:
        raise ValueError(
            f"support_y must lie in 0..{num_ways - 1}, got {low}..{high}; an episode "
            "relabels its classes (Episode.support_y)."
        )
    members = F.one_hot(support_y, num_ways).to(support_z.dtype)  # (..., n, N)
    if not members.any(-2).all():
        raise ValueError(
            "support_y must hold every class 0 to num_ways - 1 at least once; a class "
            "without support samples cannot be recognised. Lower num_ways?"
        )
    return members
