"""Distances between domains that need no kernel. Chapter 06 compares them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.arguments import whole
from tlcourse.shift.inputs import check_pair
from tlcourse.shift.kernels import euclidean


def coral_distance(source: Tensor, target: Tensor) -> Tensor:
    r"""Distance of the covariance matrices (Sun & Saenko, 2016, eq. (1)).

    .. math:: \frac{1}{4 d^2} \|C_S - C_T\|_F^2

    C are the sample covariances of the features, with n - 1. Blind to a shift of the
    mean. Chapter 06 asks you to write it.

    Args:
        source: ``(n, d)`` float, n >= 2.
        target: ``(m, d)`` float, m >= 2, of the same dtype and on the same device.

    Returns:
        Scalar tensor >= 0; gradients flow to both.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, fewer than two rows, or a
            number that is not finite.
    """
    check_pair(source, target, 2, ("source", "target"))
    gap = _covariance(source) - _covariance(target)  # (d, d)
    return gap.square().sum() / (4 * source.shape[1] ** 2)


def _covariance(z: Tensor) -> Tensor:
    centred = z - z.mean(0)
    return centred.T @ centred / (len(z) - 1)


def energy_distance(x: Tensor, y: Tensor, unbiased: bool = True) -> Tensor:
    r"""Energy distance (Székely & Rizzo, 2013).

    .. math:: 2 E\|x - y\|_2 - E\|x - x'\|_2 - E\|y - y'\|_2

    It is an MMD² with the distance-induced kernel
    :math:`-\|x - y\|_2`, up to its factor (Sejdinovic et al., 2013): it has no
    bandwidth to choose. Takes memory O((n + m)²).

    Args:
        x: ``(n, d)`` float, n >= 2 (1 if biased).
        y: ``(m, d)`` float.
        unbiased: leave out the pairs of a sample with itself; may then be negative.

    Returns:
        Scalar tensor; gradients flow to both.

    Raises:
        ValueError: inputs do not fit.
    """
    check_pair(x, y, 2 if unbiased else 1)
    less = int(unbiased)
    n, m = len(x), len(y)
    within = euclidean(x, x).sum() / (n * (n - less))
    within = within + euclidean(y, y).sum() / (m * (m - less))
    return 2 * euclidean(x, y).mean() - within


def sliced_wasserstein(
    x: Tensor, y: Tensor, num_projections: int = 128, *, p: int = 2, seed: int = 0
) -> Tensor:
    r"""Sliced Wasserstein distance (Bonneel et al., 2015).

    .. math:: \left( \frac1L \sum_{l=1}^{L}
        W_p^p(\theta_l^\top x, \theta_l^\top y) \right)^{1/p}

    with random unit vectors :math:`\theta_l`. In one dimension optimal transport is
    sorting: :math:`W_p^p = \int_0^1 |F_x^{-1}(u) - F_y^{-1}(u)|^p du`.

    Args:
        x: ``(n, d)`` float, n >= 1.
        y: ``(m, d)`` float; m need not be n.
        num_projections: L >= 1.
        p: the power, 1 or 2.
        seed: of the directions; the same on every device.

    Returns:
        Scalar tensor >= 0; gradients flow to both (0 where the distance is 0).

    Raises:
        ValueError: inputs do not fit.
    """
    check_pair(x, y)
    whole("num_projections", num_projections, 1)
    if p not in (1, 2):
        raise ValueError(f"p must be 1 or 2, got {p!r}.")
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(x.shape[1], num_projections, generator=generator)
    theta = F.normalize(theta, dim=0).to(x)  # (d, L)
    power = _wasserstein_1d(x @ theta, y @ theta, p).mean()
    if p == 1:
        return power
    return torch.where(power > 0, power, 1).sqrt() * (power > 0)


def _wasserstein_1d(a: Tensor, b: Tensor, p: int) -> Tensor:
    """W_p^p of each column of ``a`` ``(n, L)`` and ``b`` ``(m, L)``, ``(L,)``."""
    n, m = len(a), len(b)
    a, b = a.sort(0).values, b.sort(0).values
    # Both quantile functions are constant between the steps i / n and j / m; times
    # n * m the steps are whole numbers, so that none is missed by rounding.
    steps = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n])
    steps = steps.unique()  # (s,), sorted; all distinct levels up to 1
    width = torch.diff(steps, prepend=steps.new_zeros(1)).to(a) / (n * m)
    i, j = ((steps - 1) // m).to(a.device), ((steps - 1) // n).to(a.device)
    return width @ (a[i] - b[j]).abs().pow(p)
