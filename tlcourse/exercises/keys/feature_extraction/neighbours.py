"""Nearest neighbours: what is right, and whose vote should not count."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse import features
from tlcourse.exercises.spec import Key, Mutant


def _checked(z: Tensor, queries: Tensor | None, k: int) -> Tensor:
    if not 1 <= k <= len(z) - (queries is None):
        raise ValueError(f"k is {k}")
    return z if queries is None else queries


def _without_self(s: Tensor, queries: Tensor | None, worst: float) -> Tensor:
    return s if queries is not None else s.fill_diagonal_(worst)


def _vote(votes: Tensor) -> Tensor:
    counts = (votes[:, :, None] == votes[:, None, :]).sum(2)
    return votes.gather(1, counts.argmax(1)[:, None]).squeeze(1)


def _euclidean(z: Tensor, y: Tensor, queries: Tensor | None, k: int) -> Tensor:
    d = torch.cdist(_checked(z, queries, k), z)
    return _vote(y[_without_self(d, queries, torch.inf).topk(k, largest=False).indices])


def _dot_product(z: Tensor, y: Tensor, queries: Tensor | None, k: int) -> Tensor:
    s = _checked(z, queries, k) @ z.T
    return _vote(y[_without_self(s, queries, -torch.inf).topk(k).indices])


def _itself(z: Tensor, y: Tensor, queries: Tensor | None, k: int) -> Tensor:
    return features.knn_predict(z, y, _checked(z, queries, k), k)


def _drops_the_first(z: Tensor, y: Tensor, queries: Tensor | None, k: int) -> Tensor:
    if queries is not None:
        return features.knn_predict(z, y, queries, k)
    s = F.normalize(_checked(z, queries, k), dim=1) @ F.normalize(z, dim=1).T
    return _vote(y[s.topk(k + 1).indices[:, 1:]])


def _smallest_label(z: Tensor, y: Tensor, queries: Tensor | None, k: int) -> Tensor:
    index, _ = features.nearest(z, queries, k)
    return F.one_hot(y[index], int(y.max()) + 1).sum(1).argmax(1)


def _weighted(z: Tensor, y: Tensor, queries: Tensor | None, k: int) -> Tensor:
    index, similarity = features.nearest(z, queries, k)
    one_hot = F.one_hot(y[index], int(y.max()) + 1)
    return (one_hot * (similarity[:, :, None] / 0.07).exp()).sum(1).argmax(1)


def _farthest(z: Tensor, y: Tensor, queries: Tensor | None, k: int) -> Tensor:
    s = F.normalize(_checked(z, queries, k), dim=1) @ F.normalize(z, dim=1).T
    return _vote(y[_without_self(s, queries, torch.inf).topk(k, largest=False).indices])


def _indices(z: Tensor, y: Tensor, queries: Tensor | None, k: int) -> Tensor:
    return _vote(features.nearest(z, queries, k)[0])


def _clamped(z: Tensor, y: Tensor, queries: Tensor | None, k: int) -> Tensor:
    return features.knn_predict(z, y, queries, min(k, len(z) - (queries is None)))


knn_predict = Key(
    reference=features.knn_predict,
    mutants=(
        Mutant(
            "euclidean",
            _euclidean,
            "You use the Euclidean distance. The length of a feature vector says "
            "little about its class; scale every row to length 1 and compare angles.",
        ),
        Mutant(
            "dot_product",
            _dot_product,
            "The rows are not scaled to length 1, so that long vectors are everybody's "
            "nearest neighbour. Divide every row by its norm before the product.",
        ),
        Mutant(
            "asks_itself",
            _itself,
            "Without queries each sample votes for itself, and one neighbour is always "
            "right. Leave the sample out: set the diagonal to -inf before topk.",
        ),
        Mutant(
            "drops_the_first",
            _drops_the_first,
            "You take k + 1 neighbours and drop the first, as if it were the sample "
            "itself. With an equal sample elsewhere it may be the other one. Set the "
            "diagonal to -inf before topk.",
        ),
        Mutant(
            "smallest_label_wins",
            _smallest_label,
            "Ties go to the smallest class number, an accident of how classes were "
            "numbered. Among the tied classes the one with the nearest neighbour wins.",
        ),
        Mutant(
            "weighted_vote",
            _weighted,
            "Votes are weighted by similarity. Here each of the k neighbours has one "
            "vote; similarity decides only between tied classes.",
        ),
        Mutant(
            "farthest",
            _farthest,
            "You take the smallest similarities, that is the farthest samples. "
            "Distance is sorted upwards, similarity downwards.",
        ),
        Mutant(
            "indices_as_classes",
            _indices,
            "The vote is among the positions of the neighbours. Look their classes up "
            "first: votes = y_train[indices].",
        ),
        Mutant(
            "k_clamped",
            _clamped,
            "k is larger than the number of samples that may vote, and was lowered in "
            "silence. Raise a ValueError; in leave-one-out there are n - 1 voters.",
        ),
    ),
)
