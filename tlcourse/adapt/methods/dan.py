"""DAN: a small maximum mean discrepancy between the features of both domains."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tlcourse import shift
from tlcourse.adapt.method import Aligner, Batch
from tlcourse.adapt.reversal import dann_lambda


@dataclass
class Dan(Aligner):
    r""":math:`\lambda\,\mathrm{MMD}^2(z_S,z_T)` with five Gaussian kernels.

    Long et al., "Learning Transferable Features with Deep Adaptation Networks", ICML
    2015. Theirs learns the kernels' weights and uses several layers; here the kernels
    weigh the same, on the last features.
    """

    strength: float = 5.0

    def loss(self, source: Batch, target: Batch, progress: float) -> Tensor:
        """Unbiased estimate on the batch, faded in as in DANN."""
        weight = self.strength * dann_lambda(progress)
        return weight * shift.mmd2(source.z, target.z)
