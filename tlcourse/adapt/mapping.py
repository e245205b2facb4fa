"""Closed-form maps from one domain to another: CORAL and optimal transport."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse.adapt.checking import matrix, same_width, wide
from tlcourse.arguments import positive


def coral_map(source: Tensor, target: Tensor, ridge: float = 1.0) -> Tensor:
    r"""Whiten the source and give it the target's covariance and mean.

    :math:`\hat s=(s-\mu_S)\,C_S^{-1/2}C_T^{1/2}+\mu_T` with
    :math:`C=\frac{1}{n-1}\bar Z^\top\bar Z+\rho I` and symmetric roots (Sun, Feng and
    Saenko, "Return of Frustratingly Easy Domain Adaptation", AAAI 2016, algorithm 1,
    which takes :math:`\rho=1` and features of mean zero; the means are ours).
    Chapter 07 builds it.

    Args:
        source: ``(n, d)`` floating, n >= 2.
        target: ``(m, d)``, m >= 2, same dtype and device.
        ridge: :math:`\rho\ge0` added to the diagonals. 0 needs full rank.

    Returns:
        The moved source ``(n, d)``, in its dtype; computed in float64.

    Raises:
        ValueError: shapes, types or numbers that do not fit, or a covariance without
            an inverse.
    """
    matrix("source", source, least=2)
    matrix("target", target, least=2)
    same_width(source, target)
    positive("ridge", ridge, zero=True)
    s, t = wide(source), wide(target)
    whiten = _power(_covariance(s, ridge), -0.5)
    colour = _power(_covariance(t, ridge), 0.5)
    moved = (s - s.mean(0)) @ whiten @ colour + t.mean(0)
    return moved.to(source)


def transport_map(source: Tensor, target: Tensor) -> Tensor:
    r"""Each source sample goes to the mean of the target samples it is matched with.

    The barycentric map :math:`\hat s_i=n\sum_j\gamma_{ij}t_j` of the exact optimal
    transport plan :math:`\gamma` for squared distances and equal weights (Courty et
    al., "Optimal Transport for Domain Adaptation", TPAMI 2017; without their class
    term). Solved by POT on the CPU; for some thousand samples.

    Args:
        source: ``(n, d)`` floating.
        target: ``(m, d)``, same dtype and device.

    Raises:
        ValueError: shapes, types or numbers that do not fit.
        ImportError: the package ``pot`` is missing.
    """
    import ot

    matrix("source", source)
    matrix("target", target)
    same_width(source, target)
    s, t = (wide(z).cpu().numpy() for z in (source, target))
    plan = ot.emd([], [], ot.dist(s, t), numItermax=1_000_000)  # (n, m)
    return torch.from_numpy(len(s) * plan @ t).to(source)


def _covariance(z: Tensor, ridge: float) -> Tensor:
    centred = z - z.mean(0)
    eye = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return centred.T @ centred / (len(z) - 1) + ridge * eye


def _power(covariance: Tensor, exponent: float) -> Tensor:
    """Symmetric power by eigenvalues; rank-deficient matrices have no inverse root."""
    values, vectors = torch.linalg.eigh(covariance)
    smallest = values[-1].abs() * len(values) * torch.finfo(values.dtype).eps
    if exponent < 0 and values[0] <= smallest:
        raise ValueError(
            "the source's covariance has no inverse (more features than samples, or "
            "features that never vary); use ridge > 0."
        )
    return vectors * values.clamp(min=0) ** exponent @ vectors.T
