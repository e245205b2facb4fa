"""Prototypes and their logits: what is right, and the usual mistakes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse import meta
from tlcourse.exercises.spec import Key, Mutant, Tolerance

_Mean = Callable[[Tensor], Tensor]


def _sums(z: Tensor, y: Tensor, ways: int) -> Tensor:
    meta.class_prototypes(z, y, ways)  # for its errors
    return F.one_hot(y, ways).to(z.dtype).T @ z


def _equal_shots(z: Tensor, y: Tensor, ways: int) -> Tensor:
    return _sums(z, y, ways) * ways / len(y)


def _by_appearance(z: Tensor, y: Tensor, ways: int) -> Tensor:
    meta.class_prototypes(z, y, ways)
    order = list(dict.fromkeys(y.tolist()))
    return torch.stack([z[y == k].mean(0) for k in order])


def _blocks(z: Tensor, y: Tensor, ways: int) -> Tensor:
    meta.class_prototypes(z, y, ways)
    return torch.stack([part.mean(0) for part in z.tensor_split(ways)])


def _unit_length(z: Tensor, y: Tensor, ways: int) -> Tensor:
    return F.normalize(meta.class_prototypes(z, y, ways), dim=1)


def _detached(z: Tensor, y: Tensor, ways: int) -> Tensor:
    return meta.class_prototypes(z.detach(), y, ways)


def _one_sample(z: Tensor, y: Tensor, ways: int) -> Tensor:
    meta.class_prototypes(z, y, ways)
    return torch.stack([z[y == k][0] for k in range(ways)])


def _no_refusal(z: Tensor, y: Tensor, ways: int) -> Tensor:
    return torch.stack([z[y == k].mean(0) for k in range(ways)])


prototypes = Key(
    reference=meta.class_prototypes,
    mutants=(
        Mutant(
            "sum_not_mean",
            _sums,
            "A class with more shots has a longer prototype: you add the features and "
            "do not divide by the number of samples of that class.",
        ),
        Mutant(
            "equal_shots_assumed",
            _equal_shots,
            "You divide every class by the same number. Classes may have unequally "
            "many support samples: divide each by its own count.",
        ),
        Mutant(
            "order_of_appearance",
            _by_appearance,
            "The rows come in the order in which the classes appear in support_y. Row "
            "k must be class k, or the logits answer for another class.",
        ),
        Mutant(
            "blocks",
            _blocks,
            "You cut support_z into equal blocks, as if it were sorted by class. "
            "Choose the rows by their label, support_y == k.",
        ),
        Mutant(
            "unit_length",
            _unit_length,
            "The prototypes are scaled to length 1. That belongs to cosine "
            "classifiers; here a prototype is the plain mean.",
        ),
        Mutant(
            "one_sample",
            _one_sample,
            "You take one support sample of each class, so more shots are of no use. "
            "Take the mean of all of them.",
        ),
        Mutant(
            "detached",
            _detached,
            "No gradient reaches the support features, so the network learns from the "
            "queries only. Drop detach() and torch.no_grad().",
        ),
        Mutant(
            "missing_class_accepted",
            _no_refusal,
            "A class without a support sample gets the mean of nothing, nan. Raise a "
            "ValueError instead.",
        ),
    ),
)


def _by_norms(z: Tensor, c: Tensor) -> Tensor:
    lengths = z.square().sum(1, keepdim=True) + c.square().sum(1)
    return 2 * z @ c.T - lengths


def _gaps(z: Tensor, c: Tensor) -> Tensor:
    return z[:, None] - c


proto_logits = Key(
    reference=meta.proto_logits,
    tolerance=Tolerance(atol=1e-5),
    mutants=(
        Mutant(
            "distance_not_logit",
            lambda z, c: _gaps(z, c).square().sum(2),
            "The sign is wrong: the farthest prototype gets the largest logit. A logit "
            "is minus the squared distance.",
        ),
        Mutant(
            "not_squared",
            lambda z, c: -torch.linalg.vector_norm(_gaps(z, c), dim=2),
            "This is minus the distance, without the square. The arg-max is the same, "
            "the probabilities and gradients are not, and it is no longer a linear "
            "classifier.",
        ),
        Mutant(
            "mean_over_features",
            lambda z, c: -_gaps(z, c).square().mean(2),
            "You average over the features. The squared distance is their sum; a mean "
            "is a temperature that grows with the number of features.",
        ),
        Mutant(
            "absolute_differences",
            lambda z, c: -_gaps(z, c).abs().sum(2),
            "You add absolute differences. Square each difference before you add.",
        ),
        Mutant(
            "product_form",
            _by_norms,
            "|z|² - 2 z·c + |c|² in float32 takes a small number from huge ones: far "
            "from the origin no digit is left. Subtract first, then square; or move "
            "the origin to the prototypes first.",
        ),
        Mutant(
            "cdist",
            lambda z, c: -torch.cdist(z, c).square(),
            "torch.cdist uses |z|² - 2 z·c + |c|² for more than 25 rows, which has no "
            "digit left far from the origin. Subtract first, then square.",
        ),
        Mutant(
            "probabilities",
            lambda z, c: meta.proto_logits(z, c).softmax(1),
            "These are probabilities. Return the logits: the cross-entropy takes its "
            "own softmax, and a second one flattens the gradient.",
        ),
        Mutant(
            "transposed",
            lambda z, c: meta.proto_logits(c, z),
            "Rows and columns have changed places: row i is query i, column k is "
            "class k.",
        ),
        Mutant(
            "prototypes_detached",
            lambda z, c: meta.proto_logits(z, c.detach()),
            "No gradient reaches the prototypes, so the support set teaches the "
            "network nothing. Drop detach().",
        ),
    ),
)
