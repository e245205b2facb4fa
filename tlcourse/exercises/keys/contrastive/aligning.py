"""Alignment: what is right, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from tlcourse import losses
from tlcourse.exercises.spec import Key, Mutant

Power = Callable[[Tensor, Tensor, float], Tensor]


def _unit(z: Tensor) -> Tensor:
    return F.normalize(z, dim=1)


def _power(u1: Tensor, u2: Tensor, alpha: float) -> Tensor:
    return (u1 - u2).norm(dim=1).pow(alpha).mean()


def _alignment(
    power: Power = _power,
    unit: Callable[[Tensor], Tensor] = _unit,
    refuses: bool = True,
) -> Callable[..., Tensor]:
    """The plain form, with a flaw to choose."""

    def measure(z1: Tensor, z2: Tensor, alpha: float = 2.0) -> Tensor:
        if refuses:
            losses.alignment(z1.detach(), z2.detach(), alpha)
        return power(unit(z1), unit(z2), alpha)

    return measure


def _another_power(z1: Tensor, z2: Tensor, alpha: float = 1.0) -> Tensor:
    return losses.alignment(z1, z2, alpha)


alignment = Key(
    reference=losses.alignment,
    mutants=(
        Mutant(
            "not_normalised",
            _alignment(unit=lambda z: z),
            "The rows are not scaled to length 1, so that short vectors look aligned. "
            "Divide every row by its norm first.",
        ),
        Mutant(
            "alpha_ignored",
            _alignment(lambda a, b, p: (a - b).square().sum(1).mean()),
            "alpha is not used: the distance is always squared. Raise the length of "
            "the difference to the power alpha.",
        ),
        Mutant(
            "distance_itself",
            _alignment(lambda a, b, p: (a - b).norm(dim=1).mean()),
            "You average the distance itself, whatever alpha is. Raise it to the power "
            "alpha first.",
        ),
        Mutant(
            "power_of_the_square",
            _alignment(lambda a, b, p: (a - b).square().sum(1).pow(p).mean()),
            "You raise the squared distance to the power alpha, which gives 2 alpha. "
            "It is the length of the difference that gets the power.",
        ),
        Mutant(
            "power_of_the_mean",
            _alignment(lambda a, b, p: (a - b).norm(dim=1).mean().pow(p)),
            "You average first and take the power then. Each pair's distance gets the "
            "power alpha, then comes the mean.",
        ),
        Mutant(
            "all_pairs",
            _alignment(
                lambda a, b, p: (a[:, None] - b[None]).norm(dim=2).pow(p).mean()
            ),
            "Every row of z1 is compared with every row of z2. Only the two views of "
            "one sample are to lie close: row i with row i.",
        ),
        Mutant(
            "mean_of_entries",
            _alignment(lambda a, b, p: (a - b).abs().pow(p).mean()),
            "You average over all entries, as F.mse_loss does. A distance adds over "
            "the features; the mean runs over the n pairs.",
        ),
        Mutant(
            "summed",
            _alignment(lambda a, b, p: (a - b).norm(dim=1).pow(p).sum()),
            "You add over the pairs. The mean is asked for, so that batches of unequal "
            "size can be compared.",
        ),
        Mutant(
            "half_the_square",
            _alignment(lambda a, b, p: (1 - (a * b).sum(1)).clamp(min=0).mean()),
            "One minus the cosine is half the squared distance of unit vectors, and "
            "knows no alpha. Use |u1 - u2|^alpha.",
        ),
        Mutant(
            "infinite_slope",
            _alignment(lambda a, b, p: (a - b).square().sum(1).pow(p / 2).mean()),
            "For two equal views the gradient is nan: with alpha = 1 the root of the "
            "square has an infinite slope at 0. Use norm(dim=1), which has none.",
        ),
        Mutant(
            "whole_power",
            _alignment(lambda a, b, p: _power(a, b, int(p))),
            "alpha is rounded down to a whole number. Powers such as 1.5 are allowed.",
        ),
        Mutant(
            "something_added",
            _alignment(lambda a, b, p: F.pairwise_distance(a, b).pow(p).mean()),
            "The gradient of two equal views is to be 0. F.pairwise_distance adds 1e-6 "
            "to every difference, so that it points somewhere. Use norm(dim=1).",
        ),
        Mutant(
            "another_default",
            _another_power,
            "alignment(z1, z2) is to use the power 2: write alpha=2 in the definition.",
        ),
        Mutant(
            "unchecked",
            _alignment(refuses=False),
            "Shapes that differ are to be refused with a ValueError. One row, or one "
            "column, would else be broadcast against the others in silence.",
        ),
    ),
)
