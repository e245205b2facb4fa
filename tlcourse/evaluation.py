"""Evaluation and prediction: eval mode, no gradients, means over samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


class Evaluation(NamedTuple):
    """Mean loss, accuracy in [0, 1] (``nan`` for float targets), sample count."""

    loss: float
    accuracy: float
    n: int


def evaluate(
    model: nn.Module,
    dataset: Any,
    *,
    loss: Loss = F.cross_entropy,
    batch_size: int = 128,
) -> Evaluation:
    r"""Mean loss and accuracy over the samples, in eval mode and without gradients.

    A batch mean weighs :math:`b/n`, so the result does not depend on
    ``batch_size``. Every submodule gets back the mode it had.

    Args:
        model: maps ``(b, ...)`` to outputs; logits ``(b, c)`` for an accuracy.
        dataset: a ``Dataset`` or a pair ``(x, y)``.
        loss: ``loss(outputs, y)``, a mean over the samples of a batch.
        batch_size: samples per forward pass.

    Raises:
        ValueError: empty or ill-formed data, or a class the model has no output for.
    """
    x, y = labelled(dataset, "dataset")
    outputs = _outputs(model, x, batch_size)
    check_classes(outputs, y)
    parts = zip(outputs.split(batch_size), y.split(batch_size), strict=True)
    with torch.no_grad():
        total = sum(scalar(loss(z, t.to(z.device))).item() * len(t) for z, t in parts)
    if y.is_floating_point():
        return Evaluation(total / len(y), math.nan, len(y))
    correct = (outputs.argmax(1) == y.to(outputs.device)).sum().item()
    return Evaluation(total / len(y), correct / len(y), len(y))


def predict(model: nn.Module, dataset: Any, batch_size: int = 128) -> Tensor:
    """Outputs ``(n, c)`` of the model in eval mode, on the data's device.

    Args:
        model: maps ``(b, ...)`` to ``(b, c)``; every submodule keeps its mode.
        dataset: a ``Dataset``, sealed or not, a pair ``(x, y)``, or ``x`` alone.
        batch_size: samples per forward pass.

    Raises:
        ValueError: empty data, or inputs that are not finite tensors.
    """
    x = inputs_of(dataset, "dataset")
    return _outputs(model, x, batch_size).to(x.device)


def _outputs(model: nn.Module, x: Tensor, batch_size: int) -> Tensor:
    """Outputs ``(n, ...)`` in eval mode; submodules get their modes back."""
    device = next((p.device for p in model.parameters()), x.device)
    with torch.no_grad(), eval_mode(model):
        return torch.cat([model(part.to(device)) for part in x.split(batch_size)])


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; every module gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def inputs_of(data: Any, role: str) -> Tensor:
    """The inputs ``(n, ...)`` of a Dataset, a pair, or a bare tensor."""
    x = data[0] if isinstance(data, tuple) else getattr(data, "x", data)
    if not isinstance(x, Tensor):
        raise ValueError(
            f"{role} must hold its inputs in a tensor, got {type(x).__name__}; pass a "
            "Dataset or a pair (x, y) of tensors (tokenise or embed text first)."
        )
    if len(x) == 0:
        raise ValueError(f"{role} is empty; it needs at least one sample.")
    if x.is_floating_point() and not x.isfinite().all():
        raise ValueError(f"{role} holds NaN or infinite inputs; clean them first.")
    return x


def labelled(data: Any, role: str) -> tuple[Tensor, Tensor]:
    """Inputs and labels of equal length; sealed labels raise their own error."""
    x = inputs_of(data, role)
    if not hasattr(data, "y") and not (isinstance(data, tuple) and len(data) == 2):
        raise ValueError(f"{role} has no labels; pass a Dataset or a pair (x, y).")
    y = data[1] if isinstance(data, tuple) else data.y
    dtype = getattr(y, "dtype", None)  # sealed labels raise their own error here
    if dtype is None or not (dtype == torch.int64 or dtype.is_floating_point):
        raise ValueError(
            f"the labels of {role} must be an int64 or float tensor, got "
            f"{dtype or type(y).__name__}; convert class numbers with .long()."
        )
    if len(y) != len(x):
        raise ValueError(f"{role} has {len(x)} inputs but {len(y)} labels.")
    return x, y


def check_classes(outputs: Tensor, y: Tensor) -> None:
    """Class labels must be columns of the outputs."""
    if y.is_floating_point() or outputs.ndim != 2:
        return
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= outputs.shape[1]:
        raise ValueError(
            f"labels run from {low} to {high}, but the model has "
            f"{outputs.shape[1]} outputs; give it one output per class."
        )


def scalar(value: Tensor) -> Tensor:
    """The loss as a 0-dimensional tensor; anything but one number is an error."""
    if value.numel() != 1:
        raise ValueError(
            f"loss must return one number per batch, got shape {tuple(value.shape)}; "
            "take the mean over the samples."
        )
    return value.squeeze()
