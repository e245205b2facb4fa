"""MMD²: what is right, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tlcourse import shift
from tlcourse.exercises.spec import Key, Mutant

Width = float | Sequence[float] | None
_LADDER = (0.25, 0.5, 1.0, 2.0, 4.0)


def sigmas_of(x: Tensor, y: Tensor, width: Width) -> list[Any]:
    """The widths as a list; the default ones if there are none."""
    if width is None:
        sigma = shift.median_heuristic(x, y)
        return [float(sigma) * f**0.5 for f in _LADDER]
    return list(width) if isinstance(width, list) else [width]


def _kernel(x: Tensor, y: Tensor, sigmas: list[Any]) -> Tensor:
    squared = (x[:, None] - y[None]).square().sum(-1)
    return torch.stack([(-squared / (2 * s**2)).exp() for s in sigmas]).mean(0)


def _off(k: Tensor) -> Tensor:
    return k.sum() - k.trace()


def _within(k: Tensor, unbiased: bool) -> Tensor:
    return _off(k) / (len(k) * (len(k) - 1)) if unbiased else k.mean()


def _plain(
    within: Callable[[Tensor, bool], Tensor] = _within,
    across: Callable[[Tensor], Tensor] = lambda k: 2 * k.mean(),
    sigmas: Callable[[Tensor, Tensor, Width], list[Any]] = sigmas_of,
    kernel: Callable[..., Tensor] = _kernel,
    refuses: bool = True,
) -> Callable[..., Tensor]:
    """The plain form, with a flaw to choose."""

    def estimate(
        x: Tensor, y: Tensor, width: Width = None, unbiased: bool = True
    ) -> Tensor:
        if refuses:
            shift.mmd2(x.detach(), y.detach(), width, unbiased)
        s = sigmas(x, y, width)
        own = within(kernel(x, x, s), unbiased) + within(kernel(y, y, s), unbiased)
        return own - across(kernel(x, y, s))

    return estimate


def _attached(x: Tensor, y: Tensor, width: Width) -> list[Any]:
    if width is not None:
        return sigmas_of(x, y, width)
    median = torch.pdist(torch.cat([x, y])).median()
    return [median * f**0.5 for f in _LADDER]


def _ladder_on_sigma(x: Tensor, y: Tensor, width: Width) -> list[Any]:
    if width is not None:
        return sigmas_of(x, y, width)
    return [float(shift.median_heuristic(x, y)) * f for f in _LADDER]


def _one_width(x: Tensor, y: Tensor, width: Width) -> list[Any]:
    if width is not None:
        return sigmas_of(x, y, width)
    return [float(shift.median_heuristic(x, y))]


def _one_size(
    x: Tensor, y: Tensor, width: Width = None, unbiased: bool = True
) -> Tensor:
    if not unbiased:
        return shift.mmd2(x, y, width, unbiased)
    shift.mmd2(x.detach(), y.detach(), width)
    s = sigmas_of(x, y, width)
    pairs = len(x) * (len(x) - 1)
    own = (_off(_kernel(x, x, s)) + _off(_kernel(y, y, s))) / pairs
    return own - 2 * _kernel(x, y, s).mean()


mmd2 = Key(
    reference=shift.mmd2,
    mutants=(
        Mutant(
            "diagonal_kept",
            _plain(lambda k, u: k.sum() / (len(k) * (len(k) - 1)) if u else k.mean()),
            "The diagonal is still in the sum: each sample is compared with itself, "
            "where the kernel is 1. Subtract the trace before dividing by n (n - 1).",
        ),
        Mutant(
            "n_squared",
            _plain(lambda k, u: _off(k) / len(k) ** 2 if u else k.mean()),
            "The diagonal is left out, but you divide by n² as if it were there. There "
            "are n (n - 1) pairs of different samples.",
        ),
        Mutant(
            "always_biased",
            _plain(lambda k, u: k.mean()),
            "`unbiased=True` still takes plain means, diagonal included: the estimate "
            "is then positive even for two samples of one distribution.",
        ),
        Mutant(
            "biased_by_default",
            lambda x, y, width=None, unbiased=False: shift.mmd2(x, y, width, unbiased),
            "mmd2(x, y) is to be unbiased: the default is `unbiased=True`.",
        ),
        Mutant(
            "another_default_width",
            lambda x, y, width=1.0, unbiased=True: shift.mmd2(x, y, width, unbiased),
            "mmd2(x, y) is to choose five bandwidths by the median: the default is "
            "`bandwidth=None`.",
        ),
        Mutant(
            "always_unbiased",
            lambda x, y, width=None, unbiased=True: (
                shift.mmd2(x, y, width)
                if min(len(x), len(y)) > 1
                else shift.mmd2(x, y, width, unbiased)
            ),
            "`unbiased=False` asks for plain means of all three matrices; the diagonal "
            "was left out all the same.",
        ),
        Mutant(
            "cross_term_once",
            _plain(across=lambda k: k.mean()),
            "The cross term counts once. It stands for x with y and y with x: subtract "
            "it twice, or two equal samples do not give 0.",
        ),
        Mutant(
            "one_size_for_both",
            _one_size,
            "You divide the sums of both samples by n (n - 1). The pairs within y are "
            "m (m - 1).",
        ),
        Mutant(
            "root_taken",
            lambda *args: shift.mmd2(*args).clamp_min(1e-12).sqrt(),
            "You return the root. MMD² is asked, which may be negative; its root is "
            "not defined then, and has no finite slope at 0.",
        ),
        Mutant(
            "cut_off_at_zero",
            lambda *args: shift.mmd2(*args).clamp_min(0),
            "Negative values are cut off. An unbiased estimate of 0 must fall below 0 "
            "about as often as above; cut off, it is biased again.",
        ),
        Mutant(
            "sum_over_kernels",
            _plain(kernel=lambda x, y, s: len(s) * _kernel(x, y, s)),
            "You add over the bandwidths. Take the mean, so that values with one and "
            "with five kernels can be compared.",
        ),
        Mutant(
            "width_not_detached",
            _plain(sigmas=_attached),
            "The value is right, the gradient is not: it also flows through the median "
            "distance, so that a network can lower MMD by stretching the ruler. Detach "
            "the samples before you take the median.",
        ),
        Mutant(
            "ladder_on_sigma",
            _plain(sigmas=_ladder_on_sigma),
            "The factors 1/4 to 4 are applied to sigma. They belong to sigma squared: "
            "multiply sigma by their roots.",
        ),
        Mutant(
            "one_default_width",
            _plain(sigmas=_one_width),
            "Without a bandwidth you use the median alone. The default is five "
            "kernels: sigma² times 1/4, 1/2, 1, 2, 4.",
        ),
        Mutant(
            "unchecked",
            _plain(refuses=False),
            "Bad input was accepted: one sample gives 0/0, and one column is broadcast "
            "against three. Raise a ValueError.",
        ),
    ),
)
