"""CORAL: what is right, and mistakes with a name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tlcourse import shift
from tlcourse.exercises.spec import Key, Mutant


def _covariance(z: Tensor, centre: Tensor | None = None, less: int = 1) -> Tensor:
    c = z - (z.mean(0) if centre is None else centre)
    return c.T @ c / (len(z) - less)


def _coral(
    gap: Callable[[Tensor, Tensor], Tensor],
    scale: Callable[[Tensor, int], Tensor] = lambda s, d: s / (4 * d * d),
) -> Callable[[Tensor, Tensor], Tensor]:
    def distance(source: Tensor, target: Tensor) -> Tensor:
        shift.coral_distance(source.detach(), target.detach())  # keeps the refusals
        return scale(gap(source, target).square().sum(), source.shape[1])

    return distance


def _gap(s: Tensor, t: Tensor) -> Tensor:
    return _covariance(s) - _covariance(t)


def _correlation(z: Tensor) -> Tensor:
    c = _covariance(z)
    spread = c.diagonal().sqrt()
    return c / (spread[:, None] * spread)


def _one_centre(s: Tensor, t: Tensor) -> Tensor:
    centre = torch.cat([s, t]).mean(0)
    return _covariance(s, centre) - _covariance(t, centre)


def _coral_unchecked(source: Tensor, target: Tensor) -> Tensor:
    gap = _gap(source, target)
    return gap.square().sum() / (4 * source.shape[1] ** 2)


coral_distance = Key(
    reference=shift.coral_distance,
    mutants=(
        Mutant(
            "not_centred",
            _coral(lambda s, t: s.T @ s / (len(s) - 1) - t.T @ t / (len(t) - 1)),
            "z'z / (n - 1) is no covariance unless the mean is taken away: moving a "
            "domain as a whole changes your distance.",
        ),
        Mutant(
            "one_centre",
            _coral(_one_centre),
            "Both domains are centred on their common mean. A covariance is taken "
            "around the domain's own mean.",
        ),
        Mutant(
            "divided_by_n",
            _coral(lambda s, t: _covariance(s, less=0) - _covariance(t, less=0)),
            "The covariances are divided by n. Sun and Saenko divide by n - 1; with "
            "domains of unequal size the difference does not cancel.",
        ),
        Mutant(
            "not_divided",
            _coral(
                lambda s, t: (
                    _covariance(s) * (len(s) - 1) - _covariance(t) * (len(t) - 1)
                )
            ),
            "z'z is the scatter matrix, which grows with the number of samples. Divide "
            "each by its n - 1.",
        ),
        Mutant(
            "not_scaled",
            _coral(_gap, lambda s, d: s),
            "The factor 1 / (4 d²) is missing. It makes distances of layers of unequal "
            "width comparable.",
        ),
        Mutant(
            "scaled_by_d",
            _coral(_gap, lambda s, d: s / (4 * d)),
            "You divide by 4 d. The matrix has d² entries: divide by 4 d².",
        ),
        Mutant(
            "root_taken",
            _coral(_gap, lambda s, d: s.sqrt() / (4 * d * d)),
            "That is the Frobenius norm, not its square.",
        ),
        Mutant(
            "correlations",
            _coral(lambda s, t: _correlation(s) - _correlation(t)),
            "You compare correlations: a change of a feature's spread is lost. CORAL "
            "compares covariances, in spite of its name.",
        ),
        Mutant(
            "target_detached",
            _coral(lambda s, t: _gap(s, t.detach())),
            "No gradient reaches the target. Deep CORAL pulls both domains together: "
            "detach neither.",
        ),
        Mutant(
            "unchecked",
            _coral_unchecked,
            "Bad input was accepted: one sample, of either domain, has no covariance, "
            "and a matrix of one feature is broadcast against three. Raise a "
            "ValueError.",
        ),
    ),
)
