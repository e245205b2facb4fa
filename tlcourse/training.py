"""One training loop and one evaluation, right in every respect chapter 02 teaches."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import checkpoints
from tlcourse.arguments import whole
from tlcourse.evaluation import (
    Evaluation,
    Loss,
    check_classes,
    evaluate,
    labelled,
    predict,
    scalar,
)
from tlcourse.runtime import progress_bar

__all__ = ["Evaluation", "History", "evaluate", "fit", "predict"]

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass
class History:
    """What :func:`fit` saw, one entry per epoch.

    Attributes:
        train_loss: mean over the epoch's samples, taken while the weights moved.
        val_loss: mean over the validation samples after the epoch; empty without
            a validation set.
        val_accuracy: fraction in [0, 1]; ``nan`` for float targets.
        best_epoch: index (from 0) of the lowest validation loss, or None.
        stopped_early: whether patience ran out.
    """

    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped_early: bool = False


def fit(
    model: nn.Module,
    train: Any,
    *,
    epochs: int,
    lr: float = 1e-3,
    batch_size: int = 64,
    weight_decay: float = 0.0,
    loss: Loss = F.cross_entropy,
    optimizer: torch.optim.Optimizer | None = None,
    validation: Any = None,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
    augment: Augment | None = None,
) -> History:
    r"""Train ``model`` in place on the mean loss over the training samples.

    :math:`\min_\theta \frac1n\sum_i \ell(f_\theta(x_i), y_i)`, by mini-batches;
    chapter 02 builds this loop. Only parameters with ``requires_grad`` move. Every
    epoch starts with ``model.train()`` on the whole model, so BatchNorm layers,
    frozen ones included, normalise by the batch and update their running
    statistics, unless the model's own ``train`` holds them in eval mode (chapter
    03). The model is left in eval mode. Batches of one epoch differ in size by at
    most one sample, so that every sample weighs the same.

    Order, dropout and augmentation of epoch ``e`` follow from ``(seed, e)`` alone;
    the caller's random state is neither used nor changed.

    Args:
        model: maps a batch ``(b, ...)`` to outputs that ``loss`` takes; it stays on
            its device.
        train: a ``Dataset`` or a pair ``(x, y)`` with equal first lengths.
        epochs: passes over ``train``, at least 1.
        lr: step size of the default optimiser, AdamW.
        batch_size: largest number of samples per step.
        weight_decay: decoupled weight decay of the default optimiser.
        loss: ``loss(outputs, y)``, a mean over the samples of a batch.
        optimizer: instead of AdamW; ``lr`` and ``weight_decay`` are then unused.
        validation: watched after every epoch; take it from the source, never the
            target.
        patience: stop after so many epochs without a lower validation loss and go
            back to the best weights; without it the last weights stay.
        checkpoint: file rewritten after every epoch. If it exists the run goes on
            from there and ends exactly as an uninterrupted one.
        seed: whole number, at least 0.
        progress: show a bar on stdout when the run takes longer than 2 s.
        augment: ``augment(x, generator)`` on each training batch ``(b, ...)`` on the
            model's device; the generator is a CPU one.

    Raises:
        ValueError: bad settings or data, a loss that is not finite, or a checkpoint
            that is damaged or belongs to another run (the file is kept).
    """
    _check_settings(epochs, batch_size, patience, validation, seed)
    data = labelled(train, "train")
    watched = None if validation is None else labelled(validation, "validation")
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError(
            "nothing to train: no parameter has requires_grad=True; unfreeze the head."
        )
    if optimizer is None:
        optimizer = torch.optim.AdamW(trainable, lr=lr, weight_decay=weight_decay)
    step = _Step(model, optimizer, loss, augment, batch_size, seed)
    run = _Run(step, watched, patience)
    if checkpoint is not None:
        run.attach(Path(checkpoint), data, epochs)
    bar = progress_bar(epochs, "fit", "epoch", progress, done=run.epoch)
    with _own_randomness(model), bar:
        while run.epoch < epochs and not run.history.stopped_early:
            run.one_epoch(data)
            bar.set_postfix_str(f"loss {run.history.train_loss[-1]:.3f}", refresh=False)
            bar.update()
    if patience is not None:
        model.load_state_dict(run.best)
    model.eval()
    return run.history


@dataclass
class _Step:
    """Everything one pass over the training data needs."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss
    augment: Augment | None
    batch_size: int
    seed: int

    def epoch(self, x: Tensor, y: Tensor, epoch: int) -> float:
        """Train on every sample once; the mean loss over samples."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        order = torch.randperm(len(x), generator=generator)
        device = next(self.model.parameters()).device
        self.model.train()
        total = torch.zeros((), dtype=torch.float64)
        for index in order.tensor_split(math.ceil(len(x) / self.batch_size)):
            index = index.to(x.device)
            inputs, targets = x[index].to(device), y[index.to(y.device)].to(device)
            if self.augment is not None:
                inputs = self.augment(inputs, generator)
            outputs = self.model(inputs)
            check_classes(outputs, targets)
            value = scalar(self.loss(outputs, targets))
            self.optimizer.zero_grad()
            value.backward()
            self.optimizer.step()
            total += value.detach().cpu() * len(index)
        return total.item() / len(x)


class _Run:
    """A run's state between two epochs, and how it is saved."""

    def __init__(
        self,
        step: _Step,
        validation: tuple[Tensor, Tensor] | None,
        patience: int | None,
    ) -> None:
        self.step, self.validation, self.patience = step, validation, patience
        self.history, self.epoch = History(), 0
        self.best: dict[str, Tensor] | None = None
        self.path: Path | None = None
        self.settings: dict[str, Any] = {}

    def attach(self, path: Path, data: tuple[Tensor, Tensor], epochs: int) -> None:
        """Go on from the file if there is one, and write to it from now on."""
        step, self.path = self.step, path
        self.settings = {
            "model": [(k, tuple(v.shape)) for k, v in step.model.state_dict().items()],
            "trainable parameters": [
                name for name, p in step.model.named_parameters() if p.requires_grad
            ],
            "optimizer": type(step.optimizer).__name__,
            "optimizer settings": repr(step.optimizer.state_dict()["param_groups"]),
            "loss": getattr(step.loss, "__qualname__", type(step.loss).__name__),
            "batch_size": step.batch_size,
            "seed": step.seed,
            "patience": self.patience,
            "training data": checkpoints.digest(*data),
            "validation data": checkpoints.digest(*(self.validation or ())),
        }
        state = checkpoints.read(path, self.settings)
        if state is None:
            return
        if state["epoch"] > epochs:
            raise ValueError(
                f"the checkpoint {path} has {state['epoch']} epochs, more than the "
                f"{epochs} asked for. It was kept; ask for at least "
                f"{state['epoch']}, or name another file."
            )
        step.model.load_state_dict(state["model"])
        step.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.best = state["epoch"], state["best"]
        self.history = History(**state["history"])

    def one_epoch(self, data: tuple[Tensor, Tensor]) -> None:
        """Train, look at the validation set, decide, save."""
        step, history = self.step, self.history
        mean = step.epoch(*data, self.epoch)
        self._require_finite("training", mean)
        history.train_loss.append(mean)
        if self.validation is not None:
            self._watch()
        self.epoch += 1
        if self.path is not None:
            checkpoints.write(self.path, self._state())

    def _watch(self) -> None:
        """Evaluate after the epoch; remember the best weights; stop or go on."""
        step, history = self.step, self.history
        result = evaluate(step.model, self.validation, loss=step.loss)
        self._require_finite("validation", result.loss)
        history.val_loss.append(result.loss)
        history.val_accuracy.append(result.accuracy)
        best = history.best_epoch
        if best is None or result.loss < history.val_loss[best]:
            history.best_epoch = self.epoch
            if self.patience is not None:
                self.best = copy.deepcopy(step.model.state_dict())
        waited = self.epoch - history.best_epoch
        history.stopped_early = self.patience is not None and waited >= self.patience

    def _require_finite(self, name: str, loss: float) -> None:
        if not math.isfinite(loss):
            raise ValueError(
                f"the {name} loss became {loss} in epoch {self.epoch}; use a "
                "smaller lr, or look for extreme values in the data."
            )

    def _state(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "epoch": self.epoch,
            "model": self.step.model.state_dict(),
            "optimizer": self.step.optimizer.state_dict(),
            "best": self.best,
            "history": asdict(self.history),
        }


def _check_settings(
    epochs: int, batch_size: int, patience: int | None, validation: Any, seed: int
) -> None:
    for name, value, least in [
        ("epochs", epochs, 1),
        ("batch_size", batch_size, 1),
        ("patience", 1 if patience is None else patience, 1),
        ("seed", seed, 0),
    ]:
        whole(name, value, least)
    if patience is not None and validation is None:
        raise ValueError(
            "patience needs a validation set to watch; pass validation=..., split "
            "from the source data."
        )


@contextlib.contextmanager
def _own_randomness(model: nn.Module) -> Iterator[None]:
    """Give back the random state of the CPU and the model's GPU afterwards."""
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
