"""Pretraining on pairs of views: one loop for every loss of chapter 09."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.arguments import whole
from tlcourse.evaluation import eval_mode, inputs_of, predict
from tlcourse.pretraining.augmenting import Augment
from tlcourse.pretraining.views import two_views
from tlcourse.runtime import progress_bar

Watch = Callable[[], dict[str, float]]


@dataclass
class PretrainHistory:
    """What :func:`pretrain` saw, one entry per epoch.

    Attributes:
        loss: mean over the epoch's samples, taken while the weights moved.
        watched: what ``watch`` returned; empty without one.
    """

    loss: list[float] = field(default_factory=list)
    watched: list[dict[str, float]] = field(default_factory=list)


class Projector(nn.Sequential):
    """The small head that the loss sees: linear, BatchNorm, ReLU, linear.

    SimCLR's non-linear projection: it is thrown away after pretraining, and takes the
    loss of information with it. Maps ``(b, d_in)`` to ``(b, d_out)``.

    Args:
        d_in: width of the backbone's features.
        hidden: width between the layers.
        d_out: width of the embedding.
    """

    def __init__(self, d_in: int, hidden: int, d_out: int) -> None:
        """Build with random weights."""
        for name, value in (("d_in", d_in), ("hidden", hidden), ("d_out", d_out)):
            whole(name, value, 1)
        super().__init__(
            nn.Linear(d_in, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, d_out),
        )


def pretrain(
    backbone: nn.Module,
    projector: nn.Module | None,
    x: Tensor,
    loss: Callable[..., Tensor],
    augment: Augment,
    *,
    labels: Tensor | None = None,
    epochs: int,
    lr: float = 2e-3,
    batch_size: int = 256,
    weight_decay: float = 1e-4,
    seed: int = 0,
    progress: bool = True,
    watch: Watch | None = None,
) -> PretrainHistory:
    r"""Train backbone and projector in place on two views of every sample.

    :math:`\min_{\phi, g} \ell\big(g(\phi(t(x))), g(\phi(t'(x)))\big)` by mini-batches,
    the t fresh each time. Both views pass as one batch of 2b rows, so that BatchNorm
    cannot tell them apart. AdamW, its rate falling to 0 along a cosine. Batches of one
    epoch differ in size by at most one sample. Order and augmentation follow from
    ``seed`` alone; the caller's random state is neither used nor changed. Chapter 09
    builds this loop.

    Args:
        backbone: a model with ``features(x)`` (those of ``models.small_resnet``,
            ``models.Mlp``), else any module; gives ``(b, d)``. Its unused ``head``
            stays as it is. It stays on its device and ends in eval mode.
        projector: maps ``(b, d)`` to what the loss sees; None for the identity.
        x: ``(n, ...)`` samples, n >= 2; labelled or not, source and target together.
        loss: ``loss(z1, z2)``, or ``loss(z1, z2, y)`` if there are labels.
        augment: ``augment(x, generator)`` on batches ``(b, ...)``.
        labels: ``(n,)`` for a supervised loss.
        epochs: passes over ``x``.
        lr: first step size of AdamW.
        batch_size: largest number of samples (pairs of views) per step, at least 2;
            with 2 and an odd number of samples, one step takes 3.
        weight_decay: decoupled weight decay of AdamW.
        seed: whole number, at least 0.
        progress: show a bar on stdout when the run takes longer than 2 s.
        watch: called after every epoch, backbone and projector in eval mode and
            without gradients; gives figures to keep.

    Raises:
        ValueError: bad settings or data, or a loss that is not finite.
    """
    for name, value, least in [
        ("epochs", epochs, 1),
        ("batch_size", batch_size, 2),
        ("seed", seed, 0),
    ]:
        whole(name, value, least)
    _check_data(x, labels)
    net = _Net(backbone, projector)
    steps = min(math.ceil(len(x) / batch_size), len(x) // 2)  # no pair stays alone
    optimizer = _optimizer(net, lr, weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    views = _Views(net, x, labels, loss, augment, torch.Generator().manual_seed(seed))
    history = PretrainHistory()
    device = next(net.parameters()).device
    bar = progress_bar(epochs, "pretrain", "epoch", progress)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), bar:
        torch.manual_seed(seed)
        for _ in range(epochs):
            net.train()
            total = 0.0
            for index in views.batches(steps):
                value = views.loss_of(index)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
                total += float(value.detach()) * len(index)
            history.loss.append(_finite(total / len(x), len(history.loss)))
            if watch is not None:
                with torch.no_grad(), eval_mode(net):
                    history.watched.append(watch())
            bar.set_postfix_str(f"loss {history.loss[-1]:.3f}", refresh=False)
            bar.update()
    net.eval()
    return history


def embed(
    backbone: nn.Module,
    x: Tensor,
    projector: nn.Module | None = None,
    batch_size: int = 512,
) -> Tensor:
    """Features (or, with the projector, embeddings) in eval mode, without a graph.

    Args:
        backbone: as in :func:`pretrain`; every module keeps its mode.
        x: ``(n, ...)``, n >= 1; moved to the backbone's device in parts.
        projector: None for the features themselves, which are what transfers.
        batch_size: samples per forward pass.

    Returns:
        ``(n, d)`` on the device of ``x``.

    Raises:
        ValueError: no samples.
    """
    whole("batch_size", batch_size, 1)
    return predict(_Net(backbone, projector), inputs_of(x, "x"), batch_size)


class _Net(nn.Module):
    """Backbone and projector as one module; their own objects, not copies."""

    def __init__(self, backbone: nn.Module, projector: nn.Module | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = nn.Identity() if projector is None else projector

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(b, d)``."""
        features = getattr(self.backbone, "features", self.backbone)
        return self.projector(features(x))


