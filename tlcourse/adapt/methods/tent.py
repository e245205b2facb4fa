"""TENT: entropy minimisation at test time, BatchNorm's weights only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.adapt import testtime
from tlcourse.adapt.method import Method
from tlcourse.adapt.normalising import adapt_batchnorm
from tlcourse.arguments import positive, whole


@dataclass
class Tent(Method):
    """Source-only training, then passes of :func:`tlcourse.adapt.tent` in random order.

    TENT classifies a stream as it comes. To stand in one table with the rest, the
    adapted model gets the target's statistics by
    :func:`tlcourse.adapt.adapt_batchnorm` at the end and predicts in eval mode.

    Args:
        tent_lr: step size of Adam on BatchNorm's weights and biases.
        tent_batch: samples per step.
        rounds: passes over the target.
    """

    tent_lr: float = 1e-3
    tent_batch: int = 64
    rounds: int = 1

    sees_target = False

    def __post_init__(self) -> None:
        """Check the settings."""
        positive("tent_lr", self.tent_lr, zero=True)
        whole("tent_batch", self.tent_batch, 2)
        whole("rounds", self.rounds, 1)

    def finish(
        self, model: nn.Module, source: Any, target_x: Tensor, seed: int
    ) -> None:
        """Adapt on shuffled target samples."""
        generator = torch.Generator().manual_seed(seed)
        for _ in range(self.rounds):
            order = torch.randperm(len(target_x), generator=generator)
            stream = target_x[order.to(target_x.device)]
            testtime.tent(model, stream, lr=self.tent_lr, batch_size=self.tent_batch)
        adapt_batchnorm(model, target_x)
