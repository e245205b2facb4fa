"""AdaBN: BatchNorm statistics of another domain, exactly."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlcourse.adapt.checking import wide
from tlcourse.evaluation import eval_mode


class _Enough(Exception):
    """The layer asked about has been reached; the rest of the pass is not needed."""


@torch.no_grad()
def adapt_batchnorm(model: nn.Module, x: Tensor, batch_size: int = 256) -> nn.Module:
    r"""Replace every BatchNorm's running statistics by those of the samples ``x``.

    For the inputs a of each layer and channel, over all samples and places,
    :math:`\mu=\frac1N\sum a,\ \sigma^2=\frac1N\sum(a-\mu)^2` (Li et al., "Revisiting
    Batch Normalization for Practical Domain Adaptation", 2016). Afterwards
    ``model.eval()(x)`` equals one pass over all of ``x`` in train mode (without
    dropout): the result depends neither on the order of ``x`` nor on ``batch_size``.
    A running average over batches has neither property.

    The layers are set one after the other, in the order in which ``x`` meets them:
    what a layer sees depends on the ones before. One pass per layer, in float64.
    Weights, biases and other buffers stay, as does each module's mode.

    Args:
        model: holds at least one BatchNorm layer with running statistics.
        x: ``(n, ...)`` target inputs; on any device.
        batch_size: samples per forward pass.

    Returns:
        The same model, changed in place.

    Raises:
        ValueError: no samples, no BatchNorm layer, or NaN on the way.
    """
    if not len(x):
        raise ValueError("x holds no samples; AdaBN needs unlabelled target samples.")
    if not any(map(has_statistics, model.modules())):
        raise ValueError(
            "the model has no BatchNorm layer with running statistics; AdaBN cannot "
            "change it."
        )
    with eval_mode(model):
        for layer in _in_order(model, x[:1]):
            _set_statistics(model, layer, x.split(batch_size))
    return model


def has_statistics(module: nn.Module) -> bool:
    """Whether the module is a BatchNorm layer with running statistics."""
    return isinstance(module, _BatchNorm) and module.running_mean is not None


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _in_order(model: nn.Module, x: Tensor) -> list[_BatchNorm]:
    """The BatchNorm layers that a pass of ``x`` meets, each once."""
    met: list[_BatchNorm] = []
    layers = [m for m in model.modules() if has_statistics(m)]
    hooks = [m.register_forward_pre_hook(lambda m, args: met.append(m)) for m in layers]
    try:
        model(x.to(_device(model)))
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(met))


def _set_statistics(
    model: nn.Module, layer: _BatchNorm, batches: tuple[Tensor, ...]
) -> None:
    """Mean and variance of what reaches ``layer``, in two passes: no cancellation."""
    mean = _average(model, layer, batches, lambda a: a)
    variance = _average(model, layer, batches, lambda a: (a - mean).square())
    if not torch.isfinite(mean + variance).all():
        raise ValueError(
            "a BatchNorm layer sees NaN or infinity; check x and the model."
        )
    layer.running_mean.copy_(mean)
    layer.running_var.copy_(variance)


def _average(
    model: nn.Module,
    layer: _BatchNorm,
    batches: tuple[Tensor, ...],
    of: Callable[[Tensor], Tensor],
) -> Tensor:
    """Mean of ``of(inputs)`` per channel ``(c,)``, float64."""
    total: Tensor | float = 0.0
    count = 0

    def add(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal total, count
        a = wide(args[0]).transpose(0, 1).flatten(1).T  # (values, c)
        total, count = total + of(a).sum(0), count + len(a)
        raise _Enough

    hook = layer.register_forward_pre_hook(add)
    try:
        for batch in batches:
            with contextlib.suppress(_Enough):
                model(batch.to(_device(model)))
    finally:
        hook.remove()
    return total / count
