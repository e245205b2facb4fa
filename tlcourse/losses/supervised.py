"""Losses of ordinary supervised learning. Chapter 02 derives them."""

from __future__ import annotations

import torch
from torch import Tensor


def check_logits(logits: Tensor, targets: Tensor) -> None:
    """Raise a ``ValueError`` unless logits are ``(n, k)`` and targets fit them."""
    if logits.ndim != 2 or not logits.is_floating_point() or logits.shape[0] == 0:
        raise ValueError(
            "logits must be a float tensor of shape (n, k) with n >= 1, got "
            f"{tuple(logits.shape)} of {logits.dtype}."
        )
    if targets.shape != logits.shape[:1] or targets.dtype != torch.int64:
        raise ValueError(
            f"targets must be an int64 tensor of shape ({logits.shape[0]},), got "
            f"{tuple(targets.shape)} of {targets.dtype}; class indices, not one-hot."
        )
    if int(targets.min()) < 0 or int(targets.max()) >= logits.shape[1]:
        raise ValueError(
            f"targets must lie in [0, {logits.shape[1] - 1}], got "
            f"[{int(targets.min())}, {int(targets.max())}]."
        )


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Mean negative log-likelihood of the true classes.

    .. math:: \frac1n \sum_i \Big(\log\sum_j e^{z_{ij}} - z_{i y_i}\Big)

    Stable: log-sum-exp subtracts the row's largest logit before it exponentiates.

    Args:
        logits: ``(n, k)`` float scores before softmax.
        targets: ``(n,)`` int64 class indices in ``[0, k)``.

    Returns:
        Scalar tensor, ``>= 0``, in nats.

    Raises:
        ValueError: shapes, dtypes or class indices do not fit.
    """
    check_logits(logits, targets)
    true = logits.gather(1, targets[:, None]).squeeze(1)  # (n,)
    return (logits.logsumexp(dim=1) - true).mean()


def label_smoothing_ce(
    logits: Tensor, targets: Tensor, smoothing: float = 0.1
) -> Tensor:
    r"""Cross-entropy with targets softened towards the uniform distribution.

    Szegedy et al. (2016), section 7, with :math:`\varepsilon` = ``smoothing``:

    .. math:: -\frac1n \sum_i \sum_k q_{ik} \log p_{ik}, \qquad
        q_{ik} = (1-\varepsilon)\,[k = y_i] + \frac{\varepsilon}{K}

    Equals :math:`(1-\varepsilon)` times cross-entropy plus :math:`\varepsilon` times
    the mean of :math:`-\log p` over all classes. Chapter 02 derives it.

    Args:
        logits: ``(n, k)`` float scores before softmax, k >= 2.
        targets: ``(n,)`` int64 class indices in ``[0, k)``.
        smoothing: the mass spread over all classes, in ``[0, 1)``.

    Returns:
        Scalar tensor, ``>= 0``, in nats.

    Raises:
        ValueError: shapes, dtypes, class indices or ``smoothing`` do not fit.
    """
    check_logits(logits, targets)
    if logits.shape[1] < 2:
        raise ValueError("label smoothing needs k >= 2 classes, got 1.")
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must lie in [0, 1), got {smoothing!r}; try 0.1.")
    normaliser = logits.logsumexp(dim=1)  # (n,)
    true = logits.gather(1, targets[:, None]).squeeze(1)  # (n,)
    soft = (1 - smoothing) * true + smoothing * logits.mean(dim=1)
    return (normaliser - soft).mean()


def focal_loss(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    r"""Cross-entropy that looks away from samples already classified well.

    Lin et al. (2017), eq. (4), for any number of classes, p the probability of the
    true class: :math:`-\frac1n \sum_i (1 - p_i)^\gamma \log p_i`. With
    :math:`\gamma = 0` it is cross-entropy. Chapter 02 derives its gradient.

    Args:
        logits: ``(n, k)`` float scores before softmax.
        targets: ``(n,)`` int64 class indices in ``[0, k)``.
        gamma: how fast the weight falls with confidence, ``>= 0``; 0, or at least 1:
            in between the gradient is infinite at p = 1.

    Returns:
        Scalar tensor, ``>= 0``, in nats.

    Raises:
        ValueError: shapes, dtypes, class indices or ``gamma`` do not fit.
    """
    check_logits(logits, targets)
    if not (gamma == 0 or gamma >= 1):
        raise ValueError(f"gamma must be 0 or at least 1, got {gamma!r}; try 2.")
    log_p = logits.log_softmax(dim=1).gather(1, targets[:, None]).squeeze(1)  # (n,)
    miss = -torch.expm1(log_p)  # 1 - p, exact where p is close to 1
    return -(miss**gamma * log_p).mean()
