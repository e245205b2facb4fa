"""Self-training: the model's confident answers become its labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from tlcourse.adapt.confidence import pseudo_labels
from tlcourse.adapt.method import Aligner, Batch
from tlcourse.adapt.reversal import dann_lambda
from tlcourse.arguments import fraction


@dataclass
class SelfTraining(Aligner):
    """Cross-entropy on pseudo-labels of the target batch (Lee, 2013), faded in.

    Args:
        threshold: least confidence of a pseudo-label, in [0, 1].
    """

    threshold: float = 0.9

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        fraction("threshold", self.threshold)

    def loss(self, source: Batch, target: Batch, progress: float) -> Tensor:
        """Mean over the whole target batch: unsure samples count as 0."""
        kept, y = pseudo_labels(target.logits, self.threshold)
        total = F.cross_entropy(target.logits[kept], y, reduction="sum")
        return self.strength * dann_lambda(progress) * total / len(target.x)
