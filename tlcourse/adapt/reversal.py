"""Gradient reversal and its schedule, the heart of adversarial training."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tlcourse.arguments import fraction, positive


class GradReverse(torch.autograd.Function):
    r"""Identity forward, :math:`-\lambda` times the gradient backward.

    :math:`R_\lambda(z)=z,\ \partial R_\lambda/\partial z=-\lambda I` (Ganin et al.,
    "Domain-Adversarial Training of Neural Networks", JMLR 2016). A
    discriminator behind it learns to tell the domains apart; the features before
    it learn the opposite, in one backward pass. Use :func:`grad_reverse`; chapter
    07 builds it.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, strength: float) -> Tensor:
        """Remember the strength, give z as it is."""
        ctx.strength = strength
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Turn the gradient round."""
        return -ctx.strength * grad, None


def grad_reverse(z: Tensor, strength: float = 1.0) -> Tensor:
    r""":class:`GradReverse` as a function: ``z`` forward, :math:`-\lambda g` backward.

    Args:
        z: any floating tensor.
        strength: :math:`\lambda\ge0`.

    Raises:
        ValueError: a strength that is negative (that would undo the reversal) or not
            a finite number, or whole-number features, which have no gradient.
    """
    positive("strength", strength, zero=True)
    if not z.is_floating_point():
        raise ValueError(f"z must be floating, got {z.dtype}; it has no gradient.")
    return GradReverse.apply(z, strength)


def dann_lambda(progress: float, slope: float = 10.0) -> float:
    r"""The weight of the reversed gradient: :math:`\frac{2}{1+e^{-\gamma p}}-1`.

    It rises from 0 to nearly 1, so that the first, noisy discriminators do not spoil
    the features (Ganin et al., 2016, with :math:`\gamma=10`).

    Args:
        progress: p, the share of the training that is done, in [0, 1].
        slope: :math:`\gamma>0`.

    Raises:
        ValueError: progress outside [0, 1] (a step number?), or a slope <= 0.
    """
    fraction("progress", progress)
    positive("slope", slope)
    return math.tanh(slope * progress / 2)  # the same, without overflow
