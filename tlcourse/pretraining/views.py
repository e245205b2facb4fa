"""Two views of every sample. Chapter 09 asks you to write it."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse.pretraining.augmenting import Augment


def two_views(
    x: Tensor, augment: Augment, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    r"""Two independent augmentations :math:`(t(x), t'(x))` of one batch (SimCLR).

    Row i of both is a view of sample i. What the two views share, the embedding may
    keep; what differs between them, it learns to ignore.

    Args:
        x: ``(n, ...)`` samples, n >= 1; not changed.
        augment: ``augment(x, generator)`` gives ``(n, ...)``, one draw per sample.
        generator: CPU generator, the only source of randomness; both calls draw from
            it one after the other.

    Raises:
        ValueError: no samples, or an augmentation that returns another number of
            them, or views of unequal shapes.
    """
    if not isinstance(x, Tensor) or x.ndim == 0 or len(x) == 0:
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x must be a tensor (n, ...) with n >= 1, got {got}.")
    first, second = augment(x, generator), augment(x, generator)
    if len(first) != len(x) or first.shape != second.shape:
        raise ValueError(
            f"augment must keep the {len(x)} samples and one shape, got "
            f"{tuple(first.shape)} and {tuple(second.shape)}."
        )
    return first, second
