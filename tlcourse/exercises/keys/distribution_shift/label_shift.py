"""Class ratios: what is right, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tlcourse import shift
from tlcourse.exercises.spec import Key, Mutant, Tolerance


def _parts(h: Tensor, y: Tensor, target: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The joint matrix (rows: predicted) and the target's predicted shares."""
    shift.bbse(h, y, target, k)  # keeps the refusals
    return _shares(h, y, target, k)


def _shares(h: Tensor, y: Tensor, target: Tensor, k: int) -> tuple[Tensor, Tensor]:
    joint = torch.bincount(h * k + y, minlength=k * k).reshape(k, k).double() / len(h)
    return joint, torch.bincount(target, minlength=k).double() / len(target)


def _solved(
    matrix: Callable[[Tensor], Tensor],
    after: Callable[[Tensor, Tensor], Tensor] = lambda w, joint: w.clamp_min(0),
) -> Callable[[Tensor, Tensor, Tensor, int], Tensor]:
    def ratios(h: Tensor, y: Tensor, target: Tensor, k: int) -> Tensor:
        joint, q = _parts(h, y, target, k)
        return after(torch.linalg.solve(matrix(joint), q), joint)

    return ratios


def _uncorrected(h: Tensor, y: Tensor, target: Tensor, k: int) -> Tensor:
    joint, q = _parts(h, y, target, k)
    return q / joint.sum(0)


def _counts(h: Tensor, y: Tensor, target: Tensor, k: int) -> Tensor:
    joint, q = _parts(h, y, target, k)
    return torch.linalg.solve(joint * len(h), q * len(target)).clamp_min(0)


def _least_squares(h: Tensor, y: Tensor, target: Tensor, k: int) -> Tensor:
    if len(target) == 0 or not all(_in_range(c, k).all() for c in (h, y, target)):
        raise ValueError("classes")
    joint, q = _shares(h, y, target, k)
    return (torch.linalg.pinv(joint) @ q).clamp_min(0)


def _in_range(classes: Tensor, k: int) -> Tensor:
    return (classes >= 0) & (classes < k)


def _unchecked_labels(h: Tensor, y: Tensor, target: Tensor, k: int) -> Tensor:
    kept = target[_in_range(target, k)]
    if len(kept) == 0:
        return torch.full((k,), torch.nan, dtype=torch.float64)
    both = _in_range(h, k) & _in_range(y, k)
    return shift.bbse(h[both], y[both], kept, k)


def _only_target_checked(h: Tensor, y: Tensor, target: Tensor, k: int) -> Tensor:
    both = _in_range(h, k) & _in_range(y, k)
    return shift.bbse(h[both], y[both], target, k)


def _single(h: Tensor, y: Tensor, target: Tensor, k: int) -> Tensor:
    return shift.bbse(h, y, target, k).float()


bbse = Key(
    reference=shift.bbse,
    tolerance=Tolerance(rtol=1e-3, atol=1e-4),
    mutants=(
        Mutant(
            "transposed",
            _solved(lambda c: c.T),
            "The matrix is transposed: rows belong to predictions, columns to true "
            "classes, so that summing over classes gives the share of a prediction.",
        ),
        Mutant(
            "conditional",
            _solved(lambda c: c / c.sum(0)),
            "You use P(prediction | class), whose columns sum to 1. Its solution is "
            "the target's prior q(y). With the joint matrix the solution is the ratio "
            "q(y) / p(y), which is asked.",
        ),
        Mutant(
            "given_the_prediction",
            _solved(lambda c: c / c.sum(1, keepdim=True)),
            "You use P(class | prediction). That changes when the classes change; "
            "under label shift only P(prediction | class) stays.",
        ),
        Mutant(
            "uncorrected",
            _uncorrected,
            "You divide the predicted shares by the class shares, as if the classifier "
            "made no mistakes. Solve with its confusion matrix.",
        ),
        Mutant(
            "negative_kept",
            _solved(lambda c: c, lambda w, _: w),
            "A ratio of probabilities is negative. Noise in both samples does that; "
            "cut off at 0.",
        ),
        Mutant(
            "renormalised",
            _solved(
                lambda c: c,
                lambda w, joint: w.clamp_min(0) / w.clamp_min(0).sum(),
            ),
            "The ratios sum to 1. They are no distribution: it is q(y) = w p(y) that "
            "sums to 1.",
        ),
        Mutant(
            "prior_renormalised",
            _solved(
                lambda c: c,
                lambda w, joint: w.clamp_min(0) / (w.clamp_min(0) @ joint.sum(0)),
            ),
            "After the cut at 0 you scale w so that w p(y) sums to 1. Nothing else is "
            "to be changed: the caller decides.",
        ),
        Mutant(
            "single_precision",
            _single,
            "The result is float32. Solving loses digits: keep shares and solution in "
            "float64.",
        ),
        Mutant(
            "counts",
            _counts,
            "You solve with counts. Source and target differ in size, so divide each "
            "by its own number of samples.",
        ),
        Mutant(
            "singular_accepted",
            _least_squares,
            "The matrix cannot be inverted, and a pseudo-inverse or rounding gave some "
            "answer. A class that never occurs or is never predicted, or two that are "
            "predicted alike, leave ratios open: raise a ValueError "
            "(torch.linalg.matrix_rank tells).",
        ),
        Mutant(
            "only_target_checked",
            _only_target_checked,
            "A class that does not exist was accepted in the validation data. As an "
            "index, -1 counts from the end in silence. Check all three inputs.",
        ),
        Mutant(
            "unchecked_classes",
            _unchecked_labels,
            "Bad input was accepted: no target sample, or a class that does not exist. "
            "Raise a ValueError.",
        ),
    ),
)
