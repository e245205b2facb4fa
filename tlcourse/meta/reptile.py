"""Reptile: move the start towards where the tasks end."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tlcourse import arguments
from tlcourse.meta.task_inputs import Params, check_params


def reptile_update(
    params: Mapping[str, Tensor], adapted: Mapping[str, Tensor], step: float
) -> Params:
    r"""One outer step, :math:`\theta + \epsilon\,\frac1T\sum_t(\theta'_t - \theta)`.

    Nichol et al. (2018), algorithm 2 (the batched version). There is no query set;
    the tasks must take at least two inner steps, for with one step Reptile is
    gradient descent on the mean support loss. Chapter 11 expands the update.

    Args:
        params: name to float tensor, the start; not changed.
        adapted: the same names, each ``(T, ...)``: the parameters at which every
            task ended, as :func:`~tlcourse.meta.inner_loop.adapt_params` returns
            them.
        step: :math:`\epsilon`, in (0, 1]: 1 replaces the start by the mean of the
            ends.

    Returns:
        A new dict with the names and shapes of ``params``, without a graph.

    Raises:
        ValueError: names or shapes that do not match, no tasks, or a bad step.
    """
    check_params("params", params)
    check_params("adapted", adapted)
    arguments.positive("step", step)
    arguments.fraction("step", step)
    if set(params) != set(adapted):
        odd = sorted(set(params) ^ set(adapted))[0]
        raise ValueError(
            f"adapted must have the names of params; only one of them has {odd!r}."
        )
    moved = {}
    for name, value in params.items():
        ends = adapted[name]
        if ends.ndim == 0 or ends.shape[1:] != value.shape or len(ends) == 0:
            raise ValueError(
                f"adapted[{name!r}] must be (T, {', '.join(map(str, value.shape))}) "
                f"with T >= 1 tasks, got {tuple(ends.shape)}; stack the tasks first."
            )
        moved[name] = (value + step * (ends.mean(0) - value)).detach()
    return moved
