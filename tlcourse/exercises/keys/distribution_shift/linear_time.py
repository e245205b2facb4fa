"""MMD² in linear time: what is right, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tlcourse import shift
from tlcourse.exercises.keys.distribution_shift.mmd import Width, sigmas_of
from tlcourse.exercises.spec import Key, Mutant

Pair = tuple[Tensor, Tensor]


def _terms(x: Tensor, y: Tensor, width: Width, first: Tensor, second: Tensor) -> Tensor:
    """h for the pairs of rows given, ``(pairs,)``."""
    shift.mmd_linear_time(x, y, width)  # keeps the refusals
    s = sigmas_of(x, y, width)

    def k(a: Tensor, b: Tensor) -> Tensor:
        squared = (a - b).square().sum(1)
        return torch.stack([(-squared / (2 * t**2)).exp() for t in s]).mean(0)

    a, b, c, d = x[first], x[second], y[first], y[second]
    return torch.stack([k(a, b), k(c, d), k(a, d), k(b, c), k(a, c), k(b, d)])


def _linear(
    combine: Callable[[Tensor], Tensor],
    variance: Callable[[Tensor], Tensor] = lambda h: h.var() / len(h),
) -> Callable[[Tensor, Tensor, Width], Pair]:
    def estimate(x: Tensor, y: Tensor, width: Width) -> Pair:
        even = torch.arange(0, len(x) - 1, 2)
        h = combine(_terms(x, y, width, even, even + 1))
        return h.mean(), variance(h)

    return estimate


def _h(t: Tensor) -> Tensor:
    return t[0] + t[1] - t[2] - t[3]


def _overlapping(x: Tensor, y: Tensor, width: Width) -> Pair:
    rows = torch.arange(len(x) - 1)
    h = _h(_terms(x, y, width, rows, rows + 1))
    return h.mean(), h.var() / len(h)


def _halves(x: Tensor, y: Tensor, width: Width) -> Pair:
    rows = torch.arange(len(x) // 2)
    h = _h(_terms(x, y, width, rows, rows + len(rows)))
    return h.mean(), h.var() / len(h)


def _all_pairs(x: Tensor, y: Tensor, width: Width) -> Pair:
    return shift.mmd2(x, y, width), shift.mmd_linear_time(x, y, width).variance


def _variance_over_rows(x: Tensor, y: Tensor, width: Width) -> Pair:
    value, variance = shift.mmd_linear_time(x, y, width)
    return value, variance * (len(x) // 2) / len(x)


def _two_pairs_refused(x: Tensor, y: Tensor, width: Width) -> Pair:
    if len(x) <= 4:
        raise ValueError("too few rows")
    return tuple(shift.mmd_linear_time(x, y, width))


def _cut_silently(x: Tensor, y: Tensor, width: Width) -> Pair:
    n = min(len(x), len(y))
    if n < 4:
        return shift.mmd2(x[:2], y[:2], width), torch.tensor(torch.nan)
    return tuple(shift.mmd_linear_time(x[:n], y[:n], width))


mmd_linear_time = Key(
    reference=shift.mmd_linear_time,
    mutants=(
        Mutant(
            "same_row_across",
            _linear(lambda t: t[0] + t[1] - t[4] - t[5]),
            "The cross terms compare row 1 of x with row 1 of y. The formula crosses "
            "them: x_1 with y_2 and x_2 with y_1.",
        ),
        Mutant(
            "cross_term_once",
            _linear(lambda t: t[0] + t[1] - t[2]),
            "One cross term is missing. Each h has four kernel values, two of them "
            "subtracted: k(x_1, y_2) and k(x_2, y_1).",
        ),
        Mutant(
            "overlapping_pairs",
            _overlapping,
            "Every row is used in two pairs, so the h are not independent and their "
            "variance is wrong. Take rows 1 and 2, then 3 and 4.",
        ),
        Mutant(
            "first_with_second_half",
            _halves,
            "You pair the first half with the second half. That also estimates MMD², "
            "but the exercise pairs neighbours: rows 1 and 2, 3 and 4.",
        ),
        Mutant(
            "all_pairs",
            _all_pairs,
            "That is the quadratic estimate over all pairs. In linear time every row "
            "is used once.",
        ),
        Mutant(
            "variance_of_one_term",
            _linear(_h, lambda h: h.var()),
            "You return the variance of a single h. The mean of many varies less: "
            "divide by their number.",
        ),
        Mutant(
            "variance_over_rows",
            _variance_over_rows,
            "You divide the variance by the number of rows. The mean is taken over "
            "half as many h: divide by the number of pairs.",
        ),
        Mutant(
            "two_pairs_refused",
            _two_pairs_refused,
            "4 rows make two pairs, and two numbers have a sample variance. Refuse "
            "fewer than 4 rows only.",
        ),
        Mutant(
            "variance_over_n",
            _linear(_h, lambda h: h.var(correction=0) / len(h)),
            "The variance of the h is taken with 1/N. From a sample it is estimated "
            "with 1/(N - 1), as torch's var() does.",
        ),
        Mutant(
            "standard_error",
            _linear(_h, lambda h: (h.var() / len(h)).sqrt()),
            "You return the standard error. Asked is its square, the variance.",
        ),
        Mutant(
            "unequal_sizes_cut",
            _cut_silently,
            "Bad input was accepted: samples of unequal size were cut in silence, or a "
            "variance was taken of one number. Raise a ValueError.",
        ),
    ),
)
