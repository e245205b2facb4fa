"""The kernel and its width: what is right, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tlcourse import shift
from tlcourse.exercises.spec import Key, Mutant, Tolerance

Width = float | Sequence[float]


def _sigmas(x: Tensor, y: Tensor, bandwidth: Width) -> list[float]:
    """The widths as a list, with the reference's refusals."""
    shift.rbf_kernel(x.detach(), y.detach(), bandwidth)
    return list(bandwidth) if isinstance(bandwidth, list) else [bandwidth]


def _squared(x: Tensor, y: Tensor) -> Tensor:
    return (x[:, None] - y[None]).square().sum(-1)


def _of(
    exponent: Callable[[Tensor, float], Tensor],
) -> Callable[[Tensor, Tensor, Width], Tensor]:
    """A kernel with another exponent."""

    def kernel(x: Tensor, y: Tensor, bandwidth: Width) -> Tensor:
        sigmas = _sigmas(x, y, bandwidth)
        squared = _squared(x, y)
        return torch.stack([exponent(squared, s).exp() for s in sigmas]).mean(0)

    return kernel


def _distance(squared: Tensor) -> Tensor:
    positive = squared > 0
    return torch.where(positive, squared, 1).sqrt() * positive


def _sum(x: Tensor, y: Tensor, bandwidth: Width) -> Tensor:
    return len(_sigmas(x, y, bandwidth)) * shift.rbf_kernel(x, y, bandwidth)


def _one_mean_width(x: Tensor, y: Tensor, bandwidth: Width) -> Tensor:
    sigmas = _sigmas(x, y, bandwidth)
    return shift.rbf_kernel(x, y, sum(sigmas) / len(sigmas))


def _product_form(x: Tensor, y: Tensor, bandwidth: Width) -> Tensor:
    sigmas = _sigmas(x, y, bandwidth)
    norms = x.square().sum(1)[:, None] + y.square().sum(1)
    squared = (norms - 2 * x @ y.T).clamp_min(0)
    # Up to 25 rows cdist takes differences, and so does this.
    squared = squared if max(len(x), len(y)) > 25 else _squared(x, y)
    return torch.stack([(-squared / (2 * s * s)).exp() for s in sigmas]).mean(0)


def _nan_slope(x: Tensor, y: Tensor, bandwidth: Width) -> Tensor:
    sigmas = _sigmas(x, y, bandwidth)
    distance = _squared(x, y).sqrt()
    parts = [(-(distance**2) / (2 * s * s)).exp() for s in sigmas]
    return torch.stack(parts).mean(0)


def _unchecked(x: Tensor, y: Tensor, bandwidth: Width) -> Tensor:
    sigmas = bandwidth if isinstance(bandwidth, list) else [bandwidth]
    squared = _squared(x, y)
    return torch.stack([(-squared / (2 * s**2)).exp() for s in sigmas]).mean(0)


rbf_kernel = Key(
    reference=shift.rbf_kernel,
    tolerance=Tolerance(rtol=1e-3, atol=1e-4),
    mutants=(
        Mutant(
            "sigma_not_squared",
            _of(lambda squared, s: -squared / (2 * s)),
            "You divide by 2 sigma: the bandwidth is used as if it were a variance. "
            "It is a standard deviation, in the unit of x; square it.",
        ),
        Mutant(
            "factor_two_missing",
            _of(lambda squared, s: -squared / s**2),
            "The factor 2 in 2 sigma² is missing. Libraries differ here, which makes "
            "their bandwidths differ by a factor of the root of 2.",
        ),
        Mutant(
            "distance_not_squared",
            _of(lambda squared, s: -_distance(squared) / (2 * s**2)),
            "The distance in the exponent is not squared: that is a Laplace kernel.",
        ),
        Mutant(
            "bandwidth_as_gamma",
            _of(lambda squared, s: -squared * s),
            "You multiply by the bandwidth, as with scikit-learn's gamma. Here a "
            "larger sigma makes a wider kernel: gamma = 1 / (2 sigma²).",
        ),
        Mutant(
            "sum_over_kernels",
            _sum,
            "You add the kernels of several bandwidths. Take their mean, so that "
            "k(x, x) stays 1 however many there are.",
        ),
        Mutant(
            "mean_of_bandwidths",
            _one_mean_width,
            "You average the bandwidths and use one kernel. Average the kernels: a "
            "narrow and a wide one see different things.",
        ),
        Mutant(
            "product_form",
            _product_form,
            "Squared distances from |x|² + |y|² - 2x'y (torch.cdist does this above "
            "25 rows) lose all digits when close points lie far from the origin. Take "
            "differences, or move both samples near the origin first.",
        ),
        Mutant(
            "sqrt_at_zero",
            _nan_slope,
            "The gradient is nan: you take the root of a squared distance of 0 and "
            "square it again. The kernel needs the squared distance only.",
        ),
        Mutant(
            "unchecked_bandwidth",
            _unchecked,
            "Bad input was accepted. A bandwidth of 0 gives nan, a negative one is "
            "squared in silence, and one column is broadcast against three. Raise a "
            "ValueError.",
        ),
    ),
)


