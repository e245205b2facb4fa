"""AdaBN done wrongly: statistics that are nearly the target's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tlcourse import adapt

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _norms(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, _NORMS)]


def _values(a: Tensor) -> Tensor:
    """Inputs of a BatchNorm layer as ``(values, channels)``."""
    return a.transpose(0, 1).flatten(1).T


@torch.no_grad()
def _pass(model: nn.Module, x: Tensor, take: Callable[..., None]) -> None:
    """One pass; ``take(layer, values)`` sees what enters each BatchNorm."""
    hooks = [
        m.register_forward_pre_hook(lambda m, args: take(m, _values(args[0])))
        for m in _norms(model)
    ]
    try:
        model(x)
    finally:
        for hook in hooks:
            hook.remove()


class _Kept:
    """Gives every module its mode back."""

    def __init__(self, model: nn.Module) -> None:
        self.modes = {m: m.training for m in model.modules()}

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        for module, mode in self.modes.items():
            module.training = mode


@torch.no_grad()
def running_average(model: nn.Module, x: Tensor) -> nn.Module:
    """Train mode over batches of 32, with each layer's momentum."""
    with _Kept(model):
        model.eval()
        for m in _norms(model):
            m.train()
        for batch in x.split(32):
            model(batch)
    return model


def first_batch(model: nn.Module, x: Tensor) -> nn.Module:
    """The statistics of the first samples alone."""
    return adapt.adapt_batchnorm(model, x[: max(2, min(32, len(x) // 2))])


@torch.no_grad()
def mean_of_batches(model: nn.Module, x: Tensor) -> nn.Module:
    """A cumulative average over batches: momentum None after a reset."""
    norms = _norms(model)
    momenta = [m.momentum for m in norms]
    size = max(2, min(32, len(x) // 2))
    with _Kept(model):
        model.eval()
        for m in norms:
            m.train()
            m.reset_running_stats()
            m.momentum = None
        for batch in x.split(size):
            if len(batch) > 1:
                model(batch)
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
    return model


def dropout_on(model: nn.Module, x: Tensor) -> nn.Module:
    """One pass with dropout."""
    with _Kept(model):
        model.train()

        def set_statistics(layer: nn.Module, a: Tensor) -> None:
            layer.running_mean.copy_(a.mean(0))
            layer.running_var.copy_(a.var(0, unbiased=False))
            layer.training = False

        _pass(model, x, set_statistics)
    return model


def unbiased(model: nn.Module, x: Tensor) -> nn.Module:
    """Variances divided by N - 1."""
    adapt.adapt_batchnorm(model, x)

    def scale(layer: nn.Module, a: Tensor) -> None:
        layer.running_var.copy_(a.var(0, unbiased=True))

    with _Kept(model):
        # Downstream layers see what a full batch in train mode would give them.
        model.eval()
        momenta = [m.momentum for m in _norms(model)]
        for m in _norms(model):
            m.train()
            m.momentum = 0.0
        _pass(model, x, scale)
        for m, momentum in zip(_norms(model), momenta, strict=True):
            m.momentum = momentum
    return model


def all_at_once(model: nn.Module, x: Tensor) -> nn.Module:
    """All statistics from one pass with the old ones."""
    found = {}

    def note(layer: nn.Module, a: Tensor) -> None:
        found[layer] = a.mean(0), a.var(0, unbiased=False)

    with _Kept(model):
        _pass(model.eval(), x, note)
    for layer, (mean, variance) in found.items():
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)
    return model


def reset_affine(model: nn.Module, x: Tensor) -> nn.Module:
    """Weights to 1 and biases to 0 besides."""
    with torch.no_grad():
        for m in _norms(model):
            m.weight.fill_(1.0)
            m.bias.zero_()
    return adapt.adapt_batchnorm(model, x)


def stays_in_eval(model: nn.Module, x: Tensor) -> nn.Module:
    """The right statistics; every module stays in eval mode."""
    return adapt.adapt_batchnorm(model, x).eval()


def eval_pass(model: nn.Module, x: Tensor) -> nn.Module:
    """A pass in eval mode, which sets nothing."""
    with _Kept(model), torch.no_grad():
        model.eval()(x)
    return model


def momentum_left(model: nn.Module, x: Tensor) -> nn.Module:
    """The right statistics; momentum 1 stays behind."""
    adapt.adapt_batchnorm(model, x)
    for m in _norms(model):
        m.momentum = 1.0
    return model


def first_layer_only(model: nn.Module, x: Tensor) -> nn.Module:
    """Only the first layer of ``modules()`` keeps its new statistics."""
    old = [(m.running_mean.clone(), m.running_var.clone()) for m in _norms(model)]
    adapt.adapt_batchnorm(model, x)
    for m, (mean, variance) in zip(_norms(model)[1:], old[1:], strict=True):
        m.running_mean.copy_(mean)
        m.running_var.copy_(variance)
    return model


def _set(layer: nn.Module, a: Tensor) -> None:
    layer.running_mean.copy_(a.mean(0))
    layer.running_var.copy_(a.var(0, unbiased=False))


def as_registered(model: nn.Module, x: Tensor) -> nn.Module:
    """One layer after the other, in the order of ``modules()``."""
    with _Kept(model):
        model.eval()
        for layer in _norms(model):
            _pass(
                model, x, lambda m, a, layer=layer: _set(m, a) if m is layer else None
            )
    return model


def children_only(model: nn.Module, x: Tensor) -> nn.Module:
    """The right statistics for direct children alone."""
    direct = set(model.children())
    with _Kept(model):
        _pass(model.eval(), x, lambda m, a: _set(m, a) if m in direct else None)
    return model


@torch.no_grad()
def hooks_left(model: nn.Module, x: Tensor) -> nn.Module:
    """The right statistics; the hooks stay and set them again."""
    with _Kept(model):
        for m in _norms(model):
            m.register_forward_pre_hook(lambda m, args: _set(m, _values(args[0])))
        model.eval()(x)
    return model


def all_trainable(model: nn.Module, x: Tensor) -> nn.Module:
    """The right statistics; nothing is frozen any more."""
    return adapt.adapt_batchnorm(model, x).requires_grad_(True)
