"""Losses on distances between embeddings. Chapter 02 derives them."""

from __future__ import annotations

import torch
from torch import Tensor


def contrastive_loss(z: Tensor, labels: Tensor, margin: float = 1.0) -> Tensor:
    r"""Pull pairs of one class together, push others apart up to a margin.

    Hadsell, Chopra and LeCun (2006), eq. (4), mean over all pairs i < j with
    :math:`d_{ij} = \lVert z_i - z_j\rVert_2`:

    .. math:: \tfrac12 d_{ij}^2 \text{ if } y_i = y_j, \qquad
        \tfrac12 \max(0, m - d_{ij})^2 \text{ otherwise.}

    Two different samples at one point push each other nowhere: the direction is not
    defined there, and the gradient is 0, not nan.

    Args:
        z: ``(n, d)`` float embeddings, n >= 2.
        labels: ``(n,)`` int64 classes.
        margin: m > 0, a distance.

    Returns:
        Scalar tensor, ``>= 0``.

    Raises:
        ValueError: shapes, dtypes or ``margin`` do not fit.
    """
    _check_embeddings(z, labels, margin)
    if len(z) < 2:
        raise ValueError("a pair needs n >= 2 embeddings, got 1.")
    first, second = torch.triu_indices(len(z), len(z), 1, device=z.device)
    squared = (z[first] - z[second]).square().sum(1)  # (pairs,)
    # sqrt has an infinite slope at 0, and inf * 0 is nan: keep 0 away from it.
    apart = squared > 0
    distance = torch.where(apart, squared, 1).sqrt() * apart
    push = (margin - distance).relu().square()
    same = labels[first] == labels[second]
    return torch.where(same, squared, push).mean() / 2


def triplet_loss(z: Tensor, labels: Tensor, margin: float = 0.2) -> Tensor:
    r"""Triplet loss, mean over all semi-hard triplets (Schroff et al., 2015).

    Anchor a and positive p are two samples of one class, the negative n is of
    another. With squared distances :math:`d_{ij} = \lVert z_i - z_j\rVert_2^2` the
    loss of a triplet is :math:`\max(0, d_{ap} - d_{an} + m)` (eqs. (1) to (3)).
    Counted are the semi-hard ones (eq. (4), within the margin):

    .. math:: d_{ap} < d_{an} < d_{ap} + m.

    Without any, the loss is 0 and its gradient is 0. Distances are differences,
    not a matrix product, which loses the digits of close points.

    Args:
        z: ``(n, d)`` float embeddings.
        labels: ``(n,)`` int64 classes.
        margin: m > 0, a squared distance.

    Returns:
        Scalar tensor in ``[0, m)``.

    Raises:
        ValueError: shapes, dtypes or ``margin`` do not fit.
    """
    _check_embeddings(z, labels, margin)
    squared = (z[:, None] - z[None, :]).square().sum(2)  # (n, n)
    same = labels[:, None] == labels[None, :]
    anchor, positive = (
        same & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    ).nonzero(as_tuple=True)  # (pairs,), (pairs,)
    near = squared[anchor, positive][:, None]  # (pairs, 1)
    far = squared[anchor]  # (pairs, n)
    semi_hard = ~same[anchor] & (near < far) & (far < near + margin)
    losses = (near - far + margin)[semi_hard]  # (triplets,)
    return losses.sum() / max(len(losses), 1)


def _check_embeddings(z: Tensor, labels: Tensor, margin: float) -> None:
    if z.ndim != 2 or not z.is_floating_point() or len(z) == 0:
        raise ValueError(
            "z must be a float tensor of shape (n, d) with n >= 1, got "
            f"{tuple(z.shape)} of {z.dtype}."
        )
    if labels.shape != z.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"labels must be an int64 tensor of shape ({len(z)},), got "
            f"{tuple(labels.shape)} of {labels.dtype}; one class per embedding."
        )
    if not margin > 0:
        raise ValueError(f"margin must be > 0, got {margin!r}; try 0.2.")
