"""Numbers with their uncertainty: accuracy, intervals, comparisons, calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Interval(NamedTuple):
    """An estimate and the bounds of its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Three decimals: ``0.832 [0.810, 0.852]``."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class PairedDifference(NamedTuple):
    """Mean of ``a - b`` over pairs, its interval, and how often ``a`` was higher."""

    value: float
    low: float
    high: float
    wins: int
    n: int

    def __str__(self) -> str:
        """For example ``+0.041 [+0.020, +0.062], higher in 5 of 5``."""
        bounds = f"[{self.low:+.3f}, {self.high:+.3f}]"
        return f"{self.value:+.3f} {bounds}, higher in {self.wins} of {self.n}"


def accuracy(logits: Tensor, y: Tensor) -> float:
    """Fraction of samples whose largest logit is the true class, in [0, 1].

    Args:
        logits: ``(n, c)``; probabilities serve as well.
        y: class numbers ``(n,)``.

    Raises:
        ValueError: the shapes do not match, or there are no samples.
    """
    if logits.ndim != 2 or y.shape != logits.shape[:1] or len(y) == 0:
        raise ValueError(
            "accuracy needs logits (n, c) and labels (n,) with n >= 1, got "
            f"{tuple(logits.shape)} and {tuple(y.shape)}."
        )
    return (logits.argmax(1) == y.to(logits.device)).double().mean().item()


def accuracy_interval(correct: int, n: int, level: float = 0.95) -> Interval:
    r"""Wilson score interval of a proportion (Wilson, 1927).

    With :math:`\hat p = k/n` and the normal quantile :math:`z`, centre
    :math:`(\hat p + z^2/2n)/(1+z^2/n)` and half width
    :math:`\frac{z}{1+z^2/n}\sqrt{\hat p(1-\hat p)/n + z^2/4n^2}`. It stays inside
    [0, 1] and is never empty, also for 0 or n correct. It speaks of the test
    samples only, not of training again.

    Args:
        correct: number of right answers, 0 to ``n``.
        n: number of samples.
        level: confidence level in (0, 1).

    Raises:
        ValueError: the counts or the level are out of range.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"need 0 <= correct <= n and n >= 1, got {correct} and {n}.")
    from scipy.stats import norm

    z = float(norm.ppf((1 + _level(level)) / 2))
    p = correct / n
    shrink = 1 + z**2 / n
    centre = (p + z**2 / (2 * n)) / shrink
    half = z / shrink * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low = 0.0 if correct == 0 else max(0.0, centre - half)  # exact ends, no rounding
    high = 1.0 if correct == n else min(1.0, centre + half)
    return Interval(p, low, high)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    r"""Mean with Student's interval, :math:`\bar v \pm t_{n-1} s/\sqrt n`.

    Args:
        values: one number per independent run (seed, episode), at least 2.
        level: confidence level in (0, 1).

    Raises:
        ValueError: fewer than 2 values, or values that are not finite.
    """
    from scipy.stats import t

    v = _numbers(values, "values")
    half = t.ppf((1 + _level(level)) / 2, len(v) - 1) * v.std(ddof=1) / len(v) ** 0.5
    mean = float(v.mean())
    return Interval(mean, mean - float(half), mean + float(half))


def paired_difference(
    a: Sequence[float], b: Sequence[float], level: float = 0.95
) -> PairedDifference:
    """Compare two methods run on the same seeds, pair by pair.

    The interval is Student's, on the differences ``a[i] - b[i]``: what varies from
    seed to seed in both alike cancels.

    Args:
        a: results of the first method, one per seed, at least 2.
        b: results of the second method, in the same order of seeds.
        level: confidence level in (0, 1).

    Raises:
        ValueError: unequal lengths, fewer than 2 pairs, or values not finite.
    """
    first, second = _numbers(a, "a"), _numbers(b, "b")
    if len(first) != len(second):
        raise ValueError(
            f"a and b must be paired by seed, got {len(first)} and {len(second)} "
            "values."
        )
    mean, low, high = mean_interval(first - second, level)
    return PairedDifference(mean, low, high, int((first > second).sum()), len(first))


def confusion_matrix(predicted: Tensor, y: Tensor, num_classes: int) -> Tensor:
    """Counts ``(c, c)`` int64: row is the true class, column the predicted one.

    Args:
        predicted: class numbers ``(n,)``, for example ``logits.argmax(1)``.
        y: true class numbers ``(n,)``.
        num_classes: c.

    Raises:
        ValueError: unequal shapes, or a class outside 0 to ``num_classes - 1``.
    """
    if predicted.shape != y.shape or y.ndim != 1:
        raise ValueError(
            "predicted and y must both be (n,), got "
            f"{tuple(predicted.shape)} and {tuple(y.shape)}; take logits.argmax(1)."
        )
    for name, labels in [("predicted", predicted), ("y", y)]:
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(
                f"{name} must lie in 0..{num_classes - 1}, got "
                f"{int(labels.min())}..{int(labels.max())}."
            )
    cells = y.long().cpu() * num_classes + predicted.long().cpu()
    counts = torch.bincount(cells, minlength=num_classes**2)
    return counts.view(num_classes, num_classes)


def expected_calibration_error(
    probabilities: Tensor, y: Tensor, bins: int = 15
) -> float:
    r"""Gap between confidence and accuracy (Guo et al., 2017, eq. 3).

    :math:`\mathrm{ECE} = \sum_b \frac{|B_b|}{n} |\mathrm{acc}(B_b) -
    \mathrm{conf}(B_b)|` over bins ``(lower, upper]`` of equal width of the largest
    probability.

    Args:
        probabilities: ``(n, c)``, rows sum to 1.
        y: class numbers ``(n,)``.
        bins: number of bins, at least 1.

    Returns:
        A value in [0, 1]; 0 is calibrated at this resolution.

    Raises:
        ValueError: shapes do not match, rows are no probabilities, or bins < 1.
    """
    p = probabilities.double()
    if p.ndim != 2 or y.shape != p.shape[:1] or len(p) == 0 or bins < 1:
        raise ValueError(
            "need probabilities (n, c), labels (n,), n >= 1 and bins >= 1, got "
            f"{tuple(p.shape)}, {tuple(y.shape)} and {bins}."
        )
    if not ((p >= 0).all() and torch.allclose(p.sum(1), p.new_ones(()), atol=1e-4)):
        raise ValueError("rows must be probabilities; apply logits.softmax(1) first.")
    confidence, predicted = p.max(1)  # (n,), (n,)
    right = (predicted == y.to(p.device)).double()
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1  # (n,)
    gaps = p.new_zeros(bins).index_add_(0, index, right - confidence)
    return gaps.abs().sum().item() / len(p)


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level!r}; use 0.95 for 95 %.")
    return level


def _numbers(values: Any, name: str) -> np.ndarray:
    """Finite float64 numbers ``(n,)``, n >= 2."""
    v = np.asarray(values, dtype=np.float64)
    if v.ndim != 1 or len(v) < 2 or not np.isfinite(v).all():
        raise ValueError(
            f"{name} must be at least 2 finite numbers, one per run, got {values!r}; "
            "an interval over runs needs more than one run."
        )
    return v
