"""Losses and labels from the model's own confidence on unlabelled samples."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tlcourse.adapt.checking import matrix
from tlcourse.arguments import fraction, whole


def entropy(logits: Tensor) -> Tensor:
    r"""Mean Shannon entropy of the predictions, :math:`-\frac1n\sum_i\sum_k p\ln p`.

    Minimised on unlabelled samples by Grandvalet and Bengio ("Semi-supervised
    Learning by Entropy Minimization", 2004) and by TENT; as a score, low entropy is
    confidence. From log-softmax: a probability of 0 adds 0, not NaN, and the gradient
    flows through both factors. Chapter 07 builds it.

    Args:
        logits: ``(n, k)`` floating, n >= 1.

    Returns:
        A scalar in nats, between 0 and ln k, with its graph.

    Raises:
        ValueError: not such a matrix, or one that holds NaN or infinity.
    """
    matrix("logits", logits)
    log_p = F.log_softmax(logits, dim=1)  # (n, k)
    return -(log_p.exp() * log_p).sum(1).mean()


def pseudo_labels(
    logits: Tensor, threshold: float = 0.95, per_class: int | None = None
) -> tuple[Tensor, Tensor]:
    r"""The model's own answers where it is confident: ``(indices, labels)``.

    Sample i is kept if :math:`\max_k p_{ik}\ge\tau` (Lee, "Pseudo-Label", 2013; the
    threshold as in Sohn et al., "FixMatch", 2020). ``per_class`` keeps at most so
    many of each class, the most confident first and of equals the earlier one, so
    that an easy class does not swamp the rest (Zou et al., 2018). Chapter 07 builds
    it.

    Args:
        logits: ``(n, k)`` floating.
        threshold: :math:`\tau` in [0, 1].
        per_class: None, or at least 1.

    Returns:
        Indices ``(m,)`` int64, ascending, and class numbers ``(m,)`` int64, without a
        graph; m may be 0.

    Raises:
        ValueError: bad logits, or settings out of range.
    """
    matrix("logits", logits)
    fraction("threshold", threshold)
    if per_class is not None:
        whole("per_class", per_class, 1)
    confidence, y = logits.detach().softmax(1).max(1)  # (n,), (n,)
    keep = confidence >= threshold
    if per_class is not None:
        for k in range(logits.shape[1]):
            members = (keep & (y == k)).nonzero().flatten()
            order = confidence[members].argsort(descending=True, stable=True)
            keep[members[order[per_class:]]] = False
    indices = keep.nonzero().flatten()
    return indices, y[indices]
