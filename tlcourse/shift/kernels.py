"""The Gaussian kernel and the usual choice of its width. Chapter 06 derives them."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse.shift.inputs import Bandwidth, as_bandwidths, check_pair
from tlcourse.shift.medians import median_squared

# Parts of the largest squared norm below which a product form in float32 keeps too
# few digits, and one in float64.
_LOST, _NOISE = 1e-2, 1e-10


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances, ``(n, m)``, from differences.

    By default cdist takes |x|² + |y|² - 2 x·y above 25 rows, which is faster and
    loses the digits of close points that lie far from the origin.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    mode = "donot_use_mm_for_euclid_dist"
    return torch.cdist(x.to(dtype), y.to(dtype), compute_mode=mode).to(x.dtype)


def rbf_kernel(x: Tensor, y: Tensor, bandwidth: Bandwidth) -> Tensor:
    r"""Gaussian kernel of all pairs, the mean over the bandwidths given.

    .. math:: k(x, y) = \frac1K \sum_{j=1}^{K}
        \exp\left(-\frac{\|x - y\|_2^2}{2 \sigma_j^2}\right)

    Chapter 06 asks you to write it.

    Args:
        x: ``(n, d)`` float.
        y: ``(m, d)`` float, of the same dtype and on the same device.
        bandwidth: sigma > 0, in units of ``x``, or a sequence of sigmas.

    Returns:
        ``(n, m)`` in [0, 1], of the dtype of ``x``; gradients flow to both samples.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, a number is not finite, or
            a bandwidth is not > 0.
    """
    check_pair(x, y)
    sigmas = as_bandwidths(bandwidth)
    squared = euclidean(x, y).square()
    parts = [(squared / (-2 * sigma**2)).exp() for sigma in sigmas]
    return torch.stack(parts).mean(0) if len(parts) > 1 else parts[0]


def median_heuristic(x: Tensor, y: Tensor) -> Tensor:
    r"""Median distance between two different samples of the pooled set.

    .. math:: \sigma = \operatorname{median}_{i < j} \|z_i - z_j\|_2,
        \qquad z = (x_1, \dots, x_n, y_1, \dots, y_m)

    Pairs within x, within y and across all count, a sample with itself does not.
    With an even number of pairs it is the lower of the two middle values, as in
    ``torch.median``. A habit, not a theorem (Gretton et al., 2012, section 8):
    chapter 06 shows when it fails.

    Args:
        x: ``(n, d)`` float.
        y: ``(m, d)`` float, of the same dtype and on the same device.

    Returns:
        Scalar tensor > 0 without a gradient, of the dtype of ``x``.

    Raises:
        ValueError: inputs do not fit, or the median is 0: the data are constant, or
            more than half of the pairs coincide.
    """
    check_pair(x, y)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        pooled = torch.cat([x, y])
        z = pooled.to(torch.promote_types(x.dtype, torch.float32))
        z = z - z.mean(0)
        squared, far = median_squared(z), float(z.norm(dim=1).max()) ** 2
        # The product form loses the digits of pairs that are close in far clusters.
        if squared < _LOST * far:
            pooled = pooled.cpu().double()  # not every device has float64
            squared = median_squared(pooled - pooled.mean(0))
        if squared < _NOISE * far:
            squared = float(torch.pdist(pooled).median()) ** 2  # slow, and exact
    if not squared > 0:
        raise ValueError(
            "the median distance of x and y is 0: half of all pairs or more coincide, "
            "so that it says nothing about a width. Drop duplicates, check that the "
            "features vary, or give a bandwidth."
        )
    return torch.tensor(squared**0.5, dtype=x.dtype, device=x.device)
