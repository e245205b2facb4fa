"""Entropy minimisation: sure predictions on the target."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tlcourse.adapt.confidence import entropy
from tlcourse.adapt.method import Aligner, Batch
from tlcourse.adapt.reversal import dann_lambda


@dataclass
class EntropyMinimization(Aligner):
    """The target's mean entropy as a loss (Grandvalet and Bengio, 2004), faded in."""

    strength: float = 0.1

    def loss(self, source: Batch, target: Batch, progress: float) -> Tensor:
        """The entropy of the batch's predictions."""
        return self.strength * dann_lambda(progress) * entropy(target.logits)
