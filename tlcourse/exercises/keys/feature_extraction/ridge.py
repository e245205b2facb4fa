"""Ridge: what is right, and what the bias has to do with it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse import features
from tlcourse.exercises.spec import Key, Mutant

Pair = tuple[Tensor, Tensor]


def _solve(z: Tensor, t: Tensor, penalty: float) -> Tensor:
    """Ridge without a bias, ``(d, c)``."""
    if not penalty > 0:
        raise ValueError(f"penalty must be > 0, got {penalty}")
    z, t = z.double(), t.double()
    eye = torch.eye(z.shape[1], dtype=z.dtype)
    return torch.linalg.solve(z.T @ z + penalty * eye, z.T @ t)


def _penalised_bias(z: Tensor, y: Tensor, num_classes: int, penalty: float) -> Pair:
    ones = torch.cat([z, torch.ones(len(z), 1)], dim=1)
    w = _solve(ones, F.one_hot(y, num_classes), penalty).float()
    return w[:-1].T, w[-1]


def _no_bias(z: Tensor, y: Tensor, num_classes: int, penalty: float) -> Pair:
    w = _solve(z, F.one_hot(y, num_classes), penalty).float()
    return w.T, torch.zeros(num_classes)


def _bias_of_targets(z: Tensor, y: Tensor, num_classes: int, penalty: float) -> Pair:
    weight, _ = features.ridge_probe(z, y, num_classes, penalty)
    return weight, F.one_hot(y, num_classes).float().mean(0)


def _penalty_times_n(z: Tensor, y: Tensor, num_classes: int, penalty: float) -> Pair:
    return features.ridge_probe(z, y, num_classes, penalty * len(z))


def _plus_minus(z: Tensor, y: Tensor, num_classes: int, penalty: float) -> Pair:
    weight, bias = features.ridge_probe(z, y, num_classes, penalty)
    return 2 * weight, 2 * bias - 1


def _transposed(z: Tensor, y: Tensor, num_classes: int, penalty: float) -> Pair:
    weight, bias = features.ridge_probe(z, y, num_classes, penalty)
    return weight.T, bias


def _classes_seen(z: Tensor, y: Tensor, num_classes: int, penalty: float) -> Pair:
    return features.ridge_probe(z, y, int(y.max()) + 1, penalty)


def _unchecked(z: Tensor, y: Tensor, num_classes: int, penalty: float) -> Pair:
    return features.ridge_probe(z, y, num_classes, max(penalty, 1e-9))


ridge_probe = Key(
    reference=features.ridge_probe,
    mutants=(
        Mutant(
            "penalised_bias",
            _penalised_bias,
            "The column of ones is penalised like a weight, which pulls the bias to 0: "
            "then shifting all features changes the predictions. Centre features and "
            "targets, solve without a bias, and set b = mean(t) - W mean(z).",
        ),
        Mutant(
            "no_bias",
            _no_bias,
            "There is no bias: every hyperplane goes through the origin, though the "
            "features do not lie around it. Centre features and targets first.",
        ),
        Mutant(
            "bias_of_targets",
            _bias_of_targets,
            "b = mean(t) is the bias for centred features. For the features as they "
            "come subtract W mean(z): b = mean(t) - W mean(z).",
        ),
        Mutant(
            "penalty_times_n",
            _penalty_times_n,
            "The penalty is multiplied by the number of samples. Here the error is a "
            "sum over samples, not a mean: add the penalty itself to the diagonal.",
        ),
        Mutant(
            "plus_minus_targets",
            _plus_minus,
            "The targets are +1 and -1. Here they are one-hot, 1 and 0: the "
            "predictions agree, the weights are half as large.",
        ),
        Mutant(
            "transposed",
            _transposed,
            "The weight is transposed. As in nn.Linear it is (num_classes, d), so that "
            "the logits are z @ weight.T + bias.",
        ),
        Mutant(
            "classes_seen",
            _classes_seen,
            "The number of outputs comes from the labels that happen to be there. A "
            "class without a sample still has its column: use `num_classes`.",
        ),
        Mutant(
            "unchecked_penalty",
            _unchecked,
            "A penalty of 0 was accepted: with few samples the matrix is then "
            "singular. Raise a ValueError unless penalty > 0.",
        ),
    ),
)
