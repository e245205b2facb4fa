"""Few-shot accuracy with an interval, and what the interval is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tlcourse.arguments import whole
from tlcourse.evaluation import eval_mode, labelled
from tlcourse.meta.episodes import EpisodeSampler
from tlcourse.meta.heads import Prototypical
from tlcourse.metrics import Interval, mean_interval
from tlcourse.runtime import progress_bar

Embed = Callable[[Tensor], Tensor]
Learn = Callable[[Tensor, Tensor, Tensor], Tensor]
_EPISODES = 50  # scored at a time


class FewShotResult(NamedTuple):
    """Accuracy per episode, and the mean with its 95 % interval.

    The interval's unit is the **episode, given one trained network**: it says how
    well the mean over all episodes that can be drawn from this test set is known. It
    says nothing about training again, nor about other classes. To speak of a method,
    train with several seeds and take ``metrics.mean_interval`` of the nets' means.

    Attributes:
        accuracies: ``(E,)`` float64 in [0, 1].
        interval: mean and bounds, Student's.
    """

    accuracies: Tensor
    interval: Interval

    def __str__(self) -> str:
        """For example ``0.832 [0.825, 0.839] over 600 episodes``."""
        return f"{self.interval} over {len(self.accuracies)} episodes"


def few_shot_accuracy(
    embed: Embed,
    dataset: Any,
    num_ways: int = 5,
    num_shots: int = 1,
    num_queries: int = 15,
    *,
    episodes: int = 600,
    head: nn.Module | None = None,
    seed: int = 0,
    batch_size: int = 256,
    progress: bool = True,
) -> FewShotResult:
    """Accuracy of fixed features and a few-shot head over random episodes.

    Every sample is embedded once, in eval mode and without a graph, so that its
    features do not depend on the episode. Equal seeds give equal episodes: compare
    two networks with ``metrics.paired_difference``. The caller's random state is
    neither used nor changed. Chapter 10 uses it.

    Args:
        embed: ``(b, ...)`` to features ``(b, d)``: a module, a method of one such as
            ``net.features``, or any function (which must then see to its own mode).
        dataset: ``Dataset`` or pair ``(x, y)`` of classes not seen in training.
        num_ways: N, classes per episode.
        num_shots: K, support samples per class.
        num_queries: Q, query samples per class.
        episodes: E, at least 2; papers report 600 or more.
        head: ``head(query_z, support_z, support_y, num_ways)``, see
            :mod:`tlcourse.meta.heads`; :class:`Prototypical` by default.
        seed: of the episodes, at least 0.
        batch_size: samples per forward pass.
        progress: show a bar on stdout when it takes longer than 2 s.

    Raises:
        ValueError: bad numbers, ill-formed data, or too few classes or samples.
    """
    head = Prototypical() if head is None else head
    whole("batch_size", batch_size, 1)
    x, sampler, generator = _prepare(
        dataset, num_ways, num_shots, num_queries, episodes, seed
    )
    accuracies = []
    with torch.no_grad(), eval_mode(head):
        z = embed_all(embed, x, batch_size, progress)
        with progress_bar(episodes, "few-shot", "episode", progress) as bar:
            while (done := sum(map(len, accuracies))) < episodes:
                size = min(_EPISODES, episodes - done)
                task = sampler.draw(generator, size).take(z)
                scores = head(task.query_x, task.support_x, task.support_y, num_ways)
                accuracies.append(_accuracy(scores, task.query_y))
                bar.update(size)
    return _result(torch.cat(accuracies))


def learner_accuracy(
    learn: Learn,
    dataset: Any,
    num_ways: int = 5,
    num_shots: int = 1,
    num_queries: int = 15,
    *,
    episodes: int = 600,
    seed: int = 0,
    progress: bool = True,
) -> FewShotResult:
    """Accuracy of a learner that is trained or adapted anew in every episode.

    The episodes are those of :func:`few_shot_accuracy` with the same numbers and
    seed. What ``learn`` does to its own networks is its affair: it must start every
    episode from the same state.

    Args:
        learn: ``learn(support_x, support_y, query_x)`` gives scores ``(N * Q, N)``;
            it sees samples ``(N * K, ...)``, ``(N * Q, ...)`` and new labels.
        dataset: ``Dataset`` or pair ``(x, y)``.
        num_ways: N, classes per episode.
        num_shots: K, support samples per class.
        num_queries: Q, query samples per class.
        episodes: E, at least 2.
        seed: of the episodes, at least 0.
        progress: show a bar on stdout when it takes longer than 2 s.

    Raises:
        ValueError: bad numbers or data, or scores of another shape.
    """
    x, sampler, generator = _prepare(
        dataset, num_ways, num_shots, num_queries, episodes, seed
    )
    accuracies = []
    with progress_bar(episodes, "few-shot", "episode", progress) as bar:
        for _ in range(episodes):
            task = sampler.draw(generator).take(x)
            scores = learn(task.support_x, task.support_y, task.query_x)
            accuracies.append(_accuracy(scores.detach(), task.query_y))
            bar.update()
    return _result(torch.stack(accuracies))


def owner_of(embed: Any) -> nn.Module | None:
    """The module behind ``net`` or ``net.features``; None for a plain function."""
    module = embed if isinstance(embed, nn.Module) else getattr(embed, "__self__", None)
    return module if isinstance(module, nn.Module) else None


def device_of(embed: Any, otherwise: torch.device) -> torch.device:
    """Where the network behind ``embed`` lies."""
    module = owner_of(embed)
    parameters = iter(()) if module is None else module.parameters()
    return next((p.device for p in parameters), otherwise)


def embed_all(embed: Embed, x: Tensor, batch_size: int, progress: bool) -> Tensor:
    """Features of all samples, in eval mode where ``embed`` belongs to a module."""
    module, device = owner_of(embed), device_of(embed, x.device)
    batches = x.split(batch_size)
    bar = progress_bar(len(batches), "embed", "batch", progress)
    parts = []
    with eval_mode(nn.Identity() if module is None else module), bar:
        for batch in batches:
            parts.append(embed(batch.to(device)))
            bar.update()
    return torch.cat(parts)


def _prepare(
    dataset: Any, ways: int, shots: int, queries: int, episodes: int, seed: int
) -> tuple[Tensor, EpisodeSampler, torch.Generator]:
    whole("episodes", episodes, 2)
    whole("seed", seed, 0)
    x, y = labelled(dataset, "dataset")
    sampler = EpisodeSampler(y, ways, shots, queries)
    return x, sampler, torch.Generator().manual_seed(seed)


def _accuracy(scores: Tensor, targets: Tensor) -> Tensor:
    """Share of right answers per episode ``(...)``."""
    if scores.shape[:-1] != targets.shape:
        raise ValueError(
            f"scores must have one row per query, {tuple(targets.shape)}, got shape "
            f"{tuple(scores.shape)}."
        )
    right = scores.argmax(-1) == targets.to(scores.device)
    return right.float().mean(-1).double().cpu()


def _result(accuracies: Tensor) -> FewShotResult:
    return FewShotResult(accuracies, mean_interval(accuracies.tolist()))
