"""Prototypical networks: a class is the mean of its support features."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse.meta.inputs import check_alike, check_features, support_classes


def class_prototypes(support_z: Tensor, support_y: Tensor, num_ways: int) -> Tensor:
    r"""Mean feature of every class (Snell, Swersky and Zemel, 2017, eq. 1).

    .. math:: c_k = \frac{1}{|S_k|}\sum_{i:\,y_i = k} z_i

    The mean is taken of differences to one support sample, so that it is as exact far
    from the origin as the dtype allows. Classes may have unequally many samples.
    Chapter 10 asks you to write it.

    Args:
        support_z: features ``(..., n, d)`` float; leading dimensions count episodes.
        support_y: classes ``(..., n)`` int64, 0 to ``num_ways - 1``.
        num_ways: number of classes N.

    Returns:
        ``(..., N, d)`` with the dtype and device of ``support_z``; row k is class k.

    Raises:
        ValueError: shapes, dtypes, devices or labels do not fit, a class without
            samples, or features that are not finite.
    """
    check_features("support_z", support_z)
    members = support_classes(support_z, support_y, num_ways)  # (..., n, N)
    weights = members / members.sum(-2, keepdim=True)
    origin = support_z[..., :1, :].detach()  # weights sum to 1: it has no gradient
    return weights.mT @ (support_z - origin) + origin


def proto_logits(query_z: Tensor, prototypes: Tensor) -> Tensor:
    r"""Minus the squared distance to every prototype (Snell et al., 2017, eq. 2).

    .. math:: \ell_{ik} = -\lVert z_i - c_k\rVert_2^2

    Their softmax is the class probability. The library easyfsl uses the distance
    without the square: the same arg-max, other probabilities. Computed as
    :math:`2 z^\top c - \lVert z\rVert^2 - \lVert c\rVert^2`, which is much
    faster than differences but loses the digits of close points far from the origin;
    so the mean prototype is subtracted first. What is left is an absolute error of
    about the dtype's epsilon times the squared radius of the episode. Chapter 10 asks
    you to write it.

    Args:
        query_z: features ``(..., m, d)`` float; leading dimensions count episodes.
        prototypes: ``(..., N, d)`` with the same leading dimensions.

    Returns:
        Logits ``(..., m, N)``, at most 0.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or numbers not finite.
    """
    check_features("query_z", query_z)
    check_features("prototypes", prototypes)
    check_alike(("query_z", "prototypes"), query_z, prototypes)
    origin = prototypes.detach().mean(-2, keepdim=True)  # distances do not see it
    q, c = query_z - origin, prototypes - origin
    lengths = _squares(q).unsqueeze(-1) + _squares(c).unsqueeze(-2)  # (..., m, N)
    return (2 * (q @ c.mT) - lengths).clamp(max=0)


def _squares(z: Tensor) -> Tensor:
    """Squared lengths of rows, ``(..., n)``."""
    if z.requires_grad:  # a norm has no second derivative at 0, this has
        return torch.linalg.vecdot(z, z)
    return torch.linalg.vector_norm(z, dim=-1).square()  # without a temporary (n, d)
