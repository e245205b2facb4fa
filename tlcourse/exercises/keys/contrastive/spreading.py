"""VICReg: what is right, and the mistakes that have a name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse import losses
from tlcourse.exercises.spec import Key, Mutant


@dataclass(frozen=True)
class _Vicreg:
    """The plain form; each option puts one mistake in."""

    normalised: bool = False
    distance: str = "entries"  # or "rows"
    spread: str = "root"  # or "variance", "no epsilon", "biased", "rows"
    epsilon: float = 1e-4
    hinge: str = "relu"  # or "none", "reversed", "of the mean"
    views: str = "mean"  # of both variance terms; or "sum", "first"
    centred: bool = True
    divisor: str = "n - 1"  # or "n"
    off: str = "off"  # the diagonal; or "with", "absolute", "samples"
    per: str = "d"  # or "entries", "none"
    halved: bool = False
    refuses: bool = True

    def __call__(
        self, z1: Tensor, z2: Tensor, invariance: float = 25.0, variance: float = 25.0,
        covariance: float = 1.0,
    ) -> Tensor:  # fmt: skip
        if self.refuses:
            losses.vicreg(z1.detach(), z2.detach())
        if self.normalised:
            z1, z2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
        squared = (z1 - z2).square()
        apart = squared.sum(1).mean() if self.distance == "rows" else squared.mean()
        v1, v2, c1, c2 = self._v(z1), self._v(z2), self._c(z1), self._c(z2)
        if self.views == "first":
            v2, c2 = v1, c1
        v = v1 + v2 if self.views == "sum" else (v1 + v2) / 2
        c = (c1 + c2) / 2 if self.halved else c1 + c2
        return invariance * apart + variance * v + covariance * c

    def _v(self, z: Tensor) -> Tensor:
        """What a feature that stands still is fined."""
        var = z.var(int(self.spread == "rows"), unbiased=self.spread != "biased")
        spread = var if self.spread == "variance" else (var + self.epsilon).sqrt()
        spread = spread.mean(0, keepdim=True) if self.hinge == "of the mean" else spread
        gap = spread - 1 if self.hinge == "reversed" else 1 - spread
        return (gap if self.hinge == "none" else gap.relu()).mean()

    def _c(self, z: Tensor) -> Tensor:
        """What features that say the same are fined."""
        d = z.shape[1]
        z = z - z.mean(0) if self.centred else z
        if self.off == "samples":
            z = z.T
        c = z.T @ z / (len(z) - (self.divisor == "n - 1"))
        c = c.abs() if self.off == "absolute" else c.square()
        own = torch.eye(len(c), dtype=torch.bool)
        total = (c if self.off == "with" else c.masked_fill(own, 0)).sum()
        return total / {"d": d, "entries": d * (d - 1), "none": 1}[self.per]


def _other_weights(
    z1: Tensor, z2: Tensor, invariance: float = 1.0, variance: float = 1.0,
    covariance: float = 1.0,
) -> Tensor:  # fmt: skip
    return losses.vicreg(z1, z2, invariance, variance, covariance)


def _exchanged(
    z1: Tensor, z2: Tensor, variance: float = 25.0, invariance: float = 25.0,
    covariance: float = 1.0,
) -> Tensor:  # fmt: skip
    return losses.vicreg(z1, z2, invariance, variance, covariance)


vicreg = Key(
    reference=losses.vicreg,
    mutants=(
        Mutant(
            "normalised",
            _Vicreg(normalised=True),
            "The rows are scaled to length 1. VICReg does not do that: on the sphere "
            "no feature of many can have a standard deviation of 1.",
        ),
        Mutant(
            "distance_of_rows",
            _Vicreg(distance="rows"),
            "The squared differences are added over the features. Here the mean over "
            "all n times d entries is asked for, as in the authors' code.",
        ),
        Mutant(
            "hinge_on_variance",
            _Vicreg(spread="variance"),
            "The hinge acts on the variance. Take the standard deviation: near "
            "collapse the variance has almost no slope.",
        ),
        Mutant(
            "no_epsilon",
            _Vicreg(epsilon=0.0),
            "The root is taken of the variance alone. For a constant feature its slope "
            "is infinite and the gradient nan: add 1e-4 under the root.",
        ),
        Mutant(
            "small_epsilon",
            _Vicreg(epsilon=1e-8),
            "What you add under the root is much less than 1e-4. A feature that stands "
            "still is to count as if its standard deviation were 0.01.",
        ),
        Mutant(
            "variance_of_rows",
            _Vicreg(spread="rows"),
            "The variance is taken within each sample, along dim=1. It is that of each "
            "feature over the batch: dim=0.",
        ),
        Mutant(
            "hinge_of_the_mean",
            _Vicreg(hinge="of the mean"),
            "The hinge comes after the mean over features, so that a wide feature pays "
            "for one that collapsed. Cut off at 0 first, then take the mean.",
        ),
        Mutant(
            "biased_variance",
            _Vicreg(spread="biased"),
            "The variance is divided by n. Here n - 1 is asked for, which is what "
            "z.var(dim=0) does.",
        ),
        Mutant(
            "no_hinge",
            _Vicreg(hinge="none"),
            "There is no hinge: a feature with a standard deviation above 1 earns a "
            "reward, and can pay for one that collapsed. Cut off at 0.",
        ),
        Mutant(
            "reversed_hinge",
            _Vicreg(hinge="reversed"),
            "The hinge is turned round: it fines standard deviations above 1 and "
            "allows collapse. It is max(0, 1 - std).",
        ),
        Mutant(
            "variances_summed",
            _Vicreg(views="sum"),
            "The variance terms of both views are added. Here they are averaged: half "
            "their sum.",
        ),
        Mutant(
            "first_view_only",
            _Vicreg(views="first"),
            "Variance and covariance are taken from z1 alone. Both views must spread: "
            "compute both terms for z2 as well.",
        ),
        Mutant(
            "uncentred",
            _Vicreg(centred=False),
            "The covariance is computed from features whose mean is not 0. Subtract "
            "the mean of each column first.",
        ),
        Mutant(
            "divided_by_n",
            _Vicreg(divisor="n"),
            "The covariance matrix is divided by n. Here n - 1 is asked for, as for "
            "the variance.",
        ),
        Mutant(
            "diagonal_kept",
            _Vicreg(off="with"),
            "The diagonal of the covariance matrix is fined too: those are the "
            "variances, which the other term wants to be large. Leave it out.",
        ),
        Mutant(
            "absolute_values",
            _Vicreg(off="absolute"),
            "You add the absolute covariances. They are squared in the covariance "
            "term.",
        ),
        Mutant(
            "over_samples",
            _Vicreg(off="samples"),
            "You compute an n x n matrix, covariances between samples. The term is "
            "about pairs of features: z.T @ z, (d, d).",
        ),
        Mutant(
            "mean_of_entries",
            _Vicreg(per="entries"),
            "The squared covariances are divided by their number, d (d - 1). Divide "
            "their sum by d.",
        ),
        Mutant(
            "not_divided_by_d",
            _Vicreg(per="none"),
            "The squared covariances are added, but not divided by d, the number of "
            "features.",
        ),
        Mutant(
            "covariances_averaged",
            _Vicreg(halved=True),
            "The covariance term is half of what it should be. Those of both views are "
            "added, not averaged, and a pair of features counts twice: C_jk and C_kj.",
        ),
        Mutant(
            "other_weights",
            _other_weights,
            "vicreg(z1, z2) is to use the weights 25, 25 and 1: write them into the "
            "definition.",
        ),
        Mutant(
            "weights_exchanged",
            _exchanged,
            "The weights come in the wrong order: the third argument weighs the "
            "invariance, the fourth the variance.",
        ),
        Mutant(
            "unchecked",
            _Vicreg(refuses=False),
            "Bad input was accepted: one sample has no variance, and one column is "
            "broadcast against three. Raise a ValueError.",
        ),
    ),
)
