"""The one training loop of all methods, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.adapt.method import Batch, Method
from tlcourse.evaluation import predict
from tlcourse.runtime import progress_bar


@dataclass
class Result:
    """An adapted model and how it came about.

    Attributes:
        model: in eval mode; ``.features(x)``, ``.head(z)``, logits from ``model(x)``.
        method: the method with its settings.
        seed: of the weights, the order of the batches and the method.
        history: one entry per epoch with its means: ``source_loss``, ``added_loss``
            (the method's term, weight included) and ``progress``.
        seconds: wall time.
    """

    model: nn.Module
    method: Method
    seed: int
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    def predict(self, x: Any, batch_size: int = 256) -> Tensor:
        """Logits ``(n, k)`` in eval mode, of inputs or of a ``Dataset`` (its x)."""
        return predict(self.model, getattr(x, "x", x), batch_size)

    def features(self, x: Any, batch_size: int = 256) -> Tensor:
        """Features ``(n, d)`` in eval mode, of inputs or of a ``Dataset`` (its x)."""
        return features(self.model, getattr(x, "x", x), batch_size)


@torch.no_grad()
def features(model: nn.Module, x: Tensor, batch_size: int = 256) -> Tensor:
    """``model.features`` of all samples, in the model's present mode, no graph."""
    device = next(model.parameters()).device
    parts = [model.features(batch.to(device)) for batch in x.split(batch_size)]
    return torch.cat(parts)


def train(
    method: Method,
    model: nn.Module,
    source: tuple[Tensor, Tensor],
    target_x: Tensor,
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    own_statistics: bool,
    seed: int,
    progress: bool,
) -> list[dict[str, float]]:
    """Minimise cross-entropy on the source plus the method's term, in place.

    Half of a step comes from each domain, ``batch_size`` samples each, shuffled. An
    epoch is one pass over the source; the target goes round at its own pace. SGD with
    momentum 0.9, its learning rate falling to 0 along a cosine: Adam would scale up
    the adversarial gradients once the source is learnt.
    """
    (x, y), num_classes = source, model.head.out_features
    parts = method.prepare(model, num_classes)
    trained = [*model.parameters(), *(parts.parameters() if parts is not None else ())]
    steps = max(1, len(x) // batch_size)  # per epoch
    optimizer = torch.optim.SGD(trained, lr=lr, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    of_source = _batches(len(x), batch_size, seed)
    of_target = _batches(len(target_x), batch_size, seed + 1_000_003)
    history = []
    with progress_bar(epochs, type(method).__name__, "epoch", progress) as bar:
        for epoch in range(epochs):
            model.train()
            sums = torch.zeros(2)
            for step in range(steps):
                p = (epoch * steps + step) / (epochs * steps)
                i, j = next(of_source), next(of_target)
                s, t = _forward(method, model, x[i], y[i], target_x[j], own_statistics)
                task = F.cross_entropy(s.logits, s.y)
                added = torch.as_tensor(method.loss(s, t, p), device=task.device)
                optimizer.zero_grad()
                (task + added).backward()
                optimizer.step()
                schedule.step()
                sums += torch.stack([task, added]).detach().cpu()
            means = (sums / steps).tolist()
            if not math.isfinite(sum(means)):
                raise ValueError(
                    f"the loss became {means} (source, added) in epoch {epoch}; use a "
                    "smaller lr or strength."
                )
            history.append(dict(source_loss=means[0], added_loss=means[1], progress=p))
            bar.update()
    return history


def _forward(
    method: Method, model: nn.Module, x: Tensor, y: Tensor, target_x: Tensor, own: bool
) -> tuple[Batch, Batch]:
    """Both halves through the network: apart (``own``), or as one BatchNorm batch."""
    if not method.sees_target:
        z = model.features(x)
        z_target = z[:0]
    elif own:
        z, z_target = model.features(x), model.features(target_x)
    else:
        z, z_target = model.features(torch.cat([x, target_x])).split(
            [len(x), len(target_x)]
        )
    source = Batch(x, z, model.head(z), y)
    return source, Batch(target_x, z_target, model.head(z_target), None)


def _batches(n: int, size: int, seed: int) -> Iterator[Tensor]:
    """Shuffled index batches without end; every sample once per round."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(n, generator=generator)
        yield from order.tensor_split(max(1, n // size))
