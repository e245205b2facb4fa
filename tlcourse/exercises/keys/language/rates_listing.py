"""Groups that lose a parameter, count one twice or list what is none."""

from __future__ import annotations

from torch import nn

from tlcourse.exercises.keys.language.rates_common import (
    Groups,
    depth,
    group,
    named,
    num_layers,
)
from tlcourse.exercises.spec import Mutant


def _last_name(model: nn.Module, lr: float, decay: float) -> Groups:
    top = num_layers([name for name, _ in model.named_parameters()])
    rates = {
        p: lr * decay ** (top + 1 - depth(name, top))
        for name, p in model.named_parameters(remove_duplicate=False)
        if p.requires_grad
    }
    return [group(p, rate) for p, rate in rates.items()]


def _pooler_lost(model: nn.Module, lr: float, decay: float) -> Groups:
    known = ("embeddings.", "encoder.layer.", "classifier.", "decoder.")
    return [
        group(p, lr * decay**k)
        for name, p, k in named(model)
        if any(part in name for part in known)
    ]


def _embeddings_lost(model: nn.Module, lr: float, decay: float) -> Groups:
    return [
        group(p, lr * decay**k)
        for name, p, k in named(model)
        if "embeddings." not in name
    ]


def _head_twice(model: nn.Module, lr: float, decay: float) -> Groups:
    groups = [group(p, lr * decay**k) for _, p, k in named(model)]
    return groups + [group(p, lr) for _, p, k in named(model) if k == 0]


def _tied_twice(model: nn.Module, lr: float, decay: float) -> Groups:
    top = num_layers([name for name, _ in model.named_parameters()])
    return [
        group(p, lr * decay ** (top + 1 - depth(name, top)))
        for name, p in model.named_parameters(remove_duplicate=False)
        if p.requires_grad
    ]


def _copies(model: nn.Module, lr: float, decay: float) -> Groups:
    return [group(p.detach().clone(), lr * decay**k) for _, p, k in named(model)]


def _frozen_listed(model: nn.Module, lr: float, decay: float) -> Groups:
    asking = {p: p.requires_grad for p in model.parameters()}
    for p in model.parameters():
        p.requires_grad_(True)
    groups = [group(p, lr * decay**k) for _, p, k in named(model)]
    for p, flag in asking.items():
        p.requires_grad_(flag)
    return groups


LISTING = (
    Mutant(
        "last_name",
        _last_name,
        "A tied matrix has two names, and here the last one decides: the word "
        "embeddings get the head's rate. Use named_parameters() as it is; it gives "
        "the first name.",
    ),
    Mutant(
        "pooler_lost",
        _pooler_lost,
        "The pooler is in no group and never learns. Give lr to everything that is "
        "neither embeddings nor a layer, instead of listing names.",
    ),
    Mutant(
        "embeddings_lost",
        _embeddings_lost,
        "The embeddings are in no group: an optimiser leaves them as they are, "
        "without a word. Give them lr * decay ** (L + 1).",
    ),
    Mutant(
        "head_twice",
        _head_twice,
        "The head is in two groups; torch's optimisers refuse that. Each parameter "
        "belongs to exactly one.",
    ),
    Mutant(
        "tied_twice",
        _tied_twice,
        "A tied matrix has two names and is listed twice. Use named_parameters() "
        "as it is: it lists each parameter once, under its first name.",
    ),
    Mutant(
        "copies",
        _copies,
        "The groups hold copies (state_dict(), .data or detach()), so training "
        "would move those and not the model. List the parameters themselves.",
    ),
    Mutant(
        "frozen_listed",
        _frozen_listed,
        "Frozen parameters are listed, too. They have no gradient; leave out what "
        "has requires_grad=False.",
    ),
)
