"""Training on episodes: every step is a small few-shot task."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.arguments import whole
from tlcourse.evaluation import labelled
from tlcourse.meta.episodes import EpisodeSampler, Task
from tlcourse.meta.evaluating import Embed, device_of, owner_of
from tlcourse.meta.heads import Prototypical
from tlcourse.runtime import progress_bar
from tlcourse.training import Augment


@dataclass
class EpisodicHistory:
    """What :func:`train_episodes` saw, one entry per step.

    Attributes:
        loss: mean over the queries of the step's episodes.
        accuracy: share of right answers on the same queries, in [0, 1].
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)


def train_episodes(
    embed: Embed,
    train: Any,
    *,
    num_ways: int,
    num_shots: int,
    num_queries: int = 15,
    steps: int,
    lr: float = 1e-3,
    head: nn.Module | None = None,
    episodes_per_step: int = 1,
    weight_decay: float = 0.0,
    augment: Augment | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    seed: int = 0,
    progress: bool = True,
) -> EpisodicHistory:
    """Train a network, and its head if that has parameters, on random episodes.

    One step draws ``episodes_per_step`` episodes, embeds support and query in one
    pass, and moves against the mean of ``head.loss`` over all queries (Vinyals et al.,
    2016; Snell et al., 2017, algorithm 1). In training BatchNorm normalises by that
    whole pass; the network is left in eval mode, where it uses running statistics.
    The caller's random state is neither used nor changed. Chapter 10 uses it.

    Args:
        embed: a module, or a method of one such as ``net.features``; maps ``(b, ...)``
            to features ``(b, d)``.
        train: ``Dataset`` or pair ``(x, y)`` of the training classes.
        num_ways: N, classes per episode.
        num_shots: K, support samples per class.
        num_queries: Q, query samples per class.
        steps: number of updates, at least 1.
        lr: step size of the default optimiser, AdamW.
        head: see :mod:`tlcourse.meta.heads`; :class:`Prototypical` by default.
        episodes_per_step: episodes whose losses are averaged.
        weight_decay: of the default optimiser.
        augment: ``augment(x, generator)`` on the samples of a step ``(b, ...)``.
        optimizer: instead of AdamW; ``lr`` and ``weight_decay`` are then unused.
        seed: at least 0.
        progress: show a bar on stdout when it takes longer than 2 s.

    Raises:
        ValueError: bad numbers or data, nothing to train, or a loss not finite.
    """
    whole("steps", steps, 1)
    whole("episodes_per_step", episodes_per_step, 1)
    whole("seed", seed, 0)
    x, y = labelled(train, "train")
    sampler = EpisodeSampler(y, num_ways, num_shots, num_queries)
    head = Prototypical() if head is None else head
    network = owner_of(embed)
    device = device_of(embed, x.device)
    head.to(device)
    parameters = _trainable(network, head)
    if optimizer is None:
        optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    generator, history = torch.Generator().manual_seed(seed), EpisodicHistory()
    cuda = [device] if device.type == "cuda" else []
    bar = progress_bar(steps, "episodes", "step", progress)
    with torch.random.fork_rng(cuda), bar:
        torch.manual_seed(seed)
        network.train()
        head.train()
        for _ in range(steps):
            task = sampler.draw(generator, episodes_per_step).take(x)
            support_z, query_z = _embedded(embed, task, device, augment, generator)
            targets = task.query_y.to(device)
            scores = head(query_z, support_z, task.support_y.to(device), num_ways)
            _step(optimizer, head.loss(scores, targets), history)
            history.accuracy.append(
                (scores.argmax(-1) == targets).float().mean().item()
            )
            bar.update()
    network.eval()
    head.eval()
    return history


def _trainable(network: nn.Module | None, head: nn.Module) -> list[Tensor]:
    if network is None:
        raise ValueError(
            "embed must be a module or a method of one, such as net.features: a plain "
            "function does not say which parameters to train."
        )
    parameters = {p: None for m in (network, head) for p in m.parameters()}
    chosen = [p for p in parameters if p.requires_grad]
    if not chosen:
        raise ValueError(
            "nothing to train: no parameter of embed or head has requires_grad=True."
        )
    return chosen


def _embedded(
    embed: Embed,
    task: Task,
    device: torch.device,
    augment: Augment | None,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Features ``(E, N * K, d)`` and ``(E, N * Q, d)`` from one forward pass."""
    x = torch.cat([task.support_x, task.query_x], dim=1)  # (E, N (K + Q), ...)
    flat = x.flatten(0, 1).to(device)
    if augment is not None:
        flat = augment(flat, generator)
    z = embed(flat)
    z = z.view(*x.shape[:2], *z.shape[1:])
    return z.split([task.support_x.shape[1], task.query_x.shape[1]], dim=1)


def _step(
    optimizer: torch.optim.Optimizer, loss: Tensor, history: EpisodicHistory
) -> None:
    value = loss.item()
    if not math.isfinite(value):
        raise ValueError(
            f"the loss became {value} in step {len(history.loss)}; use a smaller lr, "
            "or look for extreme values in the data."
        )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    history.loss.append(value)