def _median(x: Tensor, y: Tensor, values: Tensor) -> Tensor:
    shift.median_heuristic(x, y)  # keeps the refusals
    return values.detach().median()


def _pooled(x: Tensor, y: Tensor) -> Tensor:
    return torch.pdist(torch.cat([x, y]))


def _attached(x: Tensor, y: Tensor) -> Tensor:
    shift.median_heuristic(x, y)
    return _pooled(x, y).median()


def _without_zeros(x: Tensor, y: Tensor) -> Tensor:
    values = _pooled(x.detach(), y.detach())
    if not values.any():
        raise ValueError("all samples are equal")
    return values[values > 0].median()


def _mean(x: Tensor, y: Tensor) -> Tensor:
    return shift.median_heuristic(x, y) * 0 + _pooled(x, y).mean().detach()


median_heuristic = Key(
    reference=shift.median_heuristic,
    mutants=(
        Mutant(
            "diagonal_counted",
            lambda x, y: _median(
                x, y, torch.cdist(torch.cat([x, y]), torch.cat([x, y]))
            ),
            "The zeros on the diagonal are counted: the distance of a sample to itself "
            "says nothing. Take the pairs i < j only.",
        ),
        Mutant(
            "squared",
            lambda x, y: _median(x, y, _pooled(x, y).square()),
            "You return the median of the squared distances, a variance. Sigma is a "
            "distance: take the root.",
        ),
        Mutant(
            "half_the_square",
            lambda x, y: _median(x, y, _pooled(x, y) / 2**0.5),
            "You return sqrt(median² / 2), another convention, which makes 2 sigma² "
            "the median squared distance. Here sigma is the median distance itself.",
        ),
        Mutant(
            "across_only",
            lambda x, y: _median(x, y, torch.cdist(x, y)),
            "Only distances between x and y are counted. Then the width grows with the "
            "very shift you want to see; count all pairs of the pooled samples.",
        ),
        Mutant(
            "first_sample_only",
            lambda x, y: _median(x, y, torch.pdist(x if len(x) > 1 else y)),
            "Only pairs within one sample are counted. Pool x and y first, or the "
            "result changes when they are exchanged.",
        ),
        Mutant(
            "mean_distance",
            _mean,
            "That is the mean distance. The median does not move when one sample lies "
            "far out.",
        ),
        Mutant(
            "keeps_gradient",
            _attached,
            "A gradient would flow through the width: a network could lower its "
            "distance by stretching the ruler. Detach the samples.",
        ),
        Mutant(
            "zero_accepted",
            lambda x, y: _pooled(x.detach(), y.detach()).median(),
            "The median is 0, because all or most samples are equal, and no kernel can "
            "use it. Look at the median itself and raise a ValueError.",
        ),
        Mutant(
            "zeros_dropped",
            _without_zeros,
            "You leave out every distance of 0. Only the pairs of a sample with itself "
            "do not count; two different samples that are equal do.",
        ),
    ),
)
