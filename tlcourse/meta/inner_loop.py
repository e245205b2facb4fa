r"""The inner loop of MAML: a few gradient steps per task, run in three ways.

All of them compute the same numbers:

``"vmap"``
    ``torch.func``: the function of one task is differentiated first and batched over
    the tasks last. The other order, ``grad(vmap(...))``, gives a wrong second-order
    gradient without a warning as soon as the affine weights of a BatchNorm,
    LayerNorm or InstanceNorm move in the inner loop: the batch rule of the norm's
    backward takes the saved mean and deviation as constants. A ``loss`` that calls
    ``vmap`` over such a norm itself walks into the same trap. Chapter 11 shows it.
``"loop"``
    Task by task, by ``torch.autograd.grad(..., create_graph=True)``: the reference,
    and the right choice for convolutions on a CPU. There ``vmap`` makes one grouped
    convolution of all the tasks' filters, which is no faster, and it holds the graphs
    of all tasks at once, where the loop holds one.
``"batched"``
    One graph for all tasks on stacked parameters ``(T, ...)``. The loss needs a
    method ``stacked(params, x, y)`` that returns ``(T,)``;
    :func:`~tlcourse.meta.stateless.module_loss` writes it for perceptrons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.func import vmap

from tlcourse.meta.inner_steps import (
    TaskLoss,
    graph_step,
    sgd_step,
    steps_of_one_task,
    task_losses,
)
from tlcourse.meta.task_inputs import (
    Batch,
    Params,
    adapted_names,
    check_batch,
    check_inner,
    check_params,
    check_tasks,
)


def inner_step(
    loss: TaskLoss,
    params: Mapping[str, Tensor],
    x: Tensor,
    y: Tensor,
    inner_lr: float,
    *,
    adapted: Sequence[str] | None = None,
) -> Params:
    r"""One gradient step of one task: :math:`\theta - \alpha\nabla L(\theta)`.

    The inner update of Finn et al. (2017, section 2.2). The step can be
    differentiated: a gradient of anything made from the result flows through
    :math:`\nabla L`, too.

    Args:
        loss: ``loss(params, x, y)``, the mean loss of one task, a scalar.
        params: name to float tensor; not changed.
        x: the task's inputs ``(n, ...)``.
        y: its labels ``(n, ...)``.
        inner_lr: :math:`\alpha`, a number > 0.
        adapted: names of the parameters that move; all of them by default.

    Returns:
        A new dict with the same names.

    Raises:
        ValueError: bad settings, or a loss that is not a scalar.
    """
    check_params("params", params)
    check_inner(inner_lr, 1, "vmap")
    names = adapted_names(params, adapted)
    return sgd_step(loss, dict(params), x, y, inner_lr, names)


def adapt_params(
    loss: TaskLoss,
    params: Mapping[str, Tensor],
    support: Batch,
    inner_lr: float,
    steps: int = 1,
    *,
    adapted: Sequence[str] | None = None,
    tasks: str = "vmap",
) -> Params:
    """Adapt to every task on its support set; without an outer gradient.

    Args:
        loss: see :func:`inner_step`.
        params: the common start.
        support: ``(x, y)``, ``(T, n, ...)`` each.
        inner_lr: step size, > 0.
        steps: gradient steps, at least 0.
        adapted: names of the parameters that move; all by default.
        tasks: how the tasks are run, see the top of this module.

    Returns:
        Every name with a leading task dimension ``(T, ...)``, also those that did
        not move.

    Raises:
        ValueError: bad settings or tasks.
    """
    check_params("params", params)
    check_inner(inner_lr, steps, tasks)
    check_batch("support", support, params)
    moves = _path(loss, params, support, inner_lr, steps, adapted, tasks)
    return list(moves)[-1]


def adaptation_curve(
    loss: TaskLoss,
    params: Mapping[str, Tensor],
    support: Batch,
    query: Batch,
    inner_lr: float,
    steps: int = 10,
    *,
    adapted: Sequence[str] | None = None,
    tasks: str = "vmap",
) -> Tensor:
    """Query loss of every task before and after each step, ``(steps + 1, T)``.

    Means over tasks hide a few that diverge: look at medians and quantiles, too.

    Args:
        loss: see :func:`inner_step`.
        params: the common start.
        support: what the steps see, ``(x, y)`` with ``(T, n, ...)`` each.
        query: what is measured, ``(x, y)`` with ``(T, m, ...)`` each.
        inner_lr: step size, > 0.
        steps: the largest number of steps, at least 0.
        adapted: names of the parameters that move; all by default.
        tasks: how the tasks are run, see the top of this module.

    Raises:
        ValueError: bad settings or tasks.
    """
    check_params("params", params)
    check_inner(inner_lr, steps, tasks)
    check_tasks(support, query, params)
    measured = [
        task_losses(loss, moved, query, tasks)
        for moved in _path(loss, params, support, inner_lr, steps, adapted, tasks)
    ]
    return torch.stack(measured)


def anil_params(params: Mapping[str, Tensor], head: str = "head") -> tuple[str, ...]:
    """Names of the parameters of one part, for ``adapted=`` (Raghu et al., 2020).

    ANIL ("almost no inner loop") moves only the last layer in the inner loop.

    Args:
        params: name to tensor, names as in ``model.named_parameters()``.
        head: the part's name; ``"head"`` finds ``head.weight`` but not ``header.w``.

    Raises:
        ValueError: no parameter belongs to that part.
    """
    names = tuple(n for n in params if n == head or n.startswith(f"{head}."))
    if not names:
        parts = dict.fromkeys(name.rpartition(".")[0] or name for name in params)
        raise ValueError(
            f"head must name a part of the model, got {head!r}; its parts are "
            f"{', '.join(repr(part) for part in parts)}."
        )
    return names


def _path(
    loss: TaskLoss,
    params: Mapping[str, Tensor],
    support: Batch,
    inner_lr: float,
    steps: int,
    adapted: Sequence[str] | None,
    tasks: str,
) -> Iterator[Params]:
    """Stacked parameters before and after every step, without a graph."""
    names = adapted_names(params, adapted)
    num_tasks = len(support[0])
    stacked = {
        name: value.detach().expand(num_tasks, *value.shape)
        for name, value in params.items()
    }
    yield stacked
    one = steps_of_one_task(loss, 1, inner_lr, names)
    for _ in range(steps):
        if tasks == "vmap":
            stacked = vmap(one, randomness="different")(stacked, *support)
        else:
            with torch.enable_grad():
                leaves = {n: v.detach().requires_grad_() for n, v in stacked.items()}
                total = task_losses(loss, leaves, support, tasks).sum()
                stacked = graph_step(total, leaves, inner_lr, names, keep=False)
        stacked = {name: value.detach() for name, value in stacked.items()}
        yield stacked
