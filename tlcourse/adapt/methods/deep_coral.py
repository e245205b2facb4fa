"""Deep CORAL: equal covariances of the features of both domains."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tlcourse import shift
from tlcourse.adapt.method import Aligner, Batch


@dataclass
class DeepCoral(Aligner):
    r""":math:`\lambda\,\frac{1}{4d^2}\lVert C_S-C_T\rVert_F^2` on the features.

    Sun and Saenko, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation",
    2016, equation 1. Theirs aligns the last layer's outputs.
    """

    strength: float = 30.0

    def loss(self, source: Batch, target: Batch, progress: float) -> Tensor:
        """The distance of the two batches' covariances."""
        return self.strength * shift.coral_distance(source.z, target.z)
