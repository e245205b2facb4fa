"""Sums of Gaussian kernels over all pairs, block by block, with their gradients.

A block of rows is small enough to stay near the cache and is worked on in place:
one matrix product gives the exponents, one exp the widest kernel, and squaring it
the kernel of half the sigma squared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

# Beyond this |u|² in units of the narrowest sigma, float32 products lose the digits
# of close points: the exponent is then wrong by more than about 1e-4.
_FAR = 1e3
_TOO_FAR = 1e12  # the same for float64


def centred(x: Tensor, y: Tensor, kernel: Gaussians) -> tuple[Tensor, Tensor]:
    """Both samples around one centre, in units of the widest sigma.

    Float32, or float64 where the inputs are or where the samples lie far apart in
    units of the narrowest sigma.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    centre = (x.mean(0, dtype=dtype) + y.mean(0, dtype=dtype)) / 2  # (d,)
    u, v = ((z - centre).div_(kernel.widest) for z in (x, y))
    far = max(float(w.norm(dim=1).max()) for w in (u, v)) ** 2 * kernel.factors[-1]
    if far > _TOO_FAR:
        raise ValueError(
            f"x and y spread over {far**0.5:.1g} times the narrowest bandwidth, so far "
            "that the digits of close points are lost; look for outliers and scale the "
            "features, or give a larger bandwidth."
        )
    if far > _FAR and dtype != torch.float64 and x.device.type != "mps":
        u, v = ((z.double() - centre.double()) / kernel.widest for z in (x, y))
    return u, v


class Sample:
    """A scaled sample, laid out for the products, and the gradient it collects.

    Args:
        u: ``(n, d)`` scaled and centred.
        wants_gradient: collect it.
    """

    def __init__(self, u: Tensor, wants_gradient: bool = False) -> None:
        """Lay out the rows so that left @ right.T gives exponents -|u - v|² / 2."""
        n, d = u.shape
        half = u.norm(dim=1).square_() / 2  # (n,)
        self.left, self.right = u.new_ones(n, d + 2), u.new_ones(n, d + 2)
        self.left[:, :d], self.left[:, d + 1] = u, -half
        self.right[:, :d], self.right[:, d] = u, -half
        self.pulled = torch.zeros_like(self.left[:, :-1]) if wants_gradient else None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.left)

    def pull(self, rows: slice, slopes: Tensor, other: Tensor, weight: float) -> None:
        """Add weight times the sums over j of slopes times (v_j, 1)."""
        if self.pulled is not None:
            self.pulled[rows].addmm_(slopes, other[:, :-1], alpha=weight)

    def gradient(self, widest: float, dtype: torch.dtype) -> Tensor | None:
        """Gradient with respect to the unscaled rows."""
        if self.pulled is None:
            return None
        sums, total = self.pulled[:, :-1], self.pulled[:, -1:]
        return ((sums - total * self.left[:, :-2]) / widest).to(dtype)


class Gaussians:
    """The mean of Gaussian kernels, from wide to narrow.

    Args:
        sigmas: their widths, each > 0.
    """

    def __init__(self, sigmas: list[float]) -> None:
        """Sort the widths and find which kernel is the square of the one before."""
        self.widest = max(sigmas)
        self.factors = sorted((self.widest / s) ** 2 for s in sigmas)  # first: 1.0
        self._squares = [False] + [
            math.isclose(b, 2 * a, rel_tol=1e-6)
            for a, b in zip(self.factors, self.factors[1:], strict=False)
        ]

    def within(self, a: Sample, weight: float) -> float:
        """Sum of k over the pairs i != j of one sample; both orders count."""
        sums = []
        for rows, e in exponents(a, a, upper=True):
            size = rows.stop - rows.start
            e[:, :size].fill_diagonal_(-math.inf)  # k = 0, in every kernel
            rest = slice(rows.stop, len(a))
            for k in self._kernels(e, a.pulled is not None):
                sums += [2 * k.sum(), -k[:, :size].sum()]
            if a.pulled is not None:
                a.pull(rows, self._slopes, a.left[rows.start :], weight)
                a.pull(rest, self._slopes[:, size:].T, a.left[rows], weight)
        return self._mean(sums)

    def across(self, a: Sample, b: Sample, weight: float) -> float:
        """Sum of k over all pairs of two samples."""
        sums = []
        wanted = a.pulled is not None or b.pulled is not None
        for rows, e in exponents(a, b):
            sums += [k.sum() for k in self._kernels(e, wanted)]
            if wanted:
                a.pull(rows, self._slopes, b.left, weight)
                b.pull(slice(None), self._slopes.T, a.left[rows], weight)
        return self._mean(sums)

    def rows(self, a: Sample) -> Iterator[tuple[slice, Tensor]]:
        """Blocks of rows of the kernel matrix of one sample, with diagonal 0."""
        for rows, e in exponents(a, a):
            e[:, rows].fill_diagonal_(-math.inf)
            mean = torch.zeros_like(e)
            for k in self._kernels(e, False):
                mean.add_(k, alpha=1 / len(self.factors))
            yield rows, mean

    def _kernels(self, e: Tensor, slopes: bool) -> Iterator[Tensor]:
        """Each kernel in turn, in place; collects the slopes -dk / d(|u - v|² / 2)."""
        kept = None if all(self._squares[1:]) else e.clone()
        weights = [f / len(self.factors) for f in self.factors]
        for i, factor in enumerate(self.factors):
            if self._squares[i]:
                e.square_()
            elif i == 0:
                e.exp_()
            else:
                torch.mul(kept, factor, out=e).exp_()
            if slopes and i == 0:
                self._slopes = e * weights[0]
            elif slopes:
                self._slopes.add_(e, alpha=weights[i])
            yield e

    def _mean(self, sums: list[Tensor]) -> float:
        """The sum over blocks, in float64, and the mean over kernels."""
        return float(torch.stack(sums).cpu().double().sum()) / len(self.factors)


def exponents(
    a: Sample, b: Sample, upper: bool = False
) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of -|u - v|² / 2 <= 0, in one buffer; from the diagonal on if upper."""
    size = 256 if a.left.device.type == "cpu" else 4096
    buffer = a.left.new_empty(min(size, len(a)) * len(b))
    for start in range(0, len(a), size):
        rows = slice(start, min(start + size, len(a)))
        right = b.right[start if upper else 0 :]
        block = buffer[: (rows.stop - start) * len(right)]
        e = block.view(rows.stop - start, len(right))
        torch.mm(a.left[rows], right.T, out=e)
        yield rows, e.clamp_max_(0)
