"""Learning from two views without negatives. Chapter 09 derives both losses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tlcourse.arguments import positive
from tlcourse.losses.sphere import check_views

_VARIANCE_FLOOR = 1e-4  # keeps the slope of the square root finite
_NORM_FLOOR = 1e-5  # that of BatchNorm, as in the paper's code


class VicregTerms(NamedTuple):
    """The three terms of VICReg, each a scalar tensor ``>= 0``, without weights."""

    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def vicreg(
    z1: Tensor,
    z2: Tensor,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> Tensor:
    r"""Invariance with direct fines for collapse (VICReg; Bardes et al., 2022).

    .. math:: \lambda\, s(Z, Z') + \tfrac{\mu}{2}\,[v(Z) + v(Z')]
        + \nu\,[c(Z) + c(Z')]

    with the mean squared difference of the views
    :math:`s = \frac{1}{nd} \sum_{ij} (Z_{ij} - Z'_{ij})^2`, a hinge that keeps the
    standard deviation of every feature above 1,
    :math:`v = \frac1d \sum_j \max(0, 1 - \sqrt{\mathrm{Var}_j + 10^{-4}})`, and the
    squared covariances between features
    :math:`c = \frac1d \sum_{j \ne k} C_{jk}^2`. Variances and covariances divide by
    n - 1. Nothing is normalised.

    This is the authors' released code, and ``lightly``. The paper's own formula has
    neither the 1/d of s nor the 1/2 of v: its weights mean something else there.

    Args:
        z1: ``(n, d)`` float, one view of each sample, n >= 2.
        z2: ``(n, d)`` of the same dtype, the other view, row by row.
        invariance: weight :math:`\lambda \ge 0`.
        variance: weight :math:`\mu \ge 0`.
        covariance: weight :math:`\nu \ge 0`.

    Returns:
        Scalar tensor, ``>= 0``.

    Raises:
        ValueError: views that do not fit together, fewer than two samples, a value
            that is not finite, or a negative weight.
    """
    weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
    for name, weight in weights.items():
        positive(name, weight, zero=True)
    terms = vicreg_terms(z1, z2)
    return sum(weights[name] * getattr(terms, name) for name in terms._fields)


def vicreg_terms(z1: Tensor, z2: Tensor) -> VicregTerms:
    """The three terms of :func:`vicreg`, unweighted, to watch which of them works.

    Args:
        z1: ``(n, d)`` float, n >= 2.
        z2: ``(n, d)`` of the same dtype.

    Raises:
        ValueError: as :func:`vicreg`.
    """
    check_views(z1, z2, least=2)
    z1, z2 = _at_least_float32(z1), _at_least_float32(z2)
    hinges = [(1 - (z.var(0) + _VARIANCE_FLOOR).sqrt()).relu().mean() for z in (z1, z2)]
    off = [_off_diagonal(_covariance(z)) / z.shape[1] for z in (z1, z2)]
    return VicregTerms((z1 - z2).square().mean(), sum(hinges) / 2, sum(off))


def barlow_twins(z1: Tensor, z2: Tensor, strength: float = 5e-3) -> Tensor:
    r"""Cross-correlation of the views towards the identity (Zbontar et al., 2021).

    .. math:: \sum_j (1 - C_{jj})^2 + \lambda \sum_{j \ne k} C_{jk}^2,
        \qquad C = \tfrac1n \hat Z^\top \hat Z'

    where :math:`\hat Z` has its columns standardised over the batch, as BatchNorm does
    it: biased variance plus :math:`10^{-5}`. A feature that does not vary counts as
    uncorrelated. Both sums are over features, not means: the loss grows with d. Equal
    to ``lightly``.

    Args:
        z1: ``(n, d)`` float, one view of each sample, n >= 2.
        z2: ``(n, d)`` of the same dtype, the other view, row by row.
        strength: :math:`\lambda \ge 0`.

    Returns:
        Scalar tensor, ``>= 0``.

    Raises:
        ValueError: views that do not fit together, fewer than two samples, a value
            that is not finite, or a negative strength.
    """
    check_views(z1, z2, least=2)
    positive("strength", strength, zero=True)
    a, b = _standardised(z1), _standardised(z2)
    correlation = a.T @ b / len(a)  # (d, d)
    own = (1 - correlation.diagonal()).square().sum()
    return own + strength * _off_diagonal(correlation)


def _standardised(z: Tensor) -> Tensor:
    z = _at_least_float32(z)
    centred = z - z.mean(0)
    return centred / (centred.square().mean(0) + _NORM_FLOOR).sqrt()


def _covariance(z: Tensor) -> Tensor:
    """Covariance of the columns, ``(d, d)``."""
    centred = z - z.mean(0)
    return centred.T @ centred / (len(z) - 1)


def _off_diagonal(matrix: Tensor) -> Tensor:
    """Sum of the squared entries beside the diagonal."""
    own = torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)
    return matrix.masked_fill(own, 0).square().sum()


def _at_least_float32(z: Tensor) -> Tensor:
    return z.to(torch.promote_types(z.dtype, torch.float32))
