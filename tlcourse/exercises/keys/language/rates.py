"""Learning rates by depth: what is right, and rates that are not."""

from __future__ import annotations

import re

from torch import nn

from tlcourse import language
from tlcourse.exercises.keys.language.rates_common import (
    Groups,
    group,
    named,
    num_layers,
)
from tlcourse.exercises.keys.language.rates_listing import LISTING
from tlcourse.exercises.spec import Key, Mutant


def _reversed(model: nn.Module, lr: float, decay: float) -> Groups:
    most = max(k for _, _, k in named(model))
    return [group(p, lr * decay ** (most - k)) for _, p, k in named(model)]


def _top_layer_like_head(model: nn.Module, lr: float, decay: float) -> Groups:
    return [group(p, lr * decay ** max(k - 1, 0)) for _, p, k in named(model)]


def _embeddings_like_layer_0(model: nn.Module, lr: float, decay: float) -> Groups:
    return [
        group(p, lr * decay ** (k - 1 if "embeddings." in name else k))
        for name, p, k in named(model)
    ]


def _found_in_text(model: nn.Module, lr: float, decay: float) -> Groups:
    top = num_layers([name for name, _ in model.named_parameters()])
    groups = []
    for name, p, k in named(model):
        found = [i for i in range(top) if f"encoder.layer.{i}" in name]
        power = top - found[0] if found else k
        groups.append(group(p, lr * decay**power))
    return groups


def _counts_what_learns(model: nn.Module, lr: float, decay: float) -> Groups:
    top = num_layers([n for n, p in model.named_parameters() if p.requires_grad])
    return [group(p, lr * decay**k) for _, p, k in named(model, top)]


def _subtracts_frozen(model: nn.Module, lr: float, decay: float) -> Groups:
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    layers = {n.split("encoder.layer.")[1].split(".")[0] for n in names if _is_layer(n)}
    lost = num_layers([n for n, _ in model.named_parameters()]) - len(layers)
    return [group(p, lr * decay ** (k - lost if k else 0)) for _, p, k in named(model)]


def _is_layer(name: str) -> bool:
    return "encoder.layer." in name


def _any_layer(model: nn.Module, lr: float, decay: float) -> Groups:
    top = num_layers([name for name, _ in model.named_parameters()])
    groups = []
    for name, p, k in named(model):
        number = re.search(r"layer\.(\d+)\.", name)
        groups.append(group(p, lr * decay ** (top - int(number[1]) if number else k)))
    return groups


def _by_tensor(model: nn.Module, lr: float, decay: float) -> Groups:
    listed = named(model)
    return [
        group(p, lr * decay ** (len(listed) - 1 - i))
        for i, (_, p, _) in enumerate(listed)
    ]


def _linear_decay(model: nn.Module, lr: float, decay: float) -> Groups:
    most = max(k for _, _, k in named(model)) + 1
    return [group(p, lr * (1 - k / most)) for _, p, k in named(model)]


llrd_groups = Key(
    reference=language.llrd_groups,
    mutants=(
        Mutant(
            "upside_down",
            _reversed,
            "The embeddings learn fastest and the head slowest. It is the other way "
            "round: low layers hold what is general, the head is new.",
        ),
        Mutant(
            "top_layer_like_head",
            _top_layer_like_head,
            "The top layer has the rate of the head, and all below are one step too "
            "fast. Layer i of L has lr * decay ** (L - i): the top one lr * decay.",
        ),
        Mutant(
            "embeddings_like_layer_0",
            _embeddings_like_layer_0,
            "The embeddings share the rate of layer 0. They are one step deeper: lr * "
            "decay ** (L + 1).",
        ),
        Mutant(
            "layer_1_is_in_layer_11",
            _found_in_text,
            "'layer.1' also stands in the names of layers 10 and 11. Search for "
            "'layer.1.' with the dot, or read the number.",
        ),
        Mutant(
            "counts_what_learns",
            _counts_what_learns,
            "L is taken from the layers that learn: with the top one frozen all rates "
            "move up. Read L from all parameters, and skip the frozen ones later.",
        ),
        Mutant(
            "subtracts_frozen",
            _subtracts_frozen,
            "L is the number of layers that learn: with layer 0 frozen all others are "
            "one step too fast. Frozen layers count for L, too.",
        ),
        Mutant(
            "any_layer",
            _any_layer,
            "'layer.0.' may stand in a head's names as well (classifier.layer.0.). "
            "Search for 'encoder.layer.' and the number.",
        ),
        Mutant(
            "decays_with_every_tensor",
            _by_tensor,
            "The rate falls from tensor to tensor: a weight and its own bias differ, "
            "and the embeddings hardly move. It falls once per layer.",
        ),
        Mutant(
            "linear_decay",
            _linear_decay,
            "The rate falls by equal amounts and does not use decay. It falls by a "
            "factor: decay to the power of the depth.",
        ),
        *LISTING,
    ),
)
