"""Embeddings as points on the unit sphere: alignment, uniformity, and their checks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tlcourse.arguments import positive


def alignment(z1: Tensor, z2: Tensor, alpha: float = 2) -> Tensor:
    r"""How close the two views of one sample lie (Wang and Isola, 2020).

    With unit vectors :math:`u = z / \lVert z\rVert_2`,

    .. math:: \frac1n \sum_i \lVert u^1_i - u^2_i \rVert_2^\alpha.

    0 where every pair agrees, which a constant embedding reaches too: read it beside
    :func:`uniformity`. Chapter 09 asks you to write it.

    Args:
        z1: ``(n, d)`` float, one view of each sample, n >= 1.
        z2: ``(n, d)`` of the same dtype, the other view, row by row.
        alpha: exponent > 0.

    Returns:
        Scalar tensor in ``[0, 2 ** alpha]``.

    Raises:
        ValueError: views that do not fit together, a zero vector, a value that is
            not finite, or ``alpha`` out of range.
    """
    check_views(z1, z2)
    positive("alpha", alpha)
    squared = (unit_rows("z1", z1) - unit_rows("z2", z2)).square().sum(1)  # (n,)
    if alpha == 2:
        return squared.mean()
    # Below 2 the power's slope at 0 is infinite, and inf * 0 is nan: keep 0 away.
    apart = squared > 0
    return (torch.where(apart, squared, 1).pow(alpha / 2) * apart).mean()


def uniformity(z: Tensor, t: float = 2) -> Tensor:
    r"""How evenly embeddings cover the sphere, lower is more (Wang and Isola, 2020).

    With unit vectors :math:`u = z / \lVert z\rVert_2`, over all pairs of samples,

    .. math:: \log \frac{2}{n(n-1)} \sum_{i<j} e^{-t \lVert u_i - u_j \rVert_2^2}.

    0 for a constant embedding. Memory is O(n²): some thousand rows are enough to
    estimate it. Chapter 09 asks you to write it.

    Args:
        z: ``(n, d)`` float, n >= 2, one row per sample.
        t: sharpness > 0 of the Gaussian kernel.

    Returns:
        Scalar tensor in ``[-4 t, 0]``.

    Raises:
        ValueError: wrong shape or dtype, fewer than two rows, a zero vector, a value
            that is not finite, or ``t`` out of range.
    """
    check_rows("z", z, least=2)
    positive("t", t)
    u = unit_rows("z", z)
    own = torch.eye(len(u), dtype=torch.bool, device=u.device)
    exponents = (2 * t * (u @ u.T - 1)).masked_fill(own, -math.inf)  # (n, n)
    return exponents.flatten().logsumexp(0) - math.log(len(u) * (len(u) - 1))


def unit_rows(name: str, z: Tensor) -> Tensor:
    """The rows divided by their lengths, at least float32; neither over- nor underflow.

    Raises:
        ValueError: a row of zeros (or so small that it has no direction).
    """
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    largest = z.detach().abs().amax(1, keepdim=True)  # (n, 1)
    tiny = largest < torch.finfo(z.dtype).tiny * 1e4
    if bool(tiny.any()):
        raise ValueError(
            f"row {int(tiny.flatten().nonzero()[0])} of {name} is a zero vector: it "
            "has no direction. Did the last ReLU die? Put a linear layer last."
        )
    scaled = z / largest
    return scaled / scaled.norm(dim=1, keepdim=True)


def check_views(z1: Any, z2: Any, least: int = 1) -> None:
    """Refuse two views that are not ``(n, d)`` float, finite, and of one kind.

    Raises:
        ValueError: naming ``z1`` or ``z2``.
    """
    check_rows("z1", z1, least)
    check_rows("z2", z2, least)
    if z1.shape != z2.shape:
        raise ValueError(
            f"z1 and z2 must have one shape, got {tuple(z1.shape)} and "
            f"{tuple(z2.shape)}; row i of both must be a view of sample i."
        )
    if z1.dtype != z2.dtype or z1.device != z2.device:
        raise ValueError(
            f"z1 and z2 must have one dtype and lie on one device, got {z1.dtype} on "
            f"{z1.device} and {z2.dtype} on {z2.device}; use z2.to(z1)."
        )


def check_rows(name: str, z: Any, least: int = 1) -> None:
    """Refuse what is not a finite float ``(n, d)`` with ``least`` rows.

    Raises:
        ValueError: naming the argument.
    """
    if not isinstance(z, Tensor) or z.ndim != 2 or not z.is_floating_point():
        got = f"{tuple(z.shape)} of {z.dtype}" if isinstance(z, Tensor) else type(z)
        raise ValueError(
            f"{name} must be a float tensor of shape (n, d), got {got}; one row per "
            "sample."
        )
    if len(z) < least or z.shape[1] == 0:
        raise ValueError(
            f"{name} must have at least {least} row{'s' * (least > 1)} and one column, "
            f"got {tuple(z.shape)}; give more samples."
        )
    if not bool(z.detach().isfinite().all()):
        raise ValueError(
            f"{name} holds nan or inf; find the rows with ~{name}.isfinite().all(1), "
            "or use a smaller learning rate if training diverged."
        )
