"""Corrections: weights of samples and of classes. Chapter 06 derives them."""

from __future__ import annotations

import torch
from torch import Tensor


def importance_weights(
    logits: Tensor, num_source: int, num_target: int, *, normalise: bool = True
) -> Tensor:
    r"""Density ratio target / source of source samples from a domain classifier.

    By Bayes' rule, with :math:`P(\text{target} \mid x) = \operatorname{sigmoid}(a)`:

    .. math:: w(x) = \frac{p_T(x)}{p_S(x)}
        = \frac{n_S}{n_T} \frac{P(\text{target} \mid x)}{P(\text{source} \mid x)}
        = \frac{n_S}{n_T} e^{a(x)}

    (Bickel et al., 2009; Sugiyama et al., 2012). Normalised, the mean weight is 1,
    which the true ratio has in expectation; the factor then cancels.

    Args:
        logits: ``(n,)`` float: log odds a(x) of the source samples for "target".
        num_source: source samples that the classifier was fitted on.
        num_target: target samples that the classifier was fitted on.
        normalise: divide by the mean weight.

    Returns:
        ``(n,)`` weights >= 0 of the dtype of ``logits``.

    Raises:
        ValueError: shapes or dtypes do not fit, no sample, nan, or a count < 1.
    """
    if logits.ndim != 1 or not logits.is_floating_point() or len(logits) == 0:
        raise ValueError(
            "logits must be a float tensor (n,) with n >= 1, one log odds per source "
            f"sample, got {tuple(logits.shape)} of {logits.dtype}."
        )
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("logits holds nan or inf; give log odds, not probabilities.")
    for name, count in (("num_source", num_source), ("num_target", num_target)):
        if not count >= 1:
            raise ValueError(f"{name} must be >= 1, got {count!r}.")
    if normalise:  # softmax never overflows
        return logits.softmax(0) * len(logits)
    return logits.exp() * (num_source / num_target)


def bbse(
    predictions_val: Tensor,
    labels_val: Tensor,
    predictions_target: Tensor,
    num_classes: int,
) -> Tensor:
    r"""Black-box shift estimation: class ratios target / source (Lipton et al., 2018).

    Under label shift, p(x | y) and with it p(h | y) is the same in both domains:

    .. math:: q(h = i) = \sum_j p(h = i, y = j)\, w_j, \qquad
        w_j = \frac{q(y = j)}{p(y = j)}

    The joint matrix comes from held-out source samples, the left-hand side from the
    predictions on the target. Solving gives w, cut off at 0. The target's class
    priors are w times the source's.

    Args:
        predictions_val: ``(n,)`` int64: predicted classes of source samples that the
            classifier was not trained on.
        labels_val: ``(n,)`` int64: their classes.
        predictions_target: ``(m,)`` int64: predicted classes of target samples.
        num_classes: k; every class must be present and predicted in the source.

    Returns:
        ``(k,)`` float64, >= 0.

    Raises:
        ValueError: shapes, dtypes or labels do not fit, an empty sample, or a
            confusion matrix that cannot be inverted.
    """
    arrays = {
        "predictions_val": predictions_val,
        "labels_val": labels_val,
        "predictions_target": predictions_target,
    }
    for name, a in arrays.items():
        _check_classes(name, a, num_classes)
    if len({a.device for a in arrays.values()}) > 1:
        raise ValueError(
            f"{', '.join(arrays)} must lie on one device; move them with .to(device)."
        )
    if predictions_val.shape != labels_val.shape:
        raise ValueError(
            "predictions_val and labels_val must describe the same samples, got "
            f"{len(predictions_val)} and {len(labels_val)}."
        )
    cells = predictions_val * num_classes + labels_val
    joint = torch.bincount(cells, minlength=num_classes**2).double() / len(cells)
    joint = joint.reshape(num_classes, num_classes)  # rows: predicted, columns: true
    seen = torch.bincount(predictions_target, minlength=num_classes).double()
    seen = seen / len(predictions_target)  # (k,)
    if int(torch.linalg.matrix_rank(joint)) < num_classes:
        raise ValueError(
            "the confusion matrix of predictions_val and labels_val is singular: a "
            "class is absent or never predicted, or two classes are never told apart. "
            "Use more samples, a better classifier, or merge classes."
        )
    return torch.linalg.solve(joint, seen).clamp_min(0)


def _check_classes(name: str, a: Tensor, num_classes: int) -> None:
    if a.ndim != 1 or a.dtype != torch.int64 or len(a) == 0:
        raise ValueError(
            f"{name} must be an int64 tensor (n,) with n >= 1, got {tuple(a.shape)} of "
            f"{a.dtype}; class numbers, not one-hot or probabilities."
        )
    if int(a.min()) < 0 or int(a.max()) >= num_classes:
        raise ValueError(
            f"{name} must lie in [0, {num_classes - 1}], got [{int(a.min())}, "
            f"{int(a.max())}]."
        )
