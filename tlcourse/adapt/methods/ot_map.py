"""Optimal transport: source features are carried over to the target's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tlcourse.adapt.mapping import transport_map
from tlcourse.adapt.method import Method
from tlcourse.adapt.training import features
from tlcourse.features import ridge_probe


@dataclass
class OtMap(Method):
    """Source-only training, then a new ridge head on transported source features.

    :func:`tlcourse.adapt.transport_map` takes every source feature to where optimal
    transport puts it among the target's; the labels go along, and the head is fitted
    anew in closed form (Courty et al., TPAMI 2017).

    Args:
        penalty: of the ridge head.
    """

    penalty: float = 10.0

    sees_target = False

    def finish(
        self, model: nn.Module, source: Any, target_x: Tensor, seed: int
    ) -> None:
        """Replace the head's weights."""
        x, y = source
        moved = transport_map(features(model, x), features(model, target_x))
        weight, bias = ridge_probe(moved, y, model.head.out_features, self.penalty)
        model.head.weight.data.copy_(weight)
        if model.head.bias is not None:
            model.head.bias.data.copy_(bias)
