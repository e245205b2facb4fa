"""What the wrong learning rates share."""

from __future__ import annotations

from typing import Any

from torch import nn

Groups = list[dict[str, Any]]


def depth(name: str, top: int) -> int:
    """0 for the embeddings, i + 1 for layer i, top + 1 for the rest."""
    if "embeddings." in name:
        return 0
    found = [i for i in range(top) if f"encoder.layer.{i}." in name]
    return found[0] + 1 if found else top + 1


def num_layers(names: list[str]) -> int:
    """The largest number of a layer, plus one."""
    numbers = [n.split("encoder.layer.")[1] for n in names if "encoder.layer." in n]
    return 1 + max(int(n.split(".")[0]) for n in numbers)


def named(model: nn.Module, top: int | None = None) -> list[tuple[str, Any]]:
    """(depth from the head, parameter) of all that learn."""
    names = [name for name, _ in model.named_parameters()]
    top = num_layers(names) if top is None else top
    return [
        (name, p, top + 1 - depth(name, top))
        for name, p in model.named_parameters()
        if p.requires_grad
    ]


def group(parameter: Any, rate: float) -> dict[str, Any]:
    """One group of one parameter."""
    return {"params": [parameter], "lr": rate}
