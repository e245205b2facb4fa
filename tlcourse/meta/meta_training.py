"""The outer loop: train a start from which tasks are learned in a few steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tlcourse import arguments
from tlcourse.meta.inner_loop import adapt_params
from tlcourse.meta.inner_steps import TaskLoss, task_losses
from tlcourse.meta.maml import fomaml_grad, maml_grad
from tlcourse.meta.reptile import reptile_update
from tlcourse.meta.task_inputs import Batch, Params, check_params
from tlcourse.runtime import progress_bar

Sample = Callable[[torch.Generator], tuple[Batch, Batch]]
METHODS = ("maml", "fomaml", "reptile")


class MetaHistory(NamedTuple):
    """What :func:`meta_train` made.

    Attributes:
        params: the trained start, detached.
        values: per iteration the query loss after adaptation, mean over its tasks,
            before that iteration's outer step; for Reptile the support-and-query
            loss at the ends.
    """

    params: Params
    values: list[float]


def meta_train(
    loss: TaskLoss,
    params: Mapping[str, Tensor],
    sample: Sample,
    *,
    iterations: int,
    method: str = "maml",
    inner_lr: float = 0.01,
    steps: int = 1,
    outer_lr: float = 1e-3,
    adapted: Sequence[str] | None = None,
    tasks: str = "vmap",
    seed: int = 0,
    progress: bool = True,
) -> MetaHistory:
    r"""Train the start of an inner loop by fresh tasks.

    MAML and first-order MAML: one Adam step per batch of tasks on the gradient of
    :func:`~tlcourse.meta.maml.maml_grad` (Finn et al., 2017). Reptile: each task
    learns on its support and query together, then
    :func:`~tlcourse.meta.reptile.reptile_update` with the step ``outer_lr`` times
    :math:`1 - i/\text{iterations}` (Nichol et al., 2018).

    Args:
        loss: ``loss(params, x, y)`` of one task, as in ``maml_grad``.
        params: where the outer loop starts; not changed.
        sample: ``sample(generator)`` draws ``(support, query)``; everything random
            must come from the CPU generator that it is given.
        iterations: outer steps, each on one fresh batch of tasks.
        method: ``"maml"``, ``"fomaml"`` or ``"reptile"``.
        inner_lr: step size of the inner loop.
        steps: inner steps; Reptile needs at least 2.
        outer_lr: Adam's rate, or Reptile's first step in (0, 1].
        adapted: names that move in the inner loop (ANIL); all by default.
        tasks: ``"vmap"``, ``"loop"`` or ``"batched"``.
        seed: decides the tasks; nothing global is read or changed.
        progress: show a bar on stdout when the run takes longer than 2 s.

    Raises:
        ValueError: bad settings, or a loss that is no longer finite.
    """
    check_params("params", params)
    arguments.whole("iterations", iterations, 1)
    _check_method(method, steps, outer_lr)
    generator = torch.Generator().manual_seed(seed)
    start = {name: value.detach().clone() for name, value in params.items()}
    options = {"adapted": adapted, "tasks": tasks}
    gradient = maml_grad if method == "maml" else fomaml_grad
    adam = None
    if method != "reptile":
        adam = torch.optim.Adam(start.values(), lr=outer_lr)
    values: list[Tensor] = []
    with progress_bar(iterations, "meta-training", "step", progress) as bar:
        for i in range(iterations):
            support, query = sample(generator)
            if adam is None:
                both = _joined(support, query)
                ends = adapt_params(loss, start, both, inner_lr, steps, **options)
                value = task_losses(loss, ends, both, tasks).mean()
                start = reptile_update(start, ends, outer_lr * (1 - i / iterations))
            else:
                grads, value = gradient(
                    loss, start, support, query, inner_lr, steps, **options
                )
                for name, tensor in start.items():
                    tensor.grad = grads[name]
                adam.step()
            values.append(value)
            if i % 100 == 99 or i == iterations - 1:
                _refuse_divergence(values[-100:], i)
            bar.update()
    done = {name: value.detach() for name, value in start.items()}
    return MetaHistory(done, torch.stack(values).tolist())


def _check_method(method: str, steps: int, outer_lr: float) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}.")
    arguments.positive("outer_lr", outer_lr)
    if method == "reptile" and (steps < 2 or outer_lr > 1):
        raise ValueError(
            "reptile needs steps >= 2 (with one it is plain joint training) and "
            f"outer_lr in (0, 1], got {steps} and {outer_lr}."
        )


def _joined(support: Batch, query: Batch) -> Batch:
    """Support and query of every task as one set."""
    x, y = (torch.cat(pair, 1) for pair in zip(support, query, strict=True))
    return x, y


def _refuse_divergence(values: list[Tensor], iteration: int) -> None:
    if not bool(torch.stack(values).isfinite().all()):
        raise ValueError(
            f"the loss was not finite around step {iteration}; use a smaller inner_lr "
            "or outer_lr, or fewer steps."
        )
