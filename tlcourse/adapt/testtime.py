"""TENT: adapt at test time, on the stream that is to be classified."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlcourse.adapt.confidence import entropy
from tlcourse.arguments import positive, whole


def tent(
    model: nn.Module, x: Tensor, *, lr: float = 1e-3, batch_size: int = 64
) -> Tensor:
    r"""Classify a stream and adapt to it, batch by batch (Wang et al., ICLR 2021).

    Each batch is normalised by its own statistics and classified once; the entropy of
    these predictions then moves :math:`\gamma,\beta` of the BatchNorm layers by one
    step of Adam, for the batches to come. Nothing else moves, the running statistics
    neither. ``lr=0`` leaves the normalisation by the batch alone.

    Args:
        model: with BatchNorm layers; changed in place. Modes and ``requires_grad``
            come back.
        x: ``(n, ...)`` in the order in which it arrives.
        lr: step size, at least 0.
        batch_size: at least 2; small batches have noisy statistics. A last batch of
            one sample joins the one before.

    Returns:
        The predictions made on the way: logits ``(n, k)``.

    Raises:
        ValueError: bad settings, fewer than two samples, or no BatchNorm layer with
            weights.
    """
    positive("lr", lr, zero=True)
    whole("batch_size", batch_size, 2)
    if len(x) < 2:
        raise ValueError(f"x needs at least two samples, got {len(x)}.")
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    affine = [p for m in norms for p in (m.weight, m.bias) if p is not None]
    if not affine:
        raise ValueError("the model has no BatchNorm layer with weights to adapt.")
    with _only(model, norms, affine):
        device, optimizer = affine[0].device, torch.optim.Adam(affine, lr=lr)
        parts = []
        for batch in x.tensor_split(max(1, round(len(x) / batch_size))):
            logits = model(batch.to(device))
            parts.append(logits.detach())
            if lr:
                optimizer.zero_grad()
                entropy(logits).backward()
                optimizer.step()
    return torch.cat(parts)


@contextlib.contextmanager
def _only(
    model: nn.Module, norms: list[_BatchNorm], affine: list[nn.Parameter]
) -> Iterator[None]:
    """Only ``affine`` learns, ``norms`` use batch statistics and keep none."""
    modes = {m: m.training for m in model.modules()}
    asking = {p: p.requires_grad for p in model.parameters()}
    kept = {m: (m.running_mean, m.running_var) for m in norms}
    try:
        model.eval().requires_grad_(False)
        for module in norms:
            module.running_mean = module.running_var = None
        for parameter in affine:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for module, (mean, variance) in kept.items():
            module.running_mean, module.running_var = mean, variance
        for module, mode in modes.items():
            module.training = mode
        for parameter, flag in asking.items():
            parameter.requires_grad_(flag)
            parameter.grad = None
