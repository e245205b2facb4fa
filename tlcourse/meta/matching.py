"""Matching networks: a query takes the labels of the samples it resembles."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.meta.inputs import check_alike, check_features, support_classes


def matching_attention(
    query_z: Tensor, support_z: Tensor, temperature: float = 1.0
) -> Tensor:
    r"""How much each query looks at each support sample (Vinyals et al., 2016).

    .. math:: a_{ij} = \frac{\exp(\cos(q_i, s_j)/\tau)}
        {\sum_{l}\exp(\cos(q_i, s_l)/\tau)}

    Section 2.1.1 there, with :math:`\tau = 1`. A cosine lies in [-1, 1], so with
    :math:`\tau = 1` one of n samples gets at most :math:`1/(1 + (n-1)e^{-2})`; a
    smaller temperature sharpens. Their *full context embeddings*, which let the
    features of a sample depend on the whole support set, are left out. Chapter 10
    asks you to write it.

    Args:
        query_z: features ``(..., m, d)`` float; leading dimensions count episodes.
        support_z: features ``(..., n, d)`` with the same leading dimensions.
        temperature: :math:`\tau > 0`.

    Returns:
        ``(..., m, n)``; rows sum to 1.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, ``temperature <= 0``, a
            vector of zeros (it has no direction), or numbers not finite.
    """
    check_features("query_z", query_z)
    check_features("support_z", support_z)
    check_alike(("query_z", "support_z"), query_z, support_z)
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature!r}; try 1.0.")
    cosine = _directions("query_z", query_z) @ _directions("support_z", support_z).mT
    return (cosine / temperature).softmax(-1)


def matching_probabilities(
    query_z: Tensor,
    support_z: Tensor,
    support_y: Tensor,
    num_ways: int,
    temperature: float = 1.0,
) -> Tensor:
    r"""Class probabilities of a matching network (Vinyals et al., 2016, eq. 1).

    Attention times one-hot labels, :math:`p_{ik} = \sum_{j:\,y_j = k} a_{ij}`. A class
    with more support samples collects more attention.

    Args:
        query_z: features ``(..., m, d)`` float; leading dimensions count episodes.
        support_z: features ``(..., n, d)``.
        support_y: classes ``(..., n)`` int64, 0 to ``num_ways - 1``.
        num_ways: number of classes N.
        temperature: :math:`\tau > 0`, see :func:`matching_attention`.

    Returns:
        ``(..., m, N)``; rows sum to 1.

    Raises:
        ValueError: see :func:`matching_attention`; or labels that do not fit.
    """
    attention = matching_attention(query_z, support_z, temperature)
    return attention @ support_classes(support_z, support_y, num_ways)


def _directions(name: str, z: Tensor) -> Tensor:
    """Rows of length 1, also where squares would be too large or small for a float."""
    largest = z.detach().abs().amax(-1, keepdim=True)
    if not (largest > 0).all():
        raise ValueError(
            f"{name} holds a vector of zeros, which has no direction and no cosine; "
            "take features before the ReLU, or drop the sample."
        )
    return F.normalize(z / largest, dim=-1, eps=torch.finfo(z.dtype).tiny)
