"""What `grad` of a `vmap` makes of a norm that adapts: a silent error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

_layer_norm = F.layer_norm


class _ConstantStatistics(torch.autograd.Function):
    """Layer norm whose scale's gradient takes the mean and deviation as constants.

    That is what the batch rule of its backward does when each task has a scale of its
    own; the numbers are the same to the last digits. Without ``torch.func``, which
    takes seconds to load.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """The layer norm of ``z`` ``(n, d)``."""
        ctx.save_for_backward(z, scale, shift)
        return _layer_norm(z, z.shape[-1:], scale, shift)

    @staticmethod
    def backward(ctx: Any, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients; only that of ``scale`` is wrong, when differentiated."""
        z, scale, shift = ctx.saved_tensors
        with torch.enable_grad():
            normed = _layer_norm(z, z.shape[-1:], scale, shift)
            (to_z,) = torch.autograd.grad(normed, z, upper, create_graph=True)
        mean, variance = z.mean(-1, keepdim=True), z.var(-1, correction=0, keepdim=True)
        constant = (z - mean.detach()) * (variance.detach() + 1e-5).rsqrt()
        return to_z, (upper * constant).sum(0), upper.sum(0)


@contextmanager
def constant_statistics() -> Iterator[None]:
    """Make ``F.layer_norm`` behave as under a ``vmap`` that is differentiated."""

    def norm(z: Tensor, shape: Sequence[int], scale: Tensor, shift: Tensor) -> Tensor:
        return _ConstantStatistics.apply(z, scale, shift)

    with mock.patch.object(F, "layer_norm", norm):
        yield
