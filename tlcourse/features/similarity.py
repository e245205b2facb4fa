"""How alike two sets of features are: linear CKA, plain and debiased."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_cka(a: Tensor, b: Tensor, *, debiased: bool = False) -> Tensor:
    r"""Linear centred kernel alignment of two feature sets (Kornblith et al., 2019).

    .. math:: \frac{\|\bar B^\top \bar A\|_F^2}
        {\|\bar A^\top \bar A\|_F \, \|\bar B^\top \bar B\|_F}

    with column-centred features. Rotating, shifting or scaling one side as a whole
    changes nothing. The plain form is biased upwards when features are many and
    samples few. ``debiased`` replaces each of the three terms by the unbiased
    estimator of HSIC (Song et al., 2012), here in the form that never
    builds an ``n x n`` matrix unless n is small; it may be slightly negative.
    Chapter 03 derives both.

    Args:
        a: features ``(n, d1)``, float; row i belongs to sample i.
        b: features ``(n, d2)`` of the same samples, in the same order.
        debiased: use the unbiased terms; needs n >= 4.

    Returns:
        Scalar tensor: in [0, 1] for the plain form, at most 1 for the debiased.

    Raises:
        ValueError: unequal or too few samples, wrong shapes, or features that are
            the same for every sample.
    """
    least = 4 if debiased else 2
    for name, z in (("a", a), ("b", b)):
        if z.ndim != 2 or not z.is_floating_point() or len(z) < least:
            raise ValueError(
                f"{name} must be a float tensor (n, d) with n >= {least}, got "
                f"{tuple(z.shape)} of {z.dtype}."
            )
    if len(a) != len(b):
        raise ValueError(
            f"a and b must describe the same samples, got {len(a)} and {len(b)} rows."
        )
    constant = any((z.amax(0) == z.amin(0)).all() for z in (a, b))
    a, b = a - a.mean(0), b - b.mean(0)
    term = _unbiased_term if debiased else _product_norm
    own_a, own_b = term(a, a), term(b, b)
    if constant or float(own_a) <= 0 or float(own_b) <= 0:
        raise ValueError(
            "the features of a or b do not vary over the samples, so there is nothing "
            "to compare; was the layer dead, or one picture given n times?"
        )
    return (term(a, b) / (own_a.sqrt() * own_b.sqrt())).to(a.dtype)


def _product_norm(a: Tensor, b: Tensor) -> Tensor:
    """``||b.T a||_F^2`` = ``<a a.T, b b.T>``, in the cheaper form, as float64."""
    n, d1, d2 = len(a), a.shape[1], b.shape[1]
    if n * (d1 + d2) < d1 * d2:
        gram_a = a @ a.T  # (n, n)
        return (gram_a.double() * (gram_a if a is b else b @ b.T).double()).sum()
    return (b.T @ a).double().square().sum()


def _unbiased_term(a: Tensor, b: Tensor) -> Tensor:
    """n (n - 3) times the unbiased HSIC of centred features, as float64.

    With K = a a.T and L = b b.T without their diagonals: tr(KL) +
    (1'K1)(1'L1) / ((n-1)(n-2)) - 2/(n-2) 1'KL1. Since columns sum to 0, each row of
    K sums to minus its diagonal entry.
    """
    n = len(a)
    k, m = a.square().sum(1).double(), b.square().sum(1).double()  # (n,), (n,)
    trace = _product_norm(a, b) - (k * m).sum()
    return (
        trace + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * torch.dot(k, m)
    )
