"""Is the difference more than chance? The permutation test. Chapter 06."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from tlcourse.arguments import whole
from tlcourse.shift.blocks import Gaussians, Sample, centred
from tlcourse.shift.inputs import Bandwidth, check_pair
from tlcourse.shift.mmd import resolve_bandwidth

Statistic = Callable[[Tensor, Tensor], Tensor | float]

_EXACT = 512  # pooled rows up to which equal splits are likely: use float64
_ROUNDING = 1e-6  # of the largest value: two splits this close count as equal


class PermutationTest(NamedTuple):
    """What a permutation test found.

    Args:
        statistic: of the samples as they came.
        p_value: in [1 / (B + 1), 1].
        null: ``(B,)`` float64: the statistic after each permutation.
    """

    statistic: float
    p_value: float
    null: Tensor


def permutation_test(
    x: Tensor,
    y: Tensor,
    statistic: Statistic | None = None,
    *,
    num_permutations: int = 1000,
    bandwidth: Bandwidth | None = None,
    seed: int = 0,
) -> PermutationTest:
    r"""Two-sample test: how often does a random split look as different as x and y?

    The pooled rows are shuffled B times; the first n take the place of x, the other
    m that of y. If both samples have one distribution, all splits are alike, and

    .. math:: p = \frac{1 + \#\{b : T_b \ge T\}}{B + 1}

    is at most :math:`\alpha` with probability at most :math:`\alpha`, for every n, m
    and B. Without the 1, p could be 0 and the test would reject too often (Phipson &
    Smyth, 2010). Chapter 06 asks you to write it.

    For MMD² the kernel matrix K is the same in all splits. With the columns of P
    marking the rows that play x, all sums within x are the diagonal of P' K P, and
    one matrix product serves all permutations. K is made block by block.

    Args:
        x: ``(n, d)`` float, n >= 2 for MMD².
        y: ``(m, d)`` float.
        statistic: ``f(x, y)`` gives a number, large if they differ; it is called
            B + 1 times. By default the unbiased MMD², all splits at once.
        num_permutations: B >= 1; p can be no smaller than 1 / (B + 1).
        bandwidth: for MMD² only, as in :func:`mmd2`; the default comes from the
            pooled rows and is the same in all splits.
        seed: of the permutations; the same on every device.

    Returns:
        Statistic, p-value and null distribution.

    Raises:
        ValueError: inputs do not fit, a bandwidth comes with another statistic, or
            the statistic is nan.
    """
    check_pair(x, y, 2 if statistic is None else 1)
    whole("num_permutations", num_permutations, 1)
    if statistic is not None and bandwidth is not None:
        raise ValueError(
            "bandwidth belongs to MMD² and is not used by your statistic; leave it "
            "out, or bind it: lambda a, b: mmd2(a, b, bandwidth)."
        )
    orders = _orders(len(x) + len(y), num_permutations, seed)
    with torch.no_grad():
        if statistic is None:
            values = _mmd2_of_splits(x, y, resolve_bandwidth(x, y, bandwidth), orders)
        else:
            values = _loop(x, y, statistic, orders)
    if bool(values.isnan().any()):  # no value is at least nan: p would be smallest
        raise ValueError(
            "the statistic is nan for x and y or for one of their permutations; give "
            "one that is defined for every split."
        )
    observed, null = values[0], values[1:]
    finite = values[values.isfinite()].abs().tolist()
    slack = _ROUNDING * max(finite, default=0.0)
    extreme = int((null >= observed - slack).sum())
    p_value = (extreme + 1) / (num_permutations + 1)
    return PermutationTest(float(observed), p_value, null)


def _orders(rows: int, num_permutations: int, seed: int) -> Iterator[Tensor]:
    """The order as it came, then the permutations."""
    generator = torch.Generator().manual_seed(seed)
    yield torch.arange(rows)
    for _ in range(num_permutations):
        yield torch.randperm(rows, generator=generator)


def _loop(
    x: Tensor, y: Tensor, statistic: Statistic, orders: Iterator[Tensor]
) -> Tensor:
    z, n = torch.cat([x, y]), len(x)
    values = []
    for order in orders:
        shuffled = z[order.to(z.device)]
        values.append(float(statistic(shuffled[:n], shuffled[n:])))
    return torch.tensor(values, dtype=torch.float64)


def _mmd2_of_splits(
    x: Tensor, y: Tensor, sigmas: list[float], orders: Iterator[Tensor]
) -> Tensor:
    """Unbiased MMD² of each split, ``(B + 1,)`` float64 on the CPU."""
    n, m, kernel = len(x), len(y), Gaussians(sigmas)
    if n + m <= _EXACT and x.device.type != "mps":
        x, y = x.double(), y.double()
    chosen = torch.stack([order[:n] for order in orders])  # (B + 1, n)
    with torch.autocast(x.device.type, enabled=False):
        z = torch.cat(centred(x, y, kernel))  # (n + m, d)
        is_x = torch.zeros(len(chosen), n + m).scatter_(1, chosen, 1)
        is_x = is_x.T.contiguous().to(z)  # (n + m, B + 1)
        within, reach, total = 0, 0, 0
        for rows, k in kernel.rows(Sample(z)):
            sums = k.sum(1)  # (b,)
            within = within + ((k @ is_x) * is_x[rows]).sum(0).cpu().double()
            reach = reach + (sums @ is_x[rows]).cpu().double()
            total = total + sums.sum().cpu().double()
    across = reach - within  # rows of x with rows of y
    within_y = total - reach - across
    return within / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * across / (n * m)
