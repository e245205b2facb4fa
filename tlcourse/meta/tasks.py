"""What an episode is: which samples, and their contents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Task(NamedTuple):
    """The contents of an episode, ready for a learner.

    ``support_x`` ``(..., N * K, *)`` and ``query_x`` ``(..., N * Q, *)`` hold samples
    or features, ``support_y`` and ``query_y`` their classes 0 to N - 1.
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor


@dataclass(frozen=True, eq=False)
class Episode:
    """Which samples make up an N-way K-shot task, or a batch of such tasks.

    Row ``c`` of ``support`` and ``query`` holds samples of the class with the old
    label ``classes[c]``; its new label is ``c``. Leading dimensions, where there are
    any, count episodes.

    Attributes:
        support: indices ``(..., N, K)`` int64 of the labelled samples.
        query: indices ``(..., N, Q)`` int64 of the samples to be classified.
        classes: old labels ``(..., N)`` int64.
    """

    support: Tensor
    query: Tensor
    classes: Tensor

    @property
    def num_ways(self) -> int:
        """N, the number of classes of a task."""
        return self.classes.shape[-1]

    @property
    def support_y(self) -> Tensor:
        """New labels ``(..., N * K)`` int64 of ``support.flatten(-2)``."""
        return _new_labels(self.support)

    @property
    def query_y(self) -> Tensor:
        """New labels ``(..., N * Q)`` int64 of ``query.flatten(-2)``."""
        return _new_labels(self.query)

    def take(self, x: Tensor) -> Task:
        """Support and query, looked up in ``x``.

        Args:
            x: samples or features ``(n, *)`` of the set the labels belong to.

        Raises:
            ValueError: ``x`` has fewer rows than an index asks for.
        """
        last = int(torch.maximum(self.support.max(), self.query.max()))
        if not isinstance(x, Tensor) or x.ndim == 0 or len(x) <= last:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"x must be a tensor with one row per label, at least {last + 1}, got "
                f"{got}; pass the samples that the labels belong to."
            )
        support, query = (
            i.flatten(-2).to(x.device) for i in (self.support, self.query)
        )
        labels = self.support_y.to(x.device), self.query_y.to(x.device)
        return Task(x[support], labels[0], x[query], labels[1])


def _new_labels(indices: Tensor) -> Tensor:
    ways, each = indices.shape[-2:]
    row = torch.arange(ways, device=indices.device).repeat_interleave(each)
    return row.expand(*indices.shape[:-2], -1)
