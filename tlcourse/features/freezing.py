"""Freezing that lasts: no gradient, and eval mode that ``.train()`` cannot undo."""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType

from torch import nn


def freeze(model: nn.Module, except_for: Sequence[str] = ()) -> nn.Module:
    """Freeze a network, its named parts aside, so that it stays frozen.

    Frozen means two things: the parameters ask for no gradient, and every module
    stays in eval mode whatever ``model.train()`` says, so that BatchNorm keeps its
    running statistics and uses them, and dropout does nothing. The named parts
    are left as they are and follow ``train()`` and ``eval()`` as before. A
    parameter that a named part shares with the rest keeps learning. Chapter 03
    derives it; :func:`unfreeze` undoes it.

    Args:
        model: changed in place.
        except_for: names as in ``model.named_modules()``, for example ``["head"]``.

    Returns:
        The same model.

    Raises:
        ValueError: a name the model does not have.
    """
    parts = named_parts(model, except_for)
    kept = {module for part in parts for module in part.modules()}
    learning = {p for module in kept for p in module.parameters(recurse=False)}
    for parameter in model.parameters():
        if parameter not in learning:
            parameter.requires_grad_(False)
    for module in model.modules():
        if module not in kept:
            module.training = False
            module.train = MethodType(_stay_in_eval, module)  # type: ignore[method-assign]
    return model


def named_parts(model: nn.Module, except_for: Sequence[str]) -> list[nn.Module]:
    """The parts that ``except_for`` names.

    Raises:
        ValueError: a single text instead of a list, or a name the model does not have.
    """
    if isinstance(except_for, str):
        raise ValueError(f"except_for must be a list, write [{except_for!r}].")
    parts = dict(model.named_modules())
    unknown = [name for name in except_for if name not in parts]
    if unknown:
        raise ValueError(
            f"the model has no part {unknown[0]!r}; its direct parts are "
            f"{', '.join(repr(name) for name, _ in model.named_children())}."
        )
    return [parts[name] for name in except_for]


def unfreeze(model: nn.Module) -> nn.Module:
    """Undo :func:`freeze`: all parameters learn, ``train()`` works again.

    The mode itself is not changed; call ``model.train()`` or start a training.

    Args:
        model: changed in place, with everything inside it.

    Returns:
        The same model.
    """
    for module in model.modules():
        vars(module).pop("train", None)
    return model.requires_grad_(True)


def _stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """A frozen module's ``train``: pass the mode on to its parts, keep its own."""
    for child in module.children():
        child.train(mode)
    return module
