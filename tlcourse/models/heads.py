"""Swapping the classifier of a network."""

from __future__ import annotations

from torch import nn


def replace_head(model: nn.Module, num_classes: int) -> nn.Module:
    """Put a fresh linear classifier in the place of the model's last linear layer.

    Works for the course's networks and for torchvision's classifiers (``fc``,
    ``classifier[-1]``, ``heads.head``). The new layer has its own random weights,
    trains, and sits on the old one's device with the old one's dtype. Chapter 03
    asks you to write it.

    Args:
        model: changed in place.
        num_classes: number of logits, at least 1.

    Returns:
        The same model.

    Raises:
        ValueError: the model has no linear layer, or ``num_classes`` is wrong.
    """
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(
            f"num_classes must be a whole number >= 1, got {num_classes!r}."
        )
    linear = [name for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    if not linear or linear[-1] == "":
        raise ValueError(
            f"{type(model).__name__} has no linear classifier inside to replace; "
            "change its last layer by hand."
        )
    parent_name, _, name = linear[-1].rpartition(".")
    parent, old = model.get_submodule(parent_name), model.get_submodule(linear[-1])
    new = nn.Linear(
        old.in_features,
        num_classes,
        bias=old.bias is not None,
        device=old.weight.device,
        dtype=old.weight.dtype,
    )
    setattr(parent, name, new.train(old.training))
    return model
