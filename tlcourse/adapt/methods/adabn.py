"""AdaBN: the target's own BatchNorm statistics, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tlcourse.adapt.method import Method
from tlcourse.adapt.normalising import adapt_batchnorm


@dataclass
class AdaBN(Method):
    """Source-only training, then :func:`tlcourse.adapt.adapt_batchnorm`."""

    sees_target = False

    def finish(
        self, model: nn.Module, source: Any, target_x: Tensor, seed: int
    ) -> None:
        """Replace the statistics."""
        adapt_batchnorm(model, target_x)
