"""Low-rank adaptation of linear layers. Chapter 04 derives it, 05 uses it on BERT."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LoRALinear(nn.Module):
    r"""A frozen linear layer plus a trainable update of low rank (Hu et al., 2022).

    .. math:: h = W x + b + \frac{\alpha}{r} B A x,
        \qquad A \in \mathbb R^{r \times d_{in}},\ B \in \mathbb R^{d_{out} \times r}

    (their eq. (3), with the scale of their section 4.1). B starts at 0, so that the
    layer starts as the given one; A starts random (Kaiming-uniform, as in the
    authors' code and in ``peft``), because with A = B = 0 both gradients are 0 for
    ever. No gradient ever reaches W and b: their ``requires_grad`` is switched off,
    and the forward pass detaches them, should somebody switch it on again.

    Args:
        linear: the layer to adapt. It is kept, not copied, and frozen in place.
        rank: r, from 1 to ``min(in_features, out_features)``.
        alpha: > 0. The update is scaled by alpha / rank, so that the learning rate
            need not be tuned again for another rank.

    Attributes:
        linear: the frozen layer.
        lora_a: A ``(rank, in_features)``, of the layer's dtype and device.
        lora_b: B ``(out_features, rank)``.

    Raises:
        ValueError: not a float ``nn.Linear``, or ``rank`` or ``alpha`` out of range.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        """Freeze ``linear`` and put A and B beside it."""
        _check_layer(linear, rank, alpha)
        super().__init__()
        weight = linear.weight
        self.linear = linear.requires_grad_(False)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.rank, self.alpha = rank, alpha
        self.lora_a = nn.Parameter(weight.new_empty(rank, self.in_features))
        self.lora_b = nn.Parameter(weight.new_zeros(self.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.train(linear.training)

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank

    @property
    def weight(self) -> Tensor:
        """W + scale B A, ``(out_features, in_features)``, with the graph of A and B.

        Some layers read their linear layer's ``weight`` and never call it
        (``nn.MultiheadAttention``): they get the adapted one.
        """
        return self.linear.weight.detach() + self.scale * (self.lora_b @ self.lora_a)

    @property
    def bias(self) -> Tensor | None:
        """The frozen layer's b, or None."""
        bias = self.linear.bias
        return None if bias is None else bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        frozen = F.linear(x, self.linear.weight.detach(), self.bias)
        # Two thin products: the full matrix B A is never formed.
        return frozen + self.scale * F.linear(F.linear(x, self.lora_a), self.lora_b)

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        """A new plain linear layer that computes the same; this one is unchanged.

        The sum is formed in float32 at least and rounded once to the layer's dtype.
        The new layer shares no memory with this one, and trains like any other.
        """
        old = self.linear
        new = nn.Linear(
            old.in_features,
            old.out_features,
            bias=old.bias is not None,
            device=old.weight.device,
            dtype=old.weight.dtype,
        )
        wide = torch.promote_types(old.weight.dtype, torch.float32)
        update = self.lora_b.to(wide) @ self.lora_a.to(wide)
        new.weight.copy_(old.weight.to(wide) + self.scale * update)
        if old.bias is not None:
            new.bias.copy_(old.bias)
        return new.train(self.training)

    def extra_repr(self) -> str:
        """Rank and alpha, for ``print(model)``."""
        return f"rank={self.rank}, alpha={self.alpha}"


def add_lora(
    model: nn.Module, names: Sequence[str], rank: int, alpha: float
) -> nn.Module:
    """Put a :class:`LoRALinear` in the place of each named linear layer.

    Freezes the named layers and nothing else: freeze the rest of the model before,
    for example by ``model.requires_grad_(False)`` and then
    ``model.head.requires_grad_(True)``. A freeze that comes afterwards would freeze
    A and B too.

    Args:
        model: changed in place, unless an error is raised.
        names: whole names as in ``model.named_modules()``, for example
            ``[n for n, _ in model.named_modules() if n.endswith(("query", "value"))]``.
        rank: as in :class:`LoRALinear`, for all of them.
        alpha: as in :class:`LoRALinear`.

    Returns:
        The same model.

    Raises:
        ValueError: no name, a name twice or unknown, a layer that is not an
            ``nn.Linear``, has LoRA already, or shares itself or its weights with
            another place of the model; or ``rank`` or ``alpha`` out of range.
    """
    if isinstance(names, str) or not names or len(set(names)) != len(names):
        raise ValueError(
            f"names must be a list of different layer names, at least one, got "
            f"{names!r}."
        )
    parts = dict(model.named_modules(remove_duplicate=False))
    for name in names:
        if name not in parts or name == "":
            raise ValueError(
                f"the model has no layer {name!r} inside it; its linear layers are "
                f"{_linear_names(parts)}."
            )
        _check_place(parts, name)
        _check_layer(parts[name], rank, alpha, name)
    for name in names:
        _put(model, name, LoRALinear(parts[name], rank, alpha))
    return model


def merge_lora(model: nn.Module) -> nn.Module:
    """Put :meth:`LoRALinear.merge` in the place of every :class:`LoRALinear`.

    The model then computes the same with no more work than before LoRA. What was
    merged cannot be taken apart again: save A and B first if they matter.

    Args:
        model: changed in place.

    Returns:
        The same model.

    Raises:
        ValueError: there is no LoRA in the model, or the model itself is one.
    """
    if isinstance(model, LoRALinear):
        raise ValueError("a LoRALinear cannot replace itself; call layer.merge().")
    parts = dict(model.named_modules(remove_duplicate=False))
    adapted = {n: m for n, m in parts.items() if isinstance(m, LoRALinear)}
    if not adapted:
        raise ValueError("the model has no LoRALinear to merge; call add_lora first.")
    merged = {layer: layer.merge() for layer in set(adapted.values())}
    for name, layer in adapted.items():  # a layer in two places stays one layer
        _put(model, name, merged[layer])
    return model


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)


def _linear_names(parts: dict[str, nn.Module]) -> str:
    names = [repr(n) for n, m in parts.items() if isinstance(m, nn.Linear) and n]
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "none"


def _check_place(parts: dict[str, nn.Module], name: str) -> None:
    """The layer must be in one place, outside of any LoRA, with weights of its own."""
    layer, parent = parts[name], parts[name.rpartition(".")[0]]
    if isinstance(layer, LoRALinear) or isinstance(parent, LoRALinear):
        raise ValueError(f"{name!r} has LoRA already; merge_lora(model) first.")
    own = {id(p) for p in layer.parameters()}
    for other, module in parts.items():
        shared = any(id(p) in own for p in module.parameters(recurse=False))
        if other != name and (module is layer or shared):
            raise ValueError(
                f"{name!r} shares its weights with {other or 'the model'!r}; LoRA in "
                "one place would change or freeze the other. Give it weights of its "
                "own first."
            )


def _check_layer(layer: object, rank: int, alpha: float, name: str = "linear") -> None:
    if not isinstance(layer, nn.Linear) or not layer.weight.is_floating_point():
        kind = type(layer).__name__
        raise ValueError(f"{name} must be an nn.Linear with float weights, got {kind}.")
    largest = min(layer.in_features, layer.out_features)
    whole = isinstance(rank, int) and not isinstance(rank, bool)
    if not whole or not 1 <= rank <= largest:
        raise ValueError(
            f"rank must be a whole number from 1 to {largest}, the smaller side of "
            f"{name} ({layer.in_features} -> {layer.out_features}), got {rank!r}."
        )
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be > 0 and finite, got {alpha!r}; try {rank}.")
