"""CDAN: the discriminator sees features and predicted classes together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tlcourse.adapt.adversarial import Adversarial
from tlcourse.adapt.method import Batch


@dataclass
class Cdan(Adversarial):
    r"""DANN on the outer product :math:`z\otimes p`, p the predicted probabilities.

    Long et al., "Conditional Adversarial Domain Adaptation", NeurIPS 2018. As in the
    authors' code no gradient flows through p.

    Args:
        entropy_weights: weigh sample i by :math:`1+e^{-H(p_i)}` (CDAN+E).
    """

    entropy_weights: bool = True

    def width(self, d: int, num_classes: int) -> int:
        """d times k."""
        return d * num_classes

    def inputs(self, batch: Batch) -> Tensor:
        """The outer products ``(b, d * k)``."""
        p = batch.logits.detach().softmax(1)
        return torch.einsum("bd,bk->bdk", self.scaled(batch.z), p).flatten(1)

    def weights(self, batch: Batch) -> Tensor | None:
        """Large where the prediction is sure."""
        if not self.entropy_weights:
            return None
        log_p = batch.logits.detach().log_softmax(1)
        return 1 + (log_p.exp() * log_p).sum(1).exp()