@dataclass
class _Views:
    """The batches of an epoch and the loss of one."""

    net: _Net
    x: Tensor
    labels: Tensor | None
    loss: Callable[..., Tensor]
    augment: Augment
    generator: torch.Generator

    def batches(self, steps: int) -> tuple[Tensor, ...]:
        """Shuffled indices of all samples in ``steps`` parts."""
        order = torch.randperm(len(self.x), generator=self.generator)
        return order.tensor_split(steps)

    def loss_of(self, index: Tensor) -> Tensor:
        """Both views through the network as one batch, and their loss."""
        device = next(self.net.parameters()).device
        x = self.x[index.to(self.x.device)].to(device)
        views = two_views(x, self.augment, self.generator)
        z1, z2 = self.net(torch.cat(views)).chunk(2)  # (b, d) each
        if self.labels is None:
            return self.loss(z1, z2)
        y = self.labels[index.to(self.labels.device)]
        return self.loss(z1, z2, y.to(device))


def _optimizer(net: _Net, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    trained = [p for p in net.parameters() if p.requires_grad]
    if not trained:
        raise ValueError(
            "nothing to train: no parameter of backbone or projector has "
            "requires_grad=True; use features.unfreeze."
        )
    return torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay)


def _finite(loss: float, epoch: int) -> float:
    if not math.isfinite(loss):
        raise ValueError(
            f"the loss became {loss} in epoch {epoch}; use a smaller lr or a higher "
            "temperature."
        )
    return loss


def _check_data(x: Any, labels: Any) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point() or len(x) < 2:
        got = f"{tuple(x.shape)} of {x.dtype}" if isinstance(x, Tensor) else type(x)
        raise ValueError(
            f"x must be a float tensor (n, ...) with n >= 2, got {got}; give the "
            "Dataset's .x."
        )
    if not bool(x.isfinite().all()):
        raise ValueError("x holds nan or inf; find the samples and drop them.")
    if labels is None:
        return
    if not isinstance(labels, Tensor) or labels.shape != (len(x),):
        got = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels)
        raise ValueError(
            f"labels must be a tensor of shape ({len(x)},), got {got}; one per sample."
        )
