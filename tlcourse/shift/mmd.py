"""Maximum mean discrepancy, quadratic form. Chapter 06 derives it."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse.shift.blocks import Gaussians, Sample, centred
from tlcourse.shift.inputs import Bandwidth, as_bandwidths, check_pair
from tlcourse.shift.kernels import median_heuristic

LADDER = (0.25, 0.5, 1.0, 2.0, 4.0)  # factors on sigma squared


def mmd2(
    x: Tensor, y: Tensor, bandwidth: Bandwidth | None = None, unbiased: bool = True
) -> Tensor:
    r"""Squared maximum mean discrepancy (Gretton et al., 2012, lemma 6).

    .. math:: \frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j)
        + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j)
        - \frac{2}{nm} \sum_{i, j} k(x_i, y_j)

    with :math:`k(x, y) = \exp(-\|x - y\|_2^2 / (2 \sigma^2))`, or the mean of
    several such kernels. The unbiased form may be negative: around 0 it must be. The
    biased form counts the pairs of a sample with itself (divided by n² and m²) and
    is never negative, but not 0 on average for samples of one distribution.

    Works in blocks of rows, in memory O(n d), and computes the gradient in the same
    pass, by itself: a second derivative is refused. Chapter 06 derives the formula,
    asks you to write it, and shows what each step of the fast form buys.

    Args:
        x: ``(n, d)`` float, n >= 2 (1 if biased).
        y: ``(m, d)`` float, of the same dtype and on the same device.
        bandwidth: sigma > 0, or several; the mean is taken over their kernels. By
            default five: the squared median distance (:func:`median_heuristic`)
            times 1/4, 1/2, 1, 2, 4. No gradient flows through it.
        unbiased: leave out the pairs of a sample with itself.

    Returns:
        Scalar tensor, float32 or, for float64 samples, float64.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, too few rows, a number is
            not finite, a bandwidth is not > 0, or without one the median is 0.
    """
    check_pair(x, y, 2 if unbiased else 1)
    sigmas = resolve_bandwidth(x, y, bandwidth)
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        return _Mmd2.apply(x, y, sigmas, unbiased)
    return _one_pass(x, y, sigmas, unbiased, (False, False))[0]


def resolve_bandwidth(x: Tensor, y: Tensor, bandwidth: Bandwidth | None) -> list[float]:
    """The sigmas to use: those given, or five around the median distance."""
    if bandwidth is not None:
        return as_bandwidths(bandwidth)
    sigma = float(median_heuristic(x, y))
    return [sigma * factor**0.5 for factor in LADDER]


class _Mmd2(torch.autograd.Function):
    """MMD² whose gradient is computed along with its value."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,
        y: Tensor,
        sigmas: list[float],
        unbiased: bool,
    ) -> Tensor:
        value, *grads = _one_pass(x, y, sigmas, unbiased, ctx.needs_input_grad[:2])
        ctx.save_for_backward(*grads)
        return value

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # else a second derivative would be 0 in silence
            raise RuntimeError(
                "mmd2 computes its gradient by itself and has no second derivative; "
                "leave out create_graph=True, or write MMD with plain operations."
            )
        return (
            *(None if g is None else (grad * g).to(g) for g in ctx.saved_tensors),
            None,
            None,
        )


def _one_pass(
    x: Tensor,
    y: Tensor,
    sigmas: list[float],
    unbiased: bool,
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The value, and the gradients that are wanted."""
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        kernel = Gaussians(sigmas)
        u, v = centred(x, y, kernel)
        a, b = Sample(u, wanted[0]), Sample(v, wanted[1])
        n, m, own = len(x), len(y), 0 if unbiased else 1
        of_x, of_y, across = 1 / (n * (n - 1 + own)), 1 / (m * (m - 1 + own)), 1 / n / m
        total = (
            of_x * (kernel.within(a, 2 * of_x) + own * n)
            + of_y * (kernel.within(b, 2 * of_y) + own * m)
            - 2 * across * kernel.across(a, b, -2 * across)
        )
        dtype = torch.promote_types(x.dtype, torch.float32)
        value = torch.tensor(total, dtype=dtype, device=x.device)
        return value, *(s.gradient(kernel.widest, z.dtype) for s, z in ((a, x), (b, y)))
