"""Chapter 02: the triplet loss, right and wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse import losses
from tlcourse.exercises.spec import Key, Mutant


def _squared(z: Tensor) -> Tensor:
    return (z[:, None] - z[None]).square().sum(2)  # (n, n)


def _triplets(d: Tensor, labels: Tensor, itself: bool = False) -> tuple[Tensor, ...]:
    """Distances to positive and negative, and which triplets are valid: (n, n, n)."""
    same = labels[:, None] == labels[None]
    pairs = same if itself else same & ~torch.eye(len(labels), dtype=torch.bool)
    return d[:, :, None], d[:, None, :], pairs[:, :, None] & ~same[:, None, :]


def _hinge(near: Tensor, far: Tensor, margin: float) -> Tensor:
    return (near - far + margin).relu()


def _semi_hard(near: Tensor, far: Tensor, margin: float) -> Tensor:
    return (near < far) & (far < near + margin)


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(values.numel(), 1)


def _all_triplets(z: Tensor, labels: Tensor, margin: float) -> Tensor:
    near, far, valid = _triplets(_squared(z), labels)
    return _mean(_hinge(near, far, margin)[valid])


def _hard_too(z: Tensor, labels: Tensor, margin: float) -> Tensor:
    near, far, valid = _triplets(_squared(z), labels)
    return _mean(_hinge(near, far, margin)[valid & (far < near + margin)])


def _near_bound_counts(z: Tensor, labels: Tensor, margin: float) -> Tensor:
    near, far, valid = _triplets(_squared(z), labels)
    kept = valid & (near <= far) & (far < near + margin)
    return _mean((near - far + margin)[kept])


def _far_bound_counts(z: Tensor, labels: Tensor, margin: float) -> Tensor:
    near, far, valid = _triplets(_squared(z), labels)
    kept = valid & (near < far) & (far <= near + margin)
    return _mean((near - far + margin)[kept])


def _hard_only(z: Tensor, labels: Tensor, margin: float) -> Tensor:
    near, far, valid = _triplets(_squared(z), labels)
    return _mean(_hinge(near, far, margin)[valid & (far < near)])


def _anchor_is_positive(z: Tensor, labels: Tensor, margin: float) -> Tensor:
    near, far, valid = _triplets(_squared(z), labels, itself=True)
    return _mean((near - far + margin)[valid & _semi_hard(near, far, margin)])


def _with_distances(z: Tensor, labels: Tensor, margin: float, power: int) -> Tensor:
    d = (_squared(z) + torch.eye(len(z))).sqrt() ** power
    near, far, valid = _triplets(d, labels)
    return _mean((near - far + margin)[valid & _semi_hard(near, far, margin)])


def _not_squared(z: Tensor, labels: Tensor, margin: float) -> Tensor:
    return _with_distances(z, labels, margin, power=1)


def _root_of_zero(z: Tensor, labels: Tensor, margin: float) -> Tensor:
    return _with_distances(z, labels, margin, power=2)


def _summed(z: Tensor, labels: Tensor, margin: float) -> Tensor:
    near, far, valid = _triplets(_squared(z), labels)
    return (near - far + margin)[valid & _semi_hard(near, far, margin)].sum()


def _mean_of_nothing(z: Tensor, labels: Tensor, margin: float) -> Tensor:
    near, far, valid = _triplets(_squared(z), labels)
    return (near - far + margin)[valid & _semi_hard(near, far, margin)].mean()


def _constant_without_any(z: Tensor, labels: Tensor, margin: float) -> Tensor:
    loss = losses.triplet_loss(z, labels, margin)
    return loss if loss > 0 else torch.tensor(0.0)


triplet_loss = Key(
    reference=losses.triplet_loss,
    mutants=(
        Mutant(
            "all_triplets",
            _all_triplets,
            "There is no mining: all triplets are averaged, most of them with loss 0 "
            "already. Keep only those with d_ap < d_an < d_ap + margin.",
        ),
        Mutant(
            "hard_too",
            _hard_too,
            "Hard triplets (d_an < d_ap) are counted too. Semi-hard has two bounds: "
            "the negative lies farther away than the positive, by less than the "
            "margin.",
        ),
        Mutant(
            "hard_only",
            _hard_only,
            "Only hard triplets (d_an < d_ap) are counted. Early in training they "
            "drive all points together. Semi-hard means d_ap < d_an < d_ap + margin.",
        ),
        Mutant(
            "near_bound_counts",
            _near_bound_counts,
            "A triplet with d_an = d_ap is counted. The negative must lie farther away "
            "than the positive: d_ap < d_an, not <=.",
        ),
        Mutant(
            "far_bound_counts",
            _far_bound_counts,
            "A triplet with d_an = d_ap + margin is counted. Its loss is 0, so it only "
            "makes the mean smaller: d_an < d_ap + margin, not <=.",
        ),
        Mutant(
            "anchor_as_positive",
            _anchor_is_positive,
            "The anchor is counted as its own positive, at distance 0. Leave out the "
            "diagonal: a positive is another sample of the same class.",
        ),
        Mutant(
            "not_squared",
            _not_squared,
            "You use plain distances. This loss compares squared ones, and the margin "
            "is on that scale; a root would also have no gradient at 0.",
        ),
        Mutant(
            "root_of_zero",
            _root_of_zero,
            "The value is right, the gradient is nan: sqrt has an infinite slope at "
            "distance 0, and squaring afterwards does not heal it. Sum the squared "
            "differences and take no root.",
        ),
        Mutant(
            "summed",
            _summed,
            "You sum over the triplets. Their number changes from batch to batch, and "
            "with a sum the step size changes along: take the mean.",
        ),
        Mutant(
            "mean_of_nothing",
            _mean_of_nothing,
            "Without a semi-hard triplet the mean of nothing is nan, and one such "
            "batch ruins the weights. Divide the sum by max(count, 1).",
        ),
        Mutant(
            "constant_without_any",
            _constant_without_any,
            "Without a semi-hard triplet you return a constant, on which backward() "
            "fails. Return an empty sum of the distances: it is 0 and has a gradient.",
        ),
    ),
)
