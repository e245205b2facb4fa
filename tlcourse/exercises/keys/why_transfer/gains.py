"""Transfer gain: what is right, and the mistakes that have a name."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse import transferability
from tlcourse.exercises.spec import Key, Mutant

_right = transferability.transfer_gain


def _linear_axis(shots: Tensor, transfer: Tensor, scratch: Tensor) -> Tensor:
    _right(shots, transfer, scratch)  # keeps the checks of the inputs
    return torch.trapezoid(transfer - scratch, shots) / (shots[-1] - shots[0])


def _plain_mean(shots: Tensor, transfer: Tensor, scratch: Tensor) -> Tensor:
    _right(shots, transfer, scratch)
    return (transfer - scratch).mean(-1)


def _not_normalised(shots: Tensor, transfer: Tensor, scratch: Tensor) -> Tensor:
    return _right(shots, transfer, scratch) * (shots[-1] / shots[0]).log()


def _wrong_range(shots: Tensor, transfer: Tensor, scratch: Tensor) -> Tensor:
    return _not_normalised(shots, transfer, scratch) / shots[-1].log()


def _upside_down(shots: Tensor, transfer: Tensor, scratch: Tensor) -> Tensor:
    return _right(shots, scratch, transfer)


def _left_steps(shots: Tensor, transfer: Tensor, scratch: Tensor) -> Tensor:
    _right(shots, transfer, scratch)
    u = shots.log()
    return ((transfer - scratch)[..., :-1] * u.diff()).sum(-1) / (u[-1] - u[0])


def _mean_over_seeds(shots: Tensor, transfer: Tensor, scratch: Tensor) -> Tensor:
    return _right(shots, transfer, scratch).mean()


transfer_gain = Key(
    reference=_right,
    mutants=(
        Mutant(
            "linear_axis",
            _linear_axis,
            "You integrate over n, so the step from 10 to 20 labels weighs ten times "
            "as much as that from 1 to 2. Integrate over ln n.",
        ),
        Mutant(
            "plain_mean",
            _plain_mean,
            "A plain mean over the points depends on where you happened to measure. "
            "Weigh each stretch between two points by its width on the log axis.",
        ),
        Mutant(
            "not_normalised",
            _not_normalised,
            "This is the area, not yet the gain: divide by ln n_m - ln n_1, so that "
            "studies over different ranges can be compared.",
        ),
        Mutant(
            "wrong_range",
            _wrong_range,
            "You divide by ln n_m. The width of the axis is ln n_m - ln n_1; the two "
            "agree only when the first point is one label.",
        ),
        Mutant(
            "upside_down",
            _upside_down,
            "The sign is turned round: gain is transfer minus scratch, above 0 where "
            "transfer helps.",
        ),
        Mutant(
            "left_steps",
            _left_steps,
            "Each stretch uses its left end only, a step function. The trapezoid rule "
            "takes the mean of both ends.",
        ),
        Mutant(
            "mean_over_seeds",
            _mean_over_seeds,
            "You average over the seeds too. Sum over the last axis only and return "
            "one gain per seed: their spread tells a gain from luck.",
        ),
    ),
)
