"""How much transfer gains, and scores that guess it before training (chapter 01)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlcourse.metrics import Interval

_ROUNDS = 1000  # of the fixed point in log_me; a few dozen are usual
_PRECISION = 1e-12  # relative change of the evidence at which it stops


def transfer_gain(
    shots: Sequence[float] | Tensor,
    transfer: Any,
    scratch: Any,
) -> Tensor:
    r"""Area between two learning curves on a log axis of labels per class.

    .. math:: G = \frac{1}{\ln n_m - \ln n_1}
        \int_{\ln n_1}^{\ln n_m} \big(a_T(u) - a_S(u)\big)\,du

    by the trapezoid rule, so it is an average accuracy difference in which every
    doubling of the labels weighs the same. Chapter 01 asks you to write it.

    Args:
        shots: labels per class ``(m,)``, strictly increasing, > 0, m >= 2.
        transfer: accuracies with transfer ``(..., m)``, for example ``(seeds, m)``.
        scratch: accuracies without, the same shape, paired with ``transfer``.

    Returns:
        Gains ``(...)`` float64 in [-1, 1] for accuracies in [0, 1]; above 0 where
        transfer helps.

    Raises:
        ValueError: shapes that do not match, or shots that do not increase.
    """
    n = torch.as_tensor(shots, dtype=torch.float64)
    a, b = (torch.as_tensor(v, dtype=torch.float64) for v in (transfer, scratch))
    if n.ndim != 1 or len(n) < 2 or not (n[0] > 0 and (n.diff() > 0).all()):
        raise ValueError(
            "shots must be at least two positive, strictly increasing numbers, got "
            f"{n.tolist()}."
        )
    if a.shape != b.shape or a.ndim == 0 or a.shape[-1] != len(n):
        raise ValueError(
            f"transfer and scratch must both be (..., {len(n)}) like shots, got "
            f"{tuple(a.shape)} and {tuple(b.shape)}."
        )
    u = n.log()
    return torch.trapezoid(a - b, u, dim=-1) / (u[-1] - u[0])  # (...)


def leep(probabilities: Tensor, y: Tensor) -> Tensor:
    r"""Log expected empirical prediction (Nguyen et al., 2020).

    With :math:`\theta(x)_z` the source model's probability of source class z:

    .. math:: \hat P(y, z) = \frac1n \sum_{i: y_i = y} \theta(x_i)_z, \qquad
        \mathrm{LEEP} = \frac1n \sum_i \log \sum_z \hat P(y_i | z)\, \theta(x_i)_z

    It lies between minus the entropy of the target labels and 0 (chapter 01 proves
    it); higher promises better transfer.

    Args:
        probabilities: the source model's outputs on target samples ``(n, s)``, rows
            sum to 1.
        y: target classes ``(n,)`` int64, >= 0.

    Returns:
        Scalar float64 tensor, in nats.

    Raises:
        ValueError: shapes or dtypes do not fit, or rows are no probabilities.
    """
    theta = probabilities.double()
    if theta.ndim != 2 or len(theta) == 0 or y.shape != theta.shape[:1]:
        raise ValueError(
            "leep needs probabilities (n, s) and labels (n,) with n >= 1, got "
            f"{tuple(theta.shape)} and {tuple(y.shape)}."
        )
    if not ((theta >= 0).all() and ((theta.sum(1) - 1).abs() < 1e-4).all()):
        raise ValueError("rows must be probabilities; apply logits.softmax(1) first.")
    one_hot = _one_hot(y)  # (n, c)
    joint = one_hot.T @ theta / len(theta)  # (c, s)
    # A source class that never gets any mass takes no part in the sum below.
    conditional = joint / joint.sum(0).clamp(min=torch.finfo(joint.dtype).tiny)
    return (conditional[y] * theta).sum(1).log().mean()


def log_me(features: Tensor, y: Tensor) -> Tensor:
    r"""Logarithm of maximum evidence (You et al., 2021, algorithm 1).

    Each class is a regression of its 0/1 indicator :math:`y \in \mathbb R^n` on the
    features :math:`F`, weights drawn from :math:`N(0, \alpha^{-1} I)`, noise of
    precision :math:`\beta`. With :math:`A = \alpha I + \beta F^\top F` and
    :math:`m = \beta A^{-1} F^\top y`, the evidence is (Bishop, 2006, eq. 3.86)

    .. math:: \mathcal L = \tfrac D2 \ln\alpha + \tfrac n2 \ln\beta
        - \tfrac\beta2 \lVert Fm - y\rVert^2 - \tfrac\alpha2 \lVert m\rVert^2
        - \tfrac12 \ln|A| - \tfrac n2 \ln 2\pi

    LogME is its maximum over :math:`\alpha, \beta > 0`, divided by n and averaged
    over the classes that occur. As in the paper it is sought by a fixed point from
    :math:`\alpha = \beta = 1`; for features that say next to nothing about a class
    this may be a local maximum. One singular value decomposition serves all.

    Args:
        features: ``(n, d)`` float; add a column of ones for an intercept.
        y: classes ``(n,)`` int64, >= 0, at least two of them; gaps are no matter.

    Returns:
        Scalar float64 tensor; only comparisons on the same target data mean much.

    Raises:
        ValueError: shapes or dtypes do not fit, features all zero or not finite, or
            features that reproduce the labels exactly (the evidence is unbounded).
    """
    f = features.double()
    if f.ndim != 2 or len(f) == 0 or y.shape != f.shape[:1]:
        raise ValueError(
            "log_me needs features (n, d) and labels (n,) with n >= 1, got "
            f"{tuple(f.shape)} and {tuple(y.shape)}."
        )
    if not f.isfinite().all() or not f.any():
        raise ValueError("features must be finite and not all zero.")
    targets = _one_hot(y)[:, y.unique()]  # (n, c), of the classes that occur
    if targets.shape[1] < 2:
        raise ValueError("y holds one class only; log_me needs at least two.")
    u, s, _ = torch.linalg.svd(f, full_matrices=False)  # (n, r), (r,), (r, d)
    along = u.T @ targets  # (r, c)
    outside = (targets - u @ along).square().sum(0)  # (c,)
    return _max_evidence(s.square()[:, None], along, outside, *f.shape).mean() / len(f)


def rank_correlation(
    scores: Sequence[float], gains: Sequence[float], level: float = 0.95
) -> Interval:
    """Spearman's rank correlation of scores and gains over source models.

    The interval is a percentile bootstrap over the sources, with a fixed seed: it
    asks what other sources of the same kind would have shown.

    Args:
        scores: one score per source ``(m,)``, m >= 4.
        gains: the gain of each source, in the same order.
        level: confidence level in (0, 1).

    Raises:
        ValueError: unequal lengths, fewer than 4 sources, or values all equal.
    """
    if not 4 <= len(scores) == len(gains):
        raise ValueError(
            "scores and gains must be paired, at least 4 of each, got "
            f"{len(scores)} and {len(gains)}."
        )
    pairs = np.array([scores, gains], dtype=np.float64)  # (2, m)
    if not np.ptp(pairs, axis=1).all():
        raise ValueError("equal values have no ranks; scores and gains must vary.")
    rng = np.random.default_rng(0)
    picks = rng.integers(0, pairs.shape[1], (2000, pairs.shape[1]))
    again = _spearman(*pairs[:, picks])  # (2000,); nan where a draw has no spread
    low, high = np.nanquantile(again, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(_spearman(*pairs)), float(low), float(high))


def _spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the ranks along the last axis, ``(..., m)``."""
    from scipy.stats import rankdata

    x, y = (rankdata(v, axis=-1) for v in (a, b))
    x, y = (v - v.mean(-1, keepdims=True) for v in (x, y))
    length = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    return (x * y).sum(-1) / np.where(length == 0, np.nan, length)


