"""The exact median of all pairwise distances, without holding all of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tlcourse.shift.blocks import Sample, exponents

_ALL = 2**18  # up to so many pairs, look at all of them
_DRAWN = 2**14  # pairs that say roughly where the median lies
_CHUNK = 2**10


def median_squared(z: Tensor) -> float:
    """Median of the squared distances of the pairs i < j of ``(n, d)`` rows.

    The lower of the two middle values if the number of pairs is even. A random
    sample of pairs brackets the median; one pass over all pairs then counts those
    below the bracket and keeps those inside it, among which the median is found.
    The result does not depend on the sample.
    """
    pairs = len(z) * (len(z) - 1) // 2
    if pairs == 0:
        return 0.0
    rank = pairs - 1 - (pairs - 1) // 2  # among -d²/2, ascending
    bounds = (-math.inf, 0.0)
    if pairs > _ALL:
        bounds = _bracket(z, rank / pairs)
    below, inside = _count_and_keep(z, *bounds)
    if not 0 <= rank - below < len(inside):  # an unlucky sample: keep them all
        below, inside = _count_and_keep(z, -math.inf, 0.0)
    return -2 * float(inside.cpu().kthvalue(rank - below + 1).values)


def _bracket(z: Tensor, share: float) -> tuple[float, float]:
    """Values of -d²/2 between which the quantile lies, but for one case in 10⁶."""
    generator = torch.Generator().manual_seed(0)
    i = torch.randint(len(z), (_DRAWN,), generator=generator)
    j = torch.randint(1, len(z), (_DRAWN,), generator=generator)
    j = (i + j) % len(z)  # any other row
    i, j = i.to(z.device), j.to(z.device)
    chunks = zip(i.split(_CHUNK), j.split(_CHUNK), strict=True)
    drawn = torch.cat([(z[a] - z[b]).square_().sum(1) for a, b in chunks]) / -2
    drawn = drawn.sort().values
    middle, spread = share * _DRAWN, 2.5 * _DRAWN**0.5  # 5 standard errors
    return float(drawn[int(middle - spread)]), float(drawn[int(middle + spread)])


def _count_and_keep(z: Tensor, low: float, high: float) -> tuple[int, Tensor]:
    """How many -d²/2 of the pairs i < j are below ``low``; those in [low, high]."""
    sample, below, inside = Sample(z), 0, []
    for rows, e in exponents(sample, sample, upper=True):
        square = e[:, : rows.stop - rows.start]
        square.masked_fill_(torch.ones_like(square, dtype=torch.bool).tril_(), 1)
        below += int((e < low).sum())
        inside.append(e[(e >= low) & (e <= high)])
    return below, torch.cat(inside)
