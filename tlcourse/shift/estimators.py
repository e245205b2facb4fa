"""Cheaper estimators of MMD²: linear time, and random features. Chapter 06."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tlcourse.arguments import whole
from tlcourse.shift.inputs import Bandwidth, as_bandwidths, check_pair

_ROWS = 4096  # samples at a time: the features of one block stay near the cache


class MmdEstimate(NamedTuple):
    """An estimate of MMD² and the estimated variance of that estimate.

    Args:
        value: scalar tensor; may be negative.
        variance: scalar tensor >= 0, without a gradient; its root is the standard
            error.
    """

    value: Tensor
    variance: Tensor


def mmd_linear_time(x: Tensor, y: Tensor, bandwidth: Bandwidth) -> MmdEstimate:
    r"""Unbiased MMD² in time O(n d) (Gretton et al., 2012, section 6).

    .. math:: \frac{1}{\lfloor n/2 \rfloor} \sum_i h_i, \qquad
        h_i = k(x_{2i-1}, x_{2i}) + k(y_{2i-1}, y_{2i})
            - k(x_{2i-1}, y_{2i}) - k(x_{2i}, y_{2i-1})

    Every sample is used once, so the h are independent and their mean is close to
    normal: its variance is their sample variance divided by their number. Cheap in
    time and memory, dear in samples: the quadratic form is far less noisy. The order
    of the rows matters; shuffle sorted data. Chapter 06 asks you to write it.

    Args:
        x: ``(n, d)`` float, n >= 4.
        y: ``(n, d)`` float: as many rows as ``x``. An odd last row is left out.
        bandwidth: sigma > 0 or a sequence of sigmas (mean over the kernels). The
            median heuristic takes quadratic time: apply it to a part of the data.

    Returns:
        The estimate (gradients flow) and its variance.

    Raises:
        ValueError: inputs do not fit, unequal or too few rows.
    """
    check_pair(x, y, 4)
    if len(x) != len(y):
        raise ValueError(
            f"x and y must have equally many rows, got {len(x)} and {len(y)}; cut the "
            "longer one, or use mmd2."
        )
    sigmas = as_bandwidths(bandwidth)
    pairs = len(x) // 2
    x1, x2 = x[0 : 2 * pairs : 2], x[1 : 2 * pairs : 2]  # (pairs, d)
    y1, y2 = y[0 : 2 * pairs : 2], y[1 : 2 * pairs : 2]

    def k(a: Tensor, b: Tensor) -> Tensor:
        squared = (a - b).square().sum(1)  # (pairs,)
        return sum((squared / (-2 * s**2)).exp() for s in sigmas) / len(sigmas)

    h = k(x1, x2) + k(y1, y2) - k(x1, y2) - k(x2, y1)  # (pairs,)
    return MmdEstimate(h.mean(), h.detach().var() / pairs)


def mmd_random_features(
    x: Tensor,
    y: Tensor,
    bandwidth: Bandwidth,
    num_features: int = 1024,
    *,
    unbiased: bool = True,
    seed: int = 0,
) -> MmdEstimate:
    r"""MMD² from random Fourier features (Rahimi & Recht, 2007), in time O(n d D).

    The Gaussian kernel is :math:`E_\omega \cos \omega^\top (x - y)` with
    :math:`\omega \sim N(0, \sigma^{-2} I)`. For each frequency the samples give the
    mean of :math:`\phi_\omega(x) = (\cos \omega^\top x, \sin \omega^\top x)`, and

    .. math:: \frac{1}{R} \sum_{r=1}^{R}
        \|\bar\phi_{\omega_r}(x) - \bar\phi_{\omega_r}(y)\|^2

    estimates the biased MMD². As :math:`\|\phi_\omega\| = 1`, leaving out the pairs
    of a sample with itself costs nothing:
    :math:`(n \|\bar\phi\|^2 - 1) / (n - 1)` replaces :math:`\|\bar\phi\|^2`.

    Args:
        x: ``(n, d)`` float, n >= 2 (1 if biased).
        y: ``(m, d)`` float.
        bandwidth: sigma > 0, or a sequence of sigmas: each gets the same number of
            frequencies.
        num_features: D, cosines and sines together; rounded up to a multiple of
            twice the number of bandwidths, at least two frequencies for each.
        unbiased: estimate the U-statistic of ``mmd2``.
        seed: of the frequencies; the same on every device.

    Returns:
        The estimate (gradients flow) and its variance over the draw of the
        frequencies: how far it may lie from ``mmd2`` on the same samples.

    Raises:
        ValueError: inputs do not fit, or ``num_features < 4``.
    """
    check_pair(x, y, 2 if unbiased else 1)
    whole("num_features", num_features, 4)
    sigmas = as_bandwidths(bandwidth)
    each = max(2, math.ceil(num_features / (2 * len(sigmas))))
    generator = torch.Generator().manual_seed(seed)
    omega = torch.randn(len(sigmas), each, x.shape[1], generator=generator)
    omega /= torch.tensor(sigmas)[:, None, None]
    omega = omega.reshape(-1, x.shape[1]).to(x)  # (R, d)
    centre = x.detach().mean(0)  # a common shift changes nothing, and cos likes it
    mean_x, mean_y = (_mean_features(z - centre, omega) for z in (x, y))  # (2, R)
    own = mean_x.square().sum(0), mean_y.square().sum(0)  # (R,), (R,)
    if unbiased:
        n, m = len(x), len(y)
        own = (n * own[0] - 1) / (n - 1), (m * own[1] - 1) / (m - 1)
    terms = own[0] + own[1] - 2 * (mean_x * mean_y).sum(0)  # (R,)
    by_kernel = terms.detach().reshape(len(sigmas), each).var(1)  # (K,)
    return MmdEstimate(terms.mean(), by_kernel.mean() / len(terms))


def _mean_features(z: Tensor, omega: Tensor) -> Tensor:
    """Mean cosine and sine of each frequency over the samples, ``(2, R)``."""
    sums = 0
    for block in z.split(_ROWS):
        angle = block @ omega.T  # (b, R)
        sums = sums + torch.stack([angle.cos().sum(0), angle.sin().sum(0)])
    return sums / len(z)
