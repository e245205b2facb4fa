"""What the meta-learners ask of parameters and tasks, with errors that help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tlcourse import arguments

Params = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]
WAYS = ("vmap", "loop", "batched")


def check_params(name: str, params: Mapping[str, Tensor]) -> None:
    """Refuse what is not a dict of float tensors of one dtype on one device.

    Raises:
        ValueError: anything else, with the first name that is wrong.
    """
    if not isinstance(params, Mapping) or not params:
        raise ValueError(
            f"{name} must be a dict of tensors with at least one entry, got "
            f"{type(params).__name__}; use dict(model.named_parameters())."
        )
    first = next(iter(params.values()))
    for key, value in params.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(
                f"{name}[{key!r}] must be a float tensor, got {_kind(value)}; leave "
                "counters and other buffers out."
            )
        if value.dtype != first.dtype or value.device != first.device:
            raise ValueError(
                f"{name} must have one dtype and lie on one device, but {key!r} is "
                f"{value.dtype} on {value.device}, the first {first.dtype} on "
                f"{first.device}."
            )


def check_batch(name: str, pair: Batch, params: Mapping[str, Tensor]) -> int:
    """Refuse a batch of tasks that is no ``(x, y)`` with a leading task dimension.

    Returns:
        The number of tasks T.

    Raises:
        ValueError: no pair of tensors, no tasks, unequal lengths, numbers that are
            not finite, or another device or dtype than the parameters.
    """
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f"{name} must be a pair (x, y), got {_kind(pair)}.")
    x, y = pair
    for part, value in zip("xy", pair, strict=True):
        if not isinstance(value, Tensor) or value.ndim == 0 or value.numel() == 0:
            raise ValueError(
                f"{name}'s {part} must be a tensor (T, n, ...) with at least one task "
                f"and one sample, got {_kind(value)}."
            )
        _check_like(f"{name}'s {part}", value, next(iter(params.values())))
    rows = min(x.ndim, y.ndim, 2)
    if x.shape[:rows] != y.shape[:rows]:
        raise ValueError(
            f"{name}'s x and y must agree in tasks and samples (T, n), got "
            f"{tuple(x.shape)} and {tuple(y.shape)}."
        )
    return len(x)


def check_tasks(support: Batch, query: Batch, params: Mapping[str, Tensor]) -> int:
    """Check both batches and that they hold the same number of tasks.

    Returns:
        The number of tasks T.

    Raises:
        ValueError: see :func:`check_batch`; or numbers of tasks that differ.
    """
    num_tasks = check_batch("support", support, params)
    asked = check_batch("query", query, params)
    if asked != num_tasks:
        raise ValueError(
            f"support and query must hold the same tasks, got {num_tasks} and {asked};"
            " the first dimension is the task."
        )
    return num_tasks


def check_inner(inner_lr: float, steps: int, tasks: str) -> None:
    """Refuse a rate, a number of steps or a way of running that cannot be.

    Raises:
        ValueError: a rate that is not a finite number > 0, steps below 0, or a way
            that is not in :data:`WAYS`.
    """
    arguments.positive("inner_lr", inner_lr)
    arguments.whole("steps", steps, 0)
    if tasks not in WAYS:
        raise ValueError(f"tasks must be one of {WAYS}, got {tasks!r}.")


def adapted_names(
    params: Mapping[str, Tensor], adapted: Sequence[str] | None
) -> tuple[str, ...]:
    """The names that move in the inner loop, in the order of ``params``.

    Raises:
        ValueError: a single text, no name, or a name that ``params`` lacks.
    """
    if adapted is None:
        return tuple(params)
    if isinstance(adapted, str):
        raise ValueError(f"adapted must be a list of names, write [{adapted!r}].")
    wanted = list(adapted)
    unknown = [name for name in wanted if name not in params]
    if unknown or not wanted:
        what = f"has no {unknown[0]!r}" if unknown else "needs at least one of them"
        raise ValueError(
            f"adapted must name parameters; params {what}. They are "
            f"{', '.join(repr(name) for name in params)}."
        )
    return tuple(name for name in params if name in wanted)


def check_generator(generator: torch.Generator) -> None:
    """Refuse what is no generator of the CPU, where all tasks are drawn.

    Raises:
        ValueError: it is something else.
    """
    right = isinstance(generator, torch.Generator) and generator.device.type == "cpu"
    if not right:
        raise ValueError(
            f"generator must be a torch.Generator of the CPU, got {generator!r}; use "
            "torch.Generator().manual_seed(0)."
        )


def _check_like(what: str, value: Tensor, param: Tensor) -> None:
    if value.device != param.device:
        raise ValueError(
            f"{what} lies on {value.device}, the parameters on {param.device}; move "
            "one of them with .to(device)."
        )
    if not value.is_floating_point():
        return
    if value.dtype != param.dtype:
        raise ValueError(
            f"{what} is {value.dtype}, the parameters are {param.dtype}; use "
            f"x.to({param.dtype})."
        )
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{what} holds nan or inf; mend or drop those samples.")


def _kind(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{tuple(value.shape)} of {value.dtype}"
