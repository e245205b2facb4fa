"""Episodes: small classification tasks drawn from a large labelled set."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse.arguments import whole
from tlcourse.meta.tasks import Episode, Task

__all__ = ["Episode", "EpisodeSampler", "Task", "sample_episode", "sample_episodes"]

_DRAWN = 2**22  # random numbers at a time, 32 MB


class EpisodeSampler:
    """Draws episodes from one labelled set; groups its samples by class once.

    Args:
        labels: ``(n,)`` int64, the classes to draw from; every one of them must have
            at least ``num_shots + num_queries`` samples.
        num_ways: classes per episode N, at least 1.
        num_shots: support samples per class K, at least 1.
        num_queries: query samples per class Q, at least 1.

    Raises:
        ValueError: labels that are no int64 tensor, too few classes, or a class with
            too few samples; sealed labels raise their own error.
    """

    def __init__(
        self, labels: Tensor, num_ways: int, num_shots: int, num_queries: int
    ) -> None:
        """Group the samples."""
        for name, value in [
            ("num_ways", num_ways),
            ("num_shots", num_shots),
            ("num_queries", num_queries),
        ]:
            whole(name, value, 1)
        _check_labels(labels)
        self.num_ways, self.num_shots, self.num_queries = (
            num_ways,
            num_shots,
            num_queries,
        )
        self.device = labels.device
        self.classes, inverse, self.counts = labels.cpu().unique(
            return_inverse=True, return_counts=True
        )
        self._check_counts()
        # Row c lists the samples of class c, padded to the largest class.
        self._members = torch.zeros(
            len(self.classes), int(self.counts.max()), dtype=torch.int64
        )
        starts = self.counts.cumsum(0) - self.counts
        column = torch.arange(len(labels)) - starts.repeat_interleave(self.counts)
        order = inverse.argsort(stable=True)
        self._members[inverse[order], column] = order

    def draw(
        self, generator: torch.Generator, num_episodes: int | None = None
    ) -> Episode:
        """One episode, or ``num_episodes`` of them with a leading dimension.

        Classes are drawn uniformly without replacement, in random order; so are the
        samples within a class. ``draw(generator, 3)`` gives the same three episodes
        as three calls of ``draw(generator)``.

        Args:
            generator: on the CPU; the only source of randomness.
            num_episodes: E, at least 1, or None for one without a leading dimension.

        Raises:
            ValueError: no such generator or number.
        """
        if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
            raise ValueError(
                "generator must be a torch.Generator on the CPU, got "
                f"{generator!r}; use torch.Generator().manual_seed(seed)."
            )
        if num_episodes is None:
            return self._episode(*(part[0] for part in self._draw(generator, 1)))
        whole("num_episodes", num_episodes, 1)
        width = len(self.classes) + self.num_ways * self._members.shape[1]
        most = max(1, _DRAWN // width)
        sizes = [most] * (num_episodes // most) + [num_episodes % most or None]
        parts = [self._draw(generator, size) for size in sizes if size]
        return self._episode(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _draw(self, generator: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        """Class rows ``(n, N)`` and samples ``(n, N, K + Q)``.

        The smallest of independent uniform keys are a random subset in random order.
        """
        ways, widest = self.num_ways, self._members.shape[1]
        total = len(self.classes)
        keys = torch.rand(
            n, total + ways * widest, dtype=torch.float64, generator=generator
        )
        rows = keys[:, :total].topk(ways, largest=False).indices  # (n, N)
        item_keys = keys[:, total:].view(n, ways, widest)
        padding = torch.arange(widest) >= self.counts[rows].unsqueeze(-1)
        item_keys.masked_fill_(padding, 2.0)  # larger than any key
        wanted = self.num_shots + self.num_queries
        columns = item_keys.topk(wanted, largest=False).indices  # (n, N, K + Q)
        return rows, self._members[rows.unsqueeze(-1), columns]

    def _episode(self, rows: Tensor, items: Tensor) -> Episode:
        items = items.to(self.device)
        support, query = items.split([self.num_shots, self.num_queries], dim=-1)
        return Episode(support, query, self.classes[rows].to(self.device))

    def _check_counts(self) -> None:
        if self.num_ways > len(self.classes):
            raise ValueError(
                f"num_ways must be at most the number of classes, got {self.num_ways} "
                f"for labels with {len(self.classes)} classes; lower num_ways."
            )
        wanted = self.num_shots + self.num_queries
        small = int(self.counts.argmin())
        if self.counts[small] < wanted:
            raise ValueError(
                f"labels must have num_shots + num_queries = {wanted} samples in "
                f"every class, class {int(self.classes[small])} has "
                f"{int(self.counts[small])}; lower num_queries, or drop the class."
            )


def _check_labels(labels: Tensor) -> None:
    dtype = getattr(labels, "dtype", None)  # sealed labels raise their own error here
    if not isinstance(labels, Tensor) or dtype != torch.int64 or labels.ndim != 1:
        shape = f" of shape {tuple(labels.shape)}" if dtype is not None else ""
        raise ValueError(
            "labels must be an int64 tensor (n,) of class numbers, got "
            f"{dtype or type(labels).__name__}{shape}; use dataset.y, or .long()."
        )
    if len(labels) == 0:
        raise ValueError("labels is empty; an episode needs samples to draw from.")


def sample_episode(
    labels: Tensor,
    num_ways: int,
    num_shots: int,
    num_queries: int,
    generator: torch.Generator,
) -> Episode:
    """Draw one N-way K-shot episode (Vinyals et al., 2016, section 2.2).

    N classes uniformly without replacement; of each, K support and Q query samples,
    again without replacement, so that no sample is in both. Chapter 10 asks you to
    write it. To draw many, make an :class:`EpisodeSampler` once.

    Args:
        labels: ``(n,)`` int64.
        num_ways: N, at most the number of classes.
        num_shots: K, support samples per class.
        num_queries: Q, query samples per class.
        generator: a ``torch.Generator`` on the CPU; the only source of randomness.

    Raises:
        ValueError: see :class:`EpisodeSampler`.
    """
    return EpisodeSampler(labels, num_ways, num_shots, num_queries).draw(generator)


def sample_episodes(
    labels: Tensor,
    num_ways: int,
    num_shots: int,
    num_queries: int,
    num_episodes: int,
    generator: torch.Generator,
) -> Episode:
    """Draw E episodes at once: :func:`sample_episode` with a leading dimension.

    Args:
        labels: ``(n,)`` int64.
        num_ways: N, at most the number of classes.
        num_shots: K, support samples per class.
        num_queries: Q, query samples per class.
        num_episodes: E, at least 1.
        generator: a ``torch.Generator`` on the CPU; the only source of randomness.

    Raises:
        ValueError: see :class:`EpisodeSampler`.
    """
    sampler = EpisodeSampler(labels, num_ways, num_shots, num_queries)
    return sampler.draw(generator, num_episodes)
