"""How much a task minds a change of each weight: the diagonal of the Fisher matrix."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from tlcourse.evaluation import check_classes, eval_mode, inputs_of, labelled
from tlcourse.runtime import progress_bar


def fisher_diagonal(
    model: nn.Module,
    data: Any,
    labels: Literal["model", "data"] = "model",
    progress: bool = True,
) -> dict[str, Tensor]:
    r"""Mean squared per-sample gradient of the log-likelihood, for every weight.

    With ``labels="model"`` the diagonal of the Fisher matrix, labels drawn from the
    model; the expectation over the k classes is taken exactly:

    .. math:: F_j = \frac1n \sum_i \sum_c p_w(c \mid x_i)
        \Big(\frac{\partial \log p_w(c \mid x_i)}{\partial w_j}\Big)^2 .

    With ``labels="data"`` the *empirical* Fisher, the true label's term alone. It is
    cheaper by a factor k and another matrix (Kunstner et al., 2019): it nears 0
    where a model fits its training data perfectly. The square is taken per sample;
    the squared gradient of a batch mean would be neither. Chapter 04 derives it.

    One backward pass per sample, or per sample and class: some hundred samples are
    enough. The model runs in eval mode: BatchNorm uses its running statistics,
    dropout does nothing. Modes, gradients and buffers are as before afterwards.

    Args:
        model: maps ``(b, ...)`` to logits ``(b, k)``.
        data: source samples, a ``Dataset`` or a pair ``(x, y)``; for
            ``labels="model"`` also with sealed labels, or x alone.
        labels: see above.
        progress: show a bar on stdout when it takes longer than 2 s.

    Returns:
        Name to tensor ``>= 0`` of the parameter's shape, for each parameter that
        asks for a gradient: the ``fisher`` of ``losses.ewc_penalty``.

    Raises:
        ValueError: bad data or settings, no parameter asks for a gradient, or the
            model does not give logits.
    """
    if labels not in ("model", "data"):
        raise ValueError(f"labels must be 'model' or 'data', got {labels!r}.")
    x = inputs_of(data, "data")
    y = labelled(data, "data")[1] if labels == "data" else None
    params = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if not params:
        raise ValueError("no parameter has requires_grad=True; unfreeze(model) first.")
    if y is not None and y.is_floating_point():
        raise ValueError(f"labels must be classes (int64), got {y.dtype}.")
    total = {name: torch.zeros_like(p) for name, p in params.items()}
    device = next(iter(params.values())).device
    with eval_mode(model), progress_bar(len(x), "Fisher", "sample", progress) as bar:
        for i in range(len(x)):
            target = None if y is None else y[i : i + 1].to(device)
            _add_squares(total, params, model(x[i : i + 1].to(device)), target)
            bar.update()
    return {name: value / len(x) for name, value in total.items()}


def _add_squares(
    total: dict[str, Tensor],
    params: dict[str, Tensor],
    logits: Tensor,
    target: Tensor | None,
) -> None:
    """Add one sample's squared gradients: of its label's, or of every class's log p."""
    if logits.ndim != 2 or not logits.requires_grad:
        raise ValueError(
            f"the model must give logits (b, k) with a graph, got "
            f"{tuple(logits.shape)}; do not call it under torch.no_grad()."
        )
    log_p = logits.log_softmax(1)[0]  # (k,)
    if target is None:
        chances = enumerate(log_p.detach().exp())
    else:
        check_classes(logits, target)
        chances = enumerate([1.0], start=int(target))
    for c, chance in chances:
        found = torch.autograd.grad(
            log_p[c], list(params.values()), retain_graph=True, allow_unused=True
        )
        for name, g in zip(params, found, strict=True):
            if g is not None:  # the logits do not depend on this parameter
                total[name] += chance * g.square()
