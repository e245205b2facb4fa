"""Consolidation that pairs the wrong tensors, or misses the right ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tlcourse import losses
from tlcourse.exercises.spec import Mutant

State = Mapping[str, Tensor]


def _head_to_zero(params: State, source: State, fisher: State, s: float) -> Tensor:
    loss = losses.ewc_penalty(params, source, fisher, s)
    for name, w in params.items():
        if name not in source or source[name].shape != w.shape:
            loss = loss + s / 2 * w.square().sum()
    return loss


def _name_only(params: State, source: State, fisher: State, s: float) -> Tensor:
    losses.ewc_penalty(params, source, fisher, s)  # refuses what must be refused
    parts = [
        (fisher[n].detach() * (w - source[n].detach()).square()).sum()
        for n, w in params.items()
        if n in source and n in fisher
    ]
    return s / 2 * torch.stack(parts).sum()


def _fisher_needed(params: State, source: State, fisher: State, s: float) -> Tensor:
    for name in source:
        fisher[name]
    return losses.ewc_penalty(params, source, fisher, s)


def _anchor_needed(params: State, source: State, fisher: State, s: float) -> Tensor:
    for name in fisher:
        source[name]
    return losses.ewc_penalty(params, source, fisher, s)


def _weight_needed(params: State, source: State, fisher: State, s: float) -> Tensor:
    for name in source:
        params[name]
    return losses.ewc_penalty(params, source, fisher, s)


def _fisher_broadcast(params: State, source: State, fisher: State, s: float) -> Tensor:
    fits = [n for n, w in params.items() if n in source and w.shape == source[n].shape]
    spread = {n: f.expand_as(source[n]) if n in fits else f for n, f in fisher.items()}
    return losses.ewc_penalty(params, source, spread, s)


def _by_position(params: State, source: State, fisher: State, s: float) -> Tensor:
    rows = zip(params, source.values(), fisher.values(), strict=False)
    pairs = {name: (w0, f) for name, w0, f in rows}
    anchors = {name: w0 for name, (w0, _) in pairs.items()}
    return losses.ewc_penalty(params, anchors, {n: f for n, (_, f) in pairs.items()}, s)


MUTANTS = (
    Mutant(
        "new_head_pulled_to_zero",
        _head_to_zero,
        "Parameters without an anchor are pulled to 0, as L2-SP does. Here the "
        "source task says nothing about them: they are free.",
    ),
    Mutant(
        "name_only",
        _name_only,
        "You compare names only. A head for another number of classes has the same "
        "name and another shape; then the tensors do not fit, or worse, broadcast.",
    ),
    Mutant(
        "fisher_needed_for_all",
        _fisher_needed,
        "Your code asks the Fisher for a name that it does not have. A parameter "
        "without a Fisher value is free: use fisher.get(name).",
    ),
    Mutant(
        "anchor_needed_for_all",
        _anchor_needed,
        "Your code asks the source for a name that it does not have, only because "
        "the Fisher has it. Only what is in both counts.",
    ),
    Mutant(
        "weight_needed_for_all",
        _weight_needed,
        "Your code asks the parameters for a name of the source that they no "
        "longer have: an old head is gone. Go through params.items().",
    ),
    Mutant(
        "fisher_shape_unchecked",
        _fisher_broadcast,
        "You compare the weight's shape with the source's alone. A Fisher value "
        "of another shape is broadcast in silence: compare all three.",
    ),
    Mutant(
        "by_position",
        _by_position,
        "You pair the tensors by their place in the dictionaries. These may list "
        "their names in any order: pair by name.",
    ),
)
