"""MAML and first-order MAML: gradients of what adaptation achieves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from tlcourse.meta.inner_steps import (
    TaskLoss,
    graph_step,
    stacked_loss,
    steps_of_one_task,
)
from tlcourse.meta.task_inputs import (
    Batch,
    Params,
    adapted_names,
    check_inner,
    check_params,
    check_tasks,
)


def maml_grad(
    loss: TaskLoss,
    params: Mapping[str, Tensor],
    support: Batch,
    query: Batch,
    inner_lr: float,
    steps: int = 1,
    *,
    adapted: Sequence[str] | None = None,
    tasks: str = "vmap",
) -> tuple[Params, Tensor]:
    r"""Gradient of the query loss after adaptation, with its second-order terms.

    .. math::
        V(\theta) = \frac1T \sum_t L^{query}_t(\theta'_t), \qquad
        \theta'_t = \theta - \alpha \nabla L^{support}_t(\theta)

    and the same over several steps (Finn et al., 2017, section 2.2). For one step
    the chain rule gives, with :math:`H` the Hessian of the support loss,
    :math:`\nabla V = \frac1T\sum_t (I - \alpha H_t(\theta))\,
    \nabla L^{query}_t(\theta'_t)`.
    Chapter 11 derives it.

    Args:
        loss: ``loss(params, x, y)``, the mean loss of one task, a scalar;
            :func:`~tlcourse.meta.stateless.module_loss` makes one from a network.
        params: name to float tensor, the start :math:`\theta`; not changed.
        support: ``(x, y)`` to adapt on, ``(T, n, ...)`` each, one row per task.
        query: ``(x, y)`` to be good at after that, ``(T, m, ...)`` each.
        inner_lr: :math:`\alpha` > 0. On a quadratic loss the inner loop shrinks its
            error only where :math:`|1 - \alpha\lambda| < 1` for every eigenvalue of
            the Hessian.
        steps: inner gradient steps; 0 is joint training, without adaptation.
        adapted: names of the parameters that move in the inner loop (ANIL: those of
            the head, Raghu et al., 2020); the others still get a gradient. All by
            default.
        tasks: ``"vmap"``, ``"loop"`` or ``"batched"``, the same numbers in three
            ways; :mod:`tlcourse.meta.inner_loop` says which is for what.

    Returns:
        The gradient, detached, with the names and shapes of ``params``; and
        :math:`V(\theta)`, a 0-dimensional tensor.

    Raises:
        ValueError: bad settings, shapes, names, dtypes or devices.
    """
    names = _checked(params, support, query, inner_lr, steps, adapted, tasks)
    if tasks == "vmap":
        adapt = steps_of_one_task(loss, steps, inner_lr, names)

        def after(
            start: Params, sx: Tensor, sy: Tensor, qx: Tensor, qy: Tensor
        ) -> Tensor:
            return loss(adapt(start, sx, sy), qx, qy)

        return _over_tasks(grad_and_value(after), params, support, query)
    work = _batched if tasks == "batched" else _looped
    return work(loss, params, support, query, inner_lr, steps, names, True)


def fomaml_grad(
    loss: TaskLoss,
    params: Mapping[str, Tensor],
    support: Batch,
    query: Batch,
    inner_lr: float,
    steps: int = 1,
    *,
    adapted: Sequence[str] | None = None,
    tasks: str = "vmap",
) -> tuple[Params, Tensor]:
    r"""First-order MAML: the query gradient at the adapted parameters.

    :math:`\frac1T\sum_t \nabla L^{query}_t(\theta'_t)`: the Jacobian of the inner
    loop is taken as the identity (Finn et al., 2017, section 5.2). Not the gradient
    of any loss in general, but it costs no second derivative.

    Args:
        loss: see :func:`maml_grad`.
        params: the start.
        support: ``(x, y)`` to adapt on, ``(T, n, ...)`` each.
        query: ``(x, y)`` that is measured, ``(T, m, ...)`` each.
        inner_lr: step size, > 0.
        steps: inner steps, at least 0.
        adapted: names of the parameters that move; all by default.
        tasks: ``"vmap"``, ``"loop"`` or ``"batched"``.

    Returns:
        The first-order gradient, and the same value that :func:`maml_grad` returns.

    Raises:
        ValueError: bad settings, shapes, names, dtypes or devices.
    """
    names = _checked(params, support, query, inner_lr, steps, adapted, tasks)
    if tasks == "vmap":
        adapt = steps_of_one_task(loss, steps, inner_lr, names)

        def at_adapted(
            start: Params, sx: Tensor, sy: Tensor, qx: Tensor, qy: Tensor
        ) -> tuple[Params, Tensor]:
            return grad_and_value(loss)(adapt(start, sx, sy), qx, qy)

        return _over_tasks(at_adapted, params, support, query)
    work = _batched if tasks == "batched" else _looped
    return work(loss, params, support, query, inner_lr, steps, names, False)


def _checked(
    params: Mapping[str, Tensor],
    support: Batch,
    query: Batch,
    inner_lr: float,
    steps: int,
    adapted: Sequence[str] | None,
    tasks: str,
) -> tuple[str, ...]:
    check_params("params", params)
    check_inner(inner_lr, steps, tasks)
    check_tasks(support, query, params)
    return adapted_names(params, adapted)


def _over_tasks(
    one_task: Callable[..., tuple[Params, Tensor]],
    params: Mapping[str, Tensor],
    support: Batch,
    query: Batch,
) -> tuple[Params, Tensor]:
    """Means over tasks of a gradient and a value; ``vmap`` stays outside ``grad``."""
    start = {name: value.detach() for name, value in params.items()}
    run = vmap(one_task, in_dims=(None, 0, 0, 0, 0), randomness="different")
    grads, values = run(start, *support, *query)
    means = {name: g.mean(0).detach() for name, g in grads.items()}
    return means, values.mean().detach()


def _looped(
    loss: TaskLoss,
    params: Mapping[str, Tensor],
    support: Batch,
    query: Batch,
    inner_lr: float,
    steps: int,
    names: Sequence[str],
    second_order: bool,
) -> tuple[Params, Tensor]:
    """Task by task; each task's graph is freed before the next is made."""
    leaves = _leaves(params)
    sums = {name: torch.zeros_like(value) for name, value in leaves.items()}
    values = []
    for sx, sy, qx, qy in zip(*support, *query, strict=True):
        with torch.enable_grad():
            moved = leaves
            for _ in range(steps):
                value = loss(moved, sx, sy)
                moved = graph_step(value, moved, inner_lr, names, second_order)
            value = loss(moved, qx, qy)
        values.append(value.detach())
        for name, g in _gradient(value, leaves).items():
            sums[name] += g
    num_tasks = len(values)
    means = {name: total / num_tasks for name, total in sums.items()}
    return means, torch.stack(values).mean()


def _batched(
    loss: TaskLoss,
    params: Mapping[str, Tensor],
    support: Batch,
    query: Batch,
    inner_lr: float,
    steps: int,
    names: Sequence[str],
    second_order: bool,
) -> tuple[Params, Tensor]:
    """All tasks in one graph.

    The gradient of the *sum* of the task losses holds every task's own gradient,
    because no task's loss depends on another task's parameters.
    """
    stacked, leaves, num_tasks = stacked_loss(loss), _leaves(params), len(support[0])
    with torch.enable_grad():
        moved = {n: v.expand(num_tasks, *v.shape) for n, v in leaves.items()}
        for _ in range(steps):
            total = stacked(moved, *support).sum()
            moved = graph_step(total, moved, inner_lr, names, second_order)
        value = stacked(moved, *query).mean()
    return _gradient(value, leaves), value.detach()


def _leaves(params: Mapping[str, Tensor]) -> Params:
    return {name: v.detach().clone().requires_grad_() for name, v in params.items()}


def _gradient(value: Tensor, leaves: Params) -> Params:
    found = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, found, strict=True))
