"""Contrast of each embedding with all others of the batch. Chapter 09 derives both."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tlcourse.arguments import positive
from tlcourse.losses.sphere import check_rows, check_views, unit_rows

_BLOCK = 256  # rows of the similarity matrix that exist at one time


def nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    r"""Normalised temperature-scaled cross-entropy (Chen et al., 2020, eq. (1)).

    The 2n rows u of both views, scaled to length 1, are anchors in turn. Each must
    find its other view p(i) among the 2n - 1 other rows:

    .. math:: \frac{1}{2n} \sum_{i=1}^{2n} -\log
        \frac{\exp(u_i^\top u_{p(i)} / \tau)}{\sum_{k \ne i} \exp(u_i^\top u_k / \tau)}.

    Works in blocks of rows, in memory O(n) instead of O(n²), and computes the gradient
    in the same pass, by itself: a second derivative is refused. In float32 the error
    is about :math:`10^{-7}/\tau`. Equal to ``lightly``'s ``NTXentLoss`` without a
    memory bank, and to :func:`sup_con` where every class has two rows. Chapter 09 asks
    you to write it in plain form.

    Args:
        z1: ``(n, d)`` float, one view of each sample, n >= 2: a single pair has
            nothing to be told apart from.
        z2: ``(n, d)`` of the same dtype, the other view, row by row.
        temperature: tau > 0.

    Returns:
        Scalar tensor in nats, ``>= 0`` but for rounding; float32 or, for float64
        views, float64.

    Raises:
        ValueError: views that do not fit together, fewer than two pairs, a zero
            vector, a value that is not finite, or a temperature that is not positive.
    """
    check_views(z1, z2, least=2)
    positive("temperature", temperature)
    u = torch.cat([unit_rows("z1", z1), unit_rows("z2", z2)])  # (2n, d)
    n = len(z1)
    other = torch.arange(2 * n, device=u.device).roll(n)  # the row of the other view

    def positives(rows: slice) -> tuple[Tensor, Tensor]:
        return torch.arange(rows.stop - rows.start, device=u.device), other[rows]

    return _contrast(u, positives, torch.ones_like(other), temperature)


def sup_con(z: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Supervised contrastive loss (Khosla et al., 2020), the log outside the sum.

    With rows u of length 1 and the other rows of the anchor's class
    :math:`P(i) = \{p \ne i : y_p = y_i\}`, mean over the anchors that have any:

    .. math:: \frac{-1}{|P(i)|} \sum_{p \in P(i)} \log
        \frac{\exp(u_i^\top u_p / \tau)}{\sum_{k \ne i} \exp(u_i^\top u_k / \tau)}.

    This is their :math:`L_{out}`. Two views of a batch go in as
    ``sup_con(torch.cat([z1, z2]), torch.cat([y, y]))``. Equal to ``SupConLoss`` of
    ``pytorch-metric-learning``, which returns 0 where this one refuses; the authors'
    code multiplies by tau / 0.07. Blocks of rows and the second derivative are as in
    :func:`nt_xent`. Chapter 09 asks you to write it in plain form.

    Args:
        z: ``(n, d)`` float embeddings.
        labels: ``(n,)`` int64 classes, at least two, one of them with two rows.
        temperature: tau > 0.

    Returns:
        Scalar tensor in nats, ``>= 0`` but for rounding; float32 or, for float64
        rows, float64.

    Raises:
        ValueError: shapes or dtypes do not fit, no anchor has a positive, all rows
            are of one class, a zero vector, a value that is not finite, or a
            temperature that is not positive.
    """
    check_rows("z", z)
    positive("temperature", temperature)
    _check_labels(labels, z)
    u = unit_rows("z", z)
    _, classes, counts = labels.unique(return_inverse=True, return_counts=True)

    def positives(rows: slice) -> tuple[Tensor, Tensor]:
        same = labels[rows, None] == labels  # (b, n)
        same[:, rows].fill_diagonal_(False)
        return same.nonzero(as_tuple=True)

    return _contrast(u, positives, counts[classes] - 1, temperature)


