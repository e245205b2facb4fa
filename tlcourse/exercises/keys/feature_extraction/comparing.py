"""CKA: what is right, and the formulas that look like it."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse import features
from tlcourse.exercises.spec import Key, Mutant


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Centred columns."""
    if len(a) != len(b) or any((z.amax(0) == z.amin(0)).all() for z in (a, b)):
        raise ValueError("unequal lengths or constant features")
    return a - a.mean(0), b - b.mean(0)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())


def _uncentred(a: Tensor, b: Tensor) -> Tensor:
    _checked(a, b)
    return _ratio(a, b)


def _not_squared(a: Tensor, b: Tensor) -> Tensor:
    a, b = _checked(a, b)
    return (b.T @ a).norm() / ((a.T @ a).norm() * (b.T @ b).norm()).sqrt()


def _squared_below(a: Tensor, b: Tensor) -> Tensor:
    a, b = _checked(a, b)
    return (b.T @ a).square().sum() / (
        (a.T @ a).square().sum() * (b.T @ b).square().sum()
    )


def _feature_norms(a: Tensor, b: Tensor) -> Tensor:
    a, b = _checked(a, b)
    return (b.T @ a).square().sum() / (a.square().sum() * b.square().sum())


def _rows_centred(a: Tensor, b: Tensor) -> Tensor:
    _checked(a, b)
    return _ratio(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True))


def _standardised(a: Tensor, b: Tensor) -> Tensor:
    a, b = _checked(a, b)
    return _ratio(a / a.std(0), b / b.std(0))


def _shortened(a: Tensor, b: Tensor) -> Tensor:
    n = min(len(a), len(b))
    return features.linear_cka(a[:n], b[:n])


def _nan_for_constant(a: Tensor, b: Tensor) -> Tensor:
    if len(a) == len(b) and any((z.amax(0) == z.amin(0)).all() for z in (a, b)):
        return torch.tensor(torch.nan)
    return features.linear_cka(a, b)


def _refuses_a_dead_feature(a: Tensor, b: Tensor) -> Tensor:
    if any((z.amax(0) == z.amin(0)).any() for z in (a, b)):
        raise ValueError("a constant feature")
    return features.linear_cka(a, b)


linear_cka = Key(
    reference=features.linear_cka,
    mutants=(
        Mutant(
            "uncentred",
            _uncentred,
            "The features are not centred, so that their common mean counts as "
            "similarity. Subtract the mean of each column first, on both sides.",
        ),
        Mutant(
            "rows_centred",
            _rows_centred,
            "You subtract each sample's own mean. Centre over the samples: "
            "a - a.mean(0), the mean of each column.",
        ),
        Mutant(
            "not_squared",
            _not_squared,
            "This is the square root of CKA. The numerator is the squared Frobenius "
            "norm of b.T @ a, over the product of two plain norms.",
        ),
        Mutant(
            "squared_below",
            _squared_below,
            "The norms in the denominator are squared, so that CKA depends on the "
            "scale. Only the numerator is squared: ||b.T a||^2 / (||a.T a|| ||b.T "
            "b||).",
        ),
        Mutant(
            "feature_norms",
            _feature_norms,
            "The denominator has the norms of a and b. It needs those of a.T @ a and "
            "b.T @ b; otherwise the CKA of a with itself is not 1.",
        ),
        Mutant(
            "standardised",
            _standardised,
            "You divide each column by its standard deviation. CKA weighs directions "
            "by their variance; scaling columns one by one changes it. Only centre.",
        ),
        Mutant(
            "shortened",
            _shortened,
            "Unequal numbers of samples were accepted, and the longer side cut. Row i "
            "of both sides must be the same sample: raise a ValueError.",
        ),
        Mutant(
            "nan_for_constant",
            _nan_for_constant,
            "Features that never vary give 0 / 0 = nan, which spreads without a word. "
            "Raise a ValueError that says so.",
        ),
        Mutant(
            "refuses_a_dead_feature",
            _refuses_a_dead_feature,
            "You refuse a side as soon as one of its features is constant. One dead "
            "unit adds nothing to the sums; refuse only if all features are constant.",
        ),
    ),
)
