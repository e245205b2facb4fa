"""How many directions an embedding uses: its singular values and effective rank."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_rank(z: Tensor, centred: bool = False) -> float:
    r"""Effective number of dimensions that the rows of z use (Roy and Vetterli, 2007).

    .. math:: \exp\Big(-\sum_k p_k \log p_k\Big), \qquad
        p_k = \frac{\sigma_k}{\sum_l \sigma_l}

    with the singular values :math:`\sigma_k` of z. 1 if all rows lie on one line (a
    collapsed embedding), d if all directions weigh the same. Garrido et al. (2023)
    call it RankMe, there with a small constant added to every p, and judge pretraining
    by it without labels.

    Args:
        z: ``(n, d)`` float, n >= 2; at least as many rows as columns tell more.
        centred: subtract the mean row first, so that a common offset (that of features
            behind a ReLU, say) does not count as a direction.

    Returns:
        A number in ``[1, min(n, d)]``.

    Raises:
        ValueError: wrong shape or dtype, fewer than two rows, a value that is not
            finite, or all zeros (all rows equal, if centred).
    """
    values = singular_spectrum(z, centred)
    p = values / values.sum()
    return float(torch.special.entr(p).sum().exp())


def singular_spectrum(z: Tensor, centred: bool = False) -> Tensor:
    r"""Singular values of z, largest first.

    Their squares, divided by n - 1, are the variances along the principal axes if
    ``centred``. A cliff in them is dimensional collapse (Jing et al., 2022).

    Args:
        z: ``(n, d)`` float, n >= 2.
        centred: subtract the mean row first.

    Returns:
        ``(min(n, d),)`` float64, on the CPU, all >= 0, at least one > 0.

    Raises:
        ValueError: as :func:`effective_rank`.
    """
    if not isinstance(z, Tensor) or z.ndim != 2 or not z.is_floating_point():
        got = f"{tuple(z.shape)} of {z.dtype}" if isinstance(z, Tensor) else type(z)
        raise ValueError(f"z must be a float tensor of shape (n, d), got {got}.")
    if len(z) < 2 or z.shape[1] == 0:
        raise ValueError(
            f"z must have at least two rows and one column, got {tuple(z.shape)}."
        )
    wide = z.detach().cpu().double()
    if not bool(wide.isfinite().all()):
        raise ValueError("z holds nan or inf; find the rows with ~z.isfinite().all(1).")
    if bool((wide[0] == wide).all()) and (centred or not bool(wide.any())):
        raise ValueError(
            "z has no direction: all rows are equal"
            f"{' and centred' if centred else ' and zero'}. The embedding collapsed "
            "to a point; look at centred=False, or at the loss."
        )
    if centred:
        wide = wide - wide.mean(0)
    return torch.linalg.svdvals(wide)