def _max_evidence(
    power: Tensor, along: Tensor, outside: Tensor, n: int, d: int
) -> Tensor:
    """The evidence of each class at its maximum, ``(c,)``.

    Args:
        power: squared singular values ``(r, 1)``.
        along: targets on the left singular vectors ``(r, c)``.
        outside: squared length of the targets outside their span ``(c,)``.
        n: samples.
        d: features.
    """
    alpha = beta = torch.ones_like(outside)  # (c,)
    before = outside.new_full(outside.shape, -math.inf)
    for _ in range(_ROUNDS):
        scale = alpha + beta * power  # (r, c)
        error = outside + (alpha * along / scale).square().sum(0)
        norm = (power * (beta * along / scale).square()).sum(0)
        if (error < 1e-12 * n).any():
            raise ValueError(
                "the features reproduce the labels exactly, so the evidence has no "
                "maximum; use more samples than features."
            )
        now = (
            scale.log().sum(0) + (d - len(power)) * alpha.log()  # ln|A|
            + beta * error + alpha * norm + n * math.log(2 * math.pi)
            - d * alpha.log() - n * beta.log()
        ) / -2  # fmt: skip
        if ((now - before).abs() <= _PRECISION * now.abs()).all():
            break
        before = now
        gamma = (beta * power / scale).sum(0)  # effective number of features
        alpha = gamma / norm.clamp(min=torch.finfo(norm.dtype).tiny)
        beta = (n - gamma) / error
    return now


def _one_hot(y: Tensor) -> Tensor:
    """Class indicators ``(n, c)`` float64 of int64 labels ``(n,)``."""
    if y.dtype != torch.int64 or int(y.min()) < 0:
        raise ValueError(
            f"y must be int64 class numbers from 0 on, got {y.dtype} with smallest "
            f"value {y.min().item()}."
        )
    return torch.nn.functional.one_hot(y).double()