def _check_labels(labels: Tensor, z: Tensor) -> None:
    good = isinstance(labels, Tensor) and labels.dtype == torch.int64
    if not good or labels.shape != z.shape[:1]:
        got = type(labels).__name__
        if isinstance(labels, Tensor):
            got = f"{tuple(labels.shape)} of {labels.dtype}"
        raise ValueError(
            f"labels must be an int64 tensor of shape ({len(z)},), got {got}; one "
            "class per row of z."
        )
    if labels.device != z.device:
        raise ValueError(
            f"labels lie on {labels.device} and z on {z.device}; use "
            "labels.to(z.device)."
        )
    counts = labels.unique(return_counts=True)[1]
    if len(counts) < 2:
        raise ValueError(
            f"labels hold one class only ({len(z)} rows): nothing to tell apart; draw "
            "batches with several classes."
        )
    if int(counts.max()) < 2:
        raise ValueError(
            "labels give no row a positive: all classes differ; put two views of each "
            "sample, or several samples of a class, into the batch."
        )


Positives = Callable[[slice], tuple[Tensor, Tensor]]


def _contrast(
    u: Tensor, positives: Positives, counts: Tensor, temperature: float
) -> Tensor:
    """The loss of all anchors that have positives.

    Args:
        u: ``(n, d)`` rows of length 1.
        positives: gives (anchor within the block, row) of all positive pairs whose
            anchor is in a block of rows.
        counts: ``(n,)`` how many positives each anchor has.
        temperature: tau.
    """
    if torch.is_grad_enabled() and u.requires_grad:
        return _Contrast.apply(u, positives, counts, temperature)
    return _one_pass(u, positives, counts, temperature, wanted=False)[0]


class _Contrast(torch.autograd.Function):
    """The loss whose gradient is computed along with its value."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        u: Tensor,
        positives: Positives,
        counts: Tensor,
        temperature: float,
    ) -> Tensor:
        value, gradient = _one_pass(u, positives, counts, temperature, wanted=True)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():  # else a second derivative would be 0 in silence
            raise RuntimeError(
                "nt_xent and sup_con compute their gradient by themselves and have no "
                "second derivative; leave out create_graph=True, or write the loss "
                "with plain operations."
            )
        return grad * ctx.saved_tensors[0], None, None, None


def _one_pass(
    u: Tensor, positives: Positives, counts: Tensor, temperature: float, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """The value and, if wanted, its gradient ``(n, d)``, in blocks of rows.

    With the softmax P of a block of anchors and the shares Y of their positives, the
    slopes P - Y go times u to the anchors, and their transpose times the anchors to
    all rows, both divided by tau. P - Y is taken before the products: where the batch
    is solved, both are nearly equal.
    """
    with torch.no_grad(), torch.autocast(u.device.type, enabled=False):
        gradient = torch.zeros_like(u) if wanted else None
        buffer = u.new_empty(min(_BLOCK, len(u)), len(u))
        weights = (counts > 0).to(u.dtype) / (counts > 0).sum()  # (n,)
        shares = weights / counts.clamp_min(1)  # of one positive
        total = []
        for start in range(0, len(u), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(u)))
            anchors, weight = u[rows] / temperature, weights[rows]
            s = torch.mm(anchors, u.T, out=buffer[: len(anchors)])  # (b, n)
            s[:, rows].fill_diagonal_(-math.inf)
            s.sub_(s.amax(1, keepdim=True))
            pairs = positives(rows)
            share = shares[rows][pairs[0]]  # (pairs,)
            close = (share * s[pairs]).sum()
            sums = s.exp_().sum(1)  # (b,)
            total.append((weight * sums.log()).sum() - close)
            if gradient is not None:
                s.mul_((weight / sums)[:, None])
                s[pairs] -= share
                gradient[rows].addmm_(s, u, alpha=1 / temperature)
                gradient.addmm_(s.T, anchors)
        return torch.stack(total).sum(), gradient
