"""Uniformity: what is right, and the mistakes that have a name."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse import losses
from tlcourse.exercises.spec import Key, Mutant

LogMean = Callable[[Tensor], Tensor]


def _unit(z: Tensor) -> Tensor:
    return F.normalize(z, dim=1)


def _log_mean(a: Tensor) -> Tensor:
    """Over pairs of different rows of the exponents ``(n, n)``, by log-sum-exp."""
    n = len(a)
    own = torch.eye(n, dtype=torch.bool)
    return a.masked_fill(own, -torch.inf).flatten().logsumexp(0) - math.log(n * (n - 1))


def _pairs(a: Tensor) -> Tensor:
    return a[~torch.eye(len(a), dtype=torch.bool)]


def _squares(u: Tensor) -> Tensor:
    return (u[:, None] - u[None]).square().sum(2)


def _uniformity(
    log_mean: LogMean = _log_mean,
    squares: Callable[[Tensor], Tensor] = _squares,
    unit: Callable[[Tensor], Tensor] = _unit,
    width: Callable[[float], float] = lambda t: t,
    refuses: bool = True,
) -> Callable[..., Tensor]:
    """The plain form, with a flaw to choose."""

    def measure(z: Tensor, t: float = 2.0) -> Tensor:
        if refuses:
            losses.uniformity(z.detach(), t)
        return log_mean(-width(t) * squares(unit(z)))

    return measure


def _another_width(z: Tensor, t: float = 1.0) -> Tensor:
    return losses.uniformity(z, t)


uniformity = Key(
    reference=losses.uniformity,
    mutants=(
        Mutant(
            "not_normalised",
            _uniformity(unit=lambda z: z),
            "The rows are not scaled to length 1, so that growing vectors look "
            "uniform. Divide every row by its norm first.",
        ),
        Mutant(
            "itself_counted",
            _uniformity(lambda a: a.flatten().logsumexp(0) - math.log(a.numel())),
            "Each vector is compared with itself as well: n terms of exp(0) = 1 raise "
            "the mean. Take the pairs i < j only.",
        ),
        Mutant(
            "divided_by_n_squared",
            _uniformity(lambda a: _pairs(a).logsumexp(0) - 2 * math.log(len(a))),
            "The diagonal is left out, but you divide by n² as if it were there. There "
            "are n (n - 1) ordered pairs, or half of that with i < j.",
        ),
        Mutant(
            "log_inside",
            _uniformity(lambda a: _pairs(a).mean()),
            "The log is taken of each term, which leaves -t times the mean squared "
            "distance. First the mean of the exponentials, then the log.",
        ),
        Mutant(
            "no_log",
            _uniformity(lambda a: _log_mean(a).exp()),
            "The logarithm of the mean is missing.",
        ),
        Mutant(
            "sign_turned",
            _uniformity(lambda a: -_log_mean(a)),
            "The sign is turned round. Uniformity is a loss: the log of the mean, "
            "which falls when the vectors spread.",
        ),
        Mutant(
            "summed",
            _uniformity(lambda a: _log_mean(a) + math.log(len(a) * (len(a) - 1) / 2)),
            "You take the log of the sum. The mean over the pairs is asked for, so "
            "that batches of unequal size can be compared.",
        ),
        Mutant(
            "not_squared",
            _uniformity(squares=lambda u: (u[:, None] - u[None]).norm(dim=2)),
            "The distance is not squared. The kernel is Gaussian: exp(-t d²).",
        ),
        Mutant(
            "t_ignored",
            _uniformity(width=lambda t: 2.0),
            "t is not used: the kernel has always the same width. Multiply the squared "
            "distances by -t.",
        ),
        Mutant(
            "underflows",
            _uniformity(lambda a: _pairs(a).exp().mean().log()),
            "With a large t all exponentials are rounded to 0, and the log is -inf. "
            "Use logsumexp over the pairs, minus the log of their number.",
        ),
        Mutant(
            "floor_under_the_log",
            _uniformity(lambda a: (_pairs(a).exp().mean() + 1e-8).log()),
            "A small number is added before the log. With a large t nothing else is "
            "left. Use logsumexp over the pairs, minus the log of their number.",
        ),
        Mutant(
            "infinite_slope",
            _uniformity(squares=lambda u: _squares(u).sqrt() ** 2),
            "For two equal vectors the gradient is nan: the root has an infinite slope "
            "at 0. Stay with the squared distance; no root is needed.",
        ),
        Mutant(
            "another_default",
            _another_width,
            "uniformity(z) is to use t = 2: write t=2 in the definition.",
        ),
        Mutant(
            "unchecked",
            _uniformity(refuses=False),
            "Bad input was accepted: one vector has no pair, and a t that is not "
            "positive measures nothing. Raise a ValueError.",
        ),
    ),
)
