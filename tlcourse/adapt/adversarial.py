"""What the adversarial methods share: the discriminator and its loss."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.adapt.method import Batch, Method
from tlcourse.adapt.reversal import dann_lambda, grad_reverse
from tlcourse.arguments import fraction, positive, whole


@dataclass
class Adversarial(Method):
    """Features that a discriminator cannot tell apart, by gradient reversal.

    Args:
        strength: largest weight of the reversed gradient; the discriminator itself
            always learns with weight 1.
        schedule: raise the weight by :func:`dann_lambda`; False: constant.
        warmup: share of the training without reversal, in [0, 1).
        hidden: width of the discriminator's two hidden layers.
        normalise: give the discriminator features of length sqrt(d), so that making
            them small does not fool it.
    """

    strength: float = 1.0
    schedule: bool = True
    warmup: float = 0.0
    hidden: int = 64
    normalise: bool = True
    _discriminator: nn.Module | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        positive("strength", self.strength, zero=True)
        fraction("warmup", self.warmup)
        whole("hidden", self.hidden, 1)

    def width(self, d: int, num_classes: int) -> int:
        """Number of inputs of the discriminator."""
        return d

    def inputs(self, batch: Batch) -> Tensor:
        """What the discriminator sees of a batch ``(b, width)``."""
        return self.scaled(batch.z)

    def weights(self, batch: Batch) -> Tensor | None:
        """Weights of the samples in the domain loss ``(b,)``, or None for equal."""
        return None

    def scaled(self, z: Tensor) -> Tensor:
        """Features of length sqrt(d), if asked for."""
        if not self.normalise:
            return z
        return F.normalize(z, dim=1) * z.shape[1] ** 0.5

    def prepare(self, model: nn.Module, num_classes: int) -> nn.Module:
        """A perceptron with one logit: source 1, target 0."""
        width = self.width(model.head.in_features, num_classes)
        self._discriminator = nn.Sequential(
            nn.Linear(width, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, 1),
        ).to(model.head.weight.device)
        return self._discriminator

    def reversal(self, progress: float) -> float:
        """Weight of the reversed gradient at this time."""
        if progress < self.warmup:
            return 0.0
        done = (progress - self.warmup) / max(1 - self.warmup, 1e-9)
        return self.strength * (dann_lambda(min(done, 1.0)) if self.schedule else 1.0)

    def loss(self, source: Batch, target: Batch, progress: float) -> Tensor:
        """Binary cross-entropy of the domains, each domain weighing one half."""
        weight = self.reversal(progress)
        halves = []
        for batch, label in ((source, 1.0), (target, 0.0)):
            inputs = grad_reverse(self.inputs(batch), weight)
            logits = self._discriminator(inputs).squeeze(1)
            losses = F.binary_cross_entropy_with_logits(
                logits, torch.full_like(logits, label), reduction="none"
            )
            weights = self.weights(batch)
            halves.append(
                losses.mean()
                if weights is None
                else (weights * losses).sum() / weights.sum()
            )
        return (halves[0] + halves[1]) / 2
