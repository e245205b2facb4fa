"""LoRA layers that are right but for what merge gives, or does."""

from __future__ import annotations

import torch
from torch import nn

from tlcourse import models
from tlcourse.exercises.spec import Mutant

_Base = models.LoRALinear  # right; the mutants overwrite one thing each


class _MergesInPlace(_Base):
    @torch.no_grad()
    def merge(self) -> nn.Linear:
        self.linear.weight += self.scale * self.lora_b @ self.lora_a
        return self.linear


class _MergesIntoTheLayer(_Base):
    @torch.no_grad()
    def merge(self) -> nn.Linear:
        self.linear.weight += self.scale * self.lora_b @ self.lora_a
        return models.LoRALinear.merge(_empty(self))


def _empty(layer: models.LoRALinear) -> models.LoRALinear:
    """A fresh update, 0, on the same linear layer."""
    return models.LoRALinear(layer.linear, layer.rank, layer.alpha)


class _MergeUnscaled(_Base):
    @torch.no_grad()
    def merge(self) -> nn.Linear:
        new = super().merge()
        update = self.lora_b @ self.lora_a
        new.weight += (1 - self.scale) * update
        return new


class _MergeNoBias(_Base):
    def merge(self) -> nn.Linear:
        new = super().merge()
        new.bias = None
        return new


class _MergeFreshBias(_Base):
    @torch.no_grad()
    def merge(self) -> nn.Linear:
        new = nn.Linear(self.in_features, self.out_features).to(self.linear.weight)
        new.weight.copy_(super().merge().weight)
        if self.linear.bias is not None:
            new.bias.copy_(self.linear.bias)
        return new


class _MergeSharesBias(_Base):
    def merge(self) -> nn.Linear:
        new = super().merge()
        new.bias = self.linear.bias
        return new


class _MergeFloat32(_Base):
    def merge(self) -> nn.Linear:
        return super().merge().float()


class _MergeEnds(_Base):
    def merge(self) -> nn.Linear:
        new = super().merge()
        self.lora_a.requires_grad_(False)
        self.lora_b.requires_grad_(False)
        return new


class _MergeHandsOver(_Base):
    """Takes the merged layer's tensors over; the update is then 0."""

    scale = property(lambda self: self.left)  # type: ignore[assignment]

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(linear, rank, alpha)
        self.left = alpha / rank

    def merge(self) -> nn.Linear:
        new = super().merge()
        self.linear.weight, self.left = new.weight, 0.0
        return new


MUTANTS = (
    Mutant(
        "merges_in_place",
        _MergesInPlace,
        "merge adds the update to the given layer and hands it out. The update is "
        "then counted twice in the forward pass, and three times after the next "
        "merge. Build a new nn.Linear.",
    ),
    Mutant(
        "merged_twice",
        _MergesIntoTheLayer,
        "merge gives a new layer, but adds the update to the given one as well: "
        "each merge adds it once more. Leave the layer as it is.",
    ),
    Mutant(
        "merge_hands_over",
        _MergeHandsOver,
        "After merge the update sits in W, and A and B have no part in the output "
        "any more: the layer cannot go on learning. Leave it as it is.",
    ),
    Mutant(
        "merge_ends_the_training",
        _MergeEnds,
        "merge switches off the gradient of A and B. The layer goes on as before: "
        "only the new nn.Linear is without them.",
    ),
    Mutant(
        "merge_unscaled",
        _MergeUnscaled,
        "merge adds B A without alpha / rank, so that the merged layer differs "
        "from the trained one.",
    ),
    Mutant(
        "merge_loses_the_bias",
        _MergeNoBias,
        "The merged layer has no bias though the given one has. Copy it.",
    ),
    Mutant(
        "merge_invents_a_bias",
        _MergeFreshBias,
        "The given layer has no bias, and the merged one has a random one. Pass "
        "`bias=linear.bias is not None`.",
    ),
    Mutant(
        "merge_shares_the_bias",
        _MergeSharesBias,
        "The merged layer's bias is the frozen layer's own tensor: who trains the "
        "one changes the other. Copy its numbers.",
    ),
    Mutant(
        "merge_in_float32",
        _MergeFloat32,
        "The merged layer is float32 and the given one is not, so that it does not "
        "fit the network. Pass `dtype=linear.weight.dtype`.",
    ),
)
