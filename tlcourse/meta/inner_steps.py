"""Pieces of the inner loop: one step, by torch.func or by plain autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import grad, vmap

from tlcourse.meta.task_inputs import Batch, Params

TaskLoss = Callable[[Params, Tensor, Tensor], Tensor]


def steps_of_one_task(
    loss: TaskLoss, steps: int, inner_lr: float, names: Sequence[str]
) -> Callable[[Params, Tensor, Tensor], Params]:
    """The inner loop as a function of ``(params, x, y)``, to be differentiated."""

    def adapt(params: Params, x: Tensor, y: Tensor) -> Params:
        for _ in range(steps):
            params = sgd_step(loss, params, x, y, inner_lr, names)
        return params

    return adapt


def graph_step(
    value: Tensor, params: Params, inner_lr: float, names: Sequence[str], keep: bool
) -> Params:
    """One step by plain autograd; ``keep`` lets a gradient flow through it.

    Args:
        value: the loss, made from ``params``.
        params: tensors that carry a graph.
        inner_lr: step size.
        names: which of them move.
        keep: False cuts the second-order terms off: the gradient is a constant.
    """
    moving = [params[name] for name in names]
    grads = torch.autograd.grad(
        value, moving, create_graph=keep, materialize_grads=True
    )
    moved = {
        name: param - inner_lr * g
        for name, param, g in zip(names, moving, grads, strict=True)
    }
    return {**params, **moved}


def task_losses(loss: TaskLoss, stacked: Params, batch: Batch, tasks: str) -> Tensor:
    """Loss ``(T,)`` of every task under its own parameters ``(T, ...)``."""
    if tasks == "batched":
        return stacked_loss(loss)(stacked, *batch)
    if tasks == "vmap":
        return vmap(loss, randomness="different")(stacked, *batch)
    return torch.stack(
        [
            loss({name: value[t] for name, value in stacked.items()}, x, y)
            for t, (x, y) in enumerate(zip(*batch, strict=True))
        ]
    )


def stacked_loss(loss: TaskLoss) -> TaskLoss:
    """The loss's way of computing all tasks at once.

    Raises:
        ValueError: it has none.
    """
    found = getattr(loss, "stacked", None)
    if found is None:
        raise ValueError(
            'tasks="batched" needs a loss with a method stacked(params, x, y) that '
            "takes parameters (T, ...) and returns (T,); module_loss makes one for a "
            'perceptron. Use tasks="vmap" or tasks="loop" otherwise.'
        )
    return found


def sgd_step(
    loss: TaskLoss,
    params: Params,
    x: Tensor,
    y: Tensor,
    inner_lr: float,
    names: Sequence[str],
) -> Params:
    """One step of one task by ``torch.func``, which can be differentiated again.

    Raises:
        ValueError: the loss is not a scalar.
    """

    def of_moving(moving: Params) -> Tensor:
        value = loss({**params, **moving}, x, y)
        if not isinstance(value, Tensor) or value.ndim != 0:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value)
            raise ValueError(
                f"loss must return a scalar, the mean of one task, got {shape}; use "
                "reduction='mean'."
            )
        return value

    grads = grad(of_moving)({name: params[name] for name in names})
    moved = {name: params[name] - inner_lr * grads[name] for name in names}
    return {**params, **moved}
