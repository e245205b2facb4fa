"""Linear probing first, fine-tuning second."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

from tlcourse.features import freeze, unfreeze
from tlcourse.training import History, fit


def lp_ft(
    model: nn.Module,
    train: Any,
    *,
    head: str = "head",
    probe_epochs: int,
    epochs: int,
    probe_lr: float = 1e-2,
    lr: float = 1e-3,
    **options: Any,
) -> tuple[History, History]:
    """Train the head on the frozen body, then everything (Kumar et al., 2022).

    A random head sends large, senseless gradients into the body and distorts its
    features. A head that fits already sends small ones. The first phase freezes the
    body as ``features.freeze`` does, BatchNorm statistics included; the second
    trains what asked for a gradient before the call, with a new optimiser.

    Args:
        model: changed in place; left in eval mode, with nothing frozen that was not
            frozen before.
        train: as in ``training.fit``.
        head: name of the new classifier, as in ``model.named_modules()``.
        probe_epochs: epochs of the first phase, at least 1.
        epochs: epochs of the second phase, at least 1.
        probe_lr: step size of the first phase.
        lr: step size of the second phase, usually smaller.
        **options: of ``training.fit`` for both phases: ``batch_size``, ``augment``,
            ``validation``, ``patience``, ``weight_decay``, ``seed``, ``progress`` ...
            An ``optimizer`` or ``checkpoint`` belongs to one phase: call ``fit``
            twice instead.

    Returns:
        The histories of both phases.

    Raises:
        ValueError: no such head, nothing to train in the head or in the body, or
            what ``fit`` refuses.
    """
    refused = {"optimizer", "checkpoint"} & options.keys()
    if refused:
        raise ValueError(
            f"{refused.pop()} cannot serve two phases; freeze(model, [{head!r}]), fit, "
            "unfreeze(model), fit."
        )
    if head not in dict(model.named_modules()) or head == "":
        raise ValueError(
            f"the model has no head {head!r}; its direct parts are "
            f"{', '.join(repr(name) for name, _ in model.named_children())}."
        )
    inside = set(model.get_submodule(head).parameters())
    if all(p in inside for p in model.parameters() if p.requires_grad):
        raise ValueError(
            "the body has nothing to train in the second phase: its parameters are "
            "frozen; unfreeze(model) first."
        )
    with _only(model, head):
        probed = fit(model, train, epochs=probe_epochs, lr=probe_lr, **options)
    return probed, fit(model, train, epochs=epochs, lr=lr, **options)


@contextlib.contextmanager
def _only(model: nn.Module, head: str) -> Iterator[None]:
    """Only the head learns; afterwards everything is as its owner had it."""
    asked = {p: p.requires_grad for p in model.parameters()}
    switches = {m: vars(m)["train"] for m in model.modules() if "train" in vars(m)}
    freeze(model, except_for=[head])
    try:
        yield
    finally:
        unfreeze(model)
        for parameter, flag in asked.items():
            parameter.requires_grad_(flag)
        for module, switch in switches.items():
            module.train = switch  # type: ignore[method-assign]
