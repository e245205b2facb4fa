"""Reading the features of a layer, batch by batch, without leaving a trace."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.evaluation import eval_mode
from tlcourse.models.hooks import record


def extract_features(
    model: nn.Module, x: Tensor, layer: str, batch_size: int = 256, *, grid: int = 1
) -> Tensor:
    r"""Features of one layer: :math:`\phi_\ell(x_i)` for every sample.

    Runs in eval mode and without a graph, ``batch_size`` samples at a time.
    Afterwards the model is as it was: every module has the mode it had, and no
    hook is left, also when the model raises. Maps ``(b, c, h, w)`` are averaged
    over a ``grid x grid`` of equal cells (1: global average pooling). Chapter 03
    asks you to write it.

    Args:
        model: any module that takes ``x``.
        x: inputs ``(n, ...)``, n >= 1; moved to the model's device in parts.
        layer: name as in ``model.named_modules()``; its output must be a tensor
            ``(b, d)`` or ``(b, c, h, w)``.
        batch_size: samples per forward pass, at least 1.
        grid: cells per side that maps are averaged over.

    Returns:
        ``(n, d)``, or ``(n, c * grid * grid)`` for maps, on the device of ``x``.

    Raises:
        ValueError: no samples, an unknown layer, or an output of another shape.
    """
    if len(x) == 0 or batch_size < 1:
        raise ValueError(
            "extract_features needs at least one sample and batch_size >= 1, got "
            f"{len(x)} and {batch_size}."
        )
    device = next((p.device for p in model.parameters()), x.device)
    parts = []
    with torch.no_grad(), eval_mode(model), record(model, [layer]) as outputs:
        for batch in x.split(batch_size):
            model(batch.to(device))
            parts.append(_pooled(outputs[layer], layer, grid).to(x.device))
    return torch.cat(parts)  # (n, d)


def _pooled(z: Tensor, layer: str, grid: int) -> Tensor:
    """One row per sample: vectors as they are, maps averaged."""
    if isinstance(z, Tensor) and z.ndim == 2:
        return z.clone()  # the layer's own memory may be used again
    if isinstance(z, Tensor) and z.ndim == 4:
        return F.adaptive_avg_pool2d(z, grid).flatten(1)
    got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
    raise ValueError(
        f"layer {layer!r} must put out a tensor (b, d) or (b, c, h, w), got {got}; "
        "choose another layer, or use tlcourse.models.record."
    )
