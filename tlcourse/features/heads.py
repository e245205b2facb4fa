"""Heads on frozen features: ridge in closed form, and nearest neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 1024  # queries at a time: similarities of one block stay near the cache


def ridge_probe(
    z: Tensor, y: Tensor, num_classes: int, penalty: float = 1.0
) -> tuple[Tensor, Tensor]:
    r"""Linear classifier by ridge regression onto one-hot targets, in closed form.

    .. math:: \min_{W, b} \sum_i \|W z_i + b - t_i\|^2 + \lambda \|W\|_F^2

    The bias is not penalised: with centred features and targets,
    :math:`W^\top = (\bar Z^\top \bar Z + \lambda I)^{-1} \bar Z^\top \bar T` and
    :math:`b = \bar t - W \bar z` (Hoerl & Kennard, 1970). With fewer samples than
    features the equal form :math:`\bar Z^\top (\bar Z \bar Z^\top + \lambda I)^{-1}
    \bar T` is solved. Computed in float64. Chapter 03 derives it.

    Args:
        z: features ``(n, d)``, float.
        y: classes ``(n,)`` int64 in ``[0, num_classes)``; some may be absent.
        num_classes: c, the number of outputs.
        penalty: :math:`\lambda > 0`, in units of squared features times samples.

    Returns:
        ``weight`` ``(c, d)`` and ``bias`` ``(c,)`` with the dtype of ``z``;
        logits are ``z @ weight.T + bias``.

    Raises:
        ValueError: shapes, dtypes or classes do not fit, or ``penalty <= 0``.
    """
    _check_labelled(z, y, "z", "y")
    if not penalty > 0:
        raise ValueError(f"penalty must be > 0, got {penalty}; try 1.0.")
    if int(y.min()) < 0 or int(y.max()) >= num_classes:
        raise ValueError(
            f"y must lie in [0, {num_classes - 1}], got [{int(y.min())}, "
            f"{int(y.max())}]."
        )
    targets = F.one_hot(y, num_classes).to(z.device, torch.float64)  # (n, c)
    z_mean, t_mean = z.double().mean(0), targets.mean(0)
    z_c, t_c = z.double() - z_mean, targets - t_mean  # (n, d), (n, c)
    n, d = z_c.shape
    if d <= n:
        solution = _solve(z_c.T @ z_c, penalty, z_c.T @ t_c)  # (d, c)
    else:
        solution = z_c.T @ _solve(z_c @ z_c.T, penalty, t_c)  # (d, c)
    bias = t_mean - z_mean @ solution  # (c,)
    return solution.T.contiguous().to(z.dtype), bias.to(z.dtype)


def _solve(gram: Tensor, penalty: float, right: Tensor) -> Tensor:
    """Solve (gram + penalty I) X = right by Cholesky."""
    gram.diagonal().add_(penalty)
    return torch.cholesky_solve(right, torch.linalg.cholesky(gram))


def knn_predict(
    z_train: Tensor, y_train: Tensor, z_test: Tensor | None = None, k: int = 5
) -> Tensor:
    """Class of each query by a vote of its k nearest samples (cosine similarity).

    Among classes with equally many votes, the one with the nearest neighbour wins.
    Without queries the training samples are classified, each by the others
    (leave-one-out). Chapter 03 asks you to write it.

    Args:
        z_train: features ``(n, d)``, float.
        y_train: classes ``(n,)`` int64, >= 0.
        z_test: queries ``(m, d)``, or None for leave-one-out.
        k: neighbours that vote, at least 1, at most n (n - 1 for leave-one-out).

    Returns:
        Classes ``(m,)`` int64.

    Raises:
        ValueError: shapes or dtypes do not fit, or k is out of range.
    """
    _check_labelled(z_train, y_train, "z_train", "y_train")
    index, _ = nearest(z_train, z_test, k)  # (m, k)
    votes = y_train[index]  # (m, k), nearest first
    same = votes[:, :, None] == votes[:, None, :]  # (m, k, k)
    # The first of the largest counts belongs to the nearest of the tied classes.
    best = same.sum(2).argmax(1)  # (m,)
    return votes.gather(1, best[:, None]).squeeze(1)


def nearest(
    z_train: Tensor, z_test: Tensor | None = None, k: int = 5
) -> tuple[Tensor, Tensor]:
    """The k most similar samples of each query, by the cosine of their angle.

    Args:
        z_train: features ``(n, d)``, float.
        z_test: queries ``(m, d)``, or None: the samples themselves, each without
            itself.
        k: neighbours, at least 1, at most n (n - 1 without queries).

    Returns:
        Indices ``(m, k)`` int64, nearest first, and similarities ``(m, k)`` in
        [-1, 1]. A feature vector of zeros has similarity 0 to all.

    Raises:
        ValueError: shapes do not fit, or k is out of range.
    """
    queries = z_train if z_test is None else z_test
    if z_train.ndim != 2 or queries.ndim != 2 or queries.shape[1] != z_train.shape[1]:
        raise ValueError(
            "features must be (n, d) and (m, d) with one d, got "
            f"{tuple(z_train.shape)} and {tuple(queries.shape)}."
        )
    most = len(z_train) - (z_test is None)
    if not 1 <= k <= most:
        raise ValueError(f"k must lie in [1, {most}], got {k}; give more samples.")
    train = F.normalize(z_train, dim=1)
    indices, similarities = [], []
    for start in range(0, len(queries), _BLOCK):
        s = F.normalize(queries[start : start + _BLOCK], dim=1) @ train.T  # (b, n)
        if z_test is None:
            s[torch.arange(len(s)), torch.arange(start, start + len(s))] = -torch.inf
        top = s.topk(k, dim=1)
        indices.append(top.indices)
        similarities.append(top.values)
    return torch.cat(indices), torch.cat(similarities)


def _check_labelled(z: Tensor, y: Tensor, z_name: str, y_name: str) -> None:
    if z.ndim != 2 or not z.is_floating_point() or len(z) == 0:
        raise ValueError(
            f"{z_name} must be a float tensor (n, d) with n >= 1, got "
            f"{tuple(z.shape)} of {z.dtype}; flatten or pool maps first."
        )
    if y.shape != z.shape[:1] or y.dtype != torch.int64:
        raise ValueError(
            f"{y_name} must be an int64 tensor of shape ({len(z)},), got "
            f"{tuple(y.shape)} of {y.dtype}; class numbers, not one-hot."
        )
