"""MCC: predictions that do not confuse classes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tlcourse.adapt.method import Aligner, Batch
from tlcourse.arguments import positive


@dataclass
class Mcc(Aligner):
    r"""Minimum class confusion (Jin et al., ECCV 2020).

    With :math:`p=\mathrm{softmax}(\text{logits}/T)` and sample weights w that are
    large where the entropy is low (without gradient), the class correlation is
    :math:`C=p^\top\mathrm{diag}(w)\,p`, its rows scaled to sum 1. The loss is the mean
    over the rows of what lies off the diagonal.

    Args:
        temperature: T > 0.
    """

    temperature: float = 2.5

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        positive("temperature", self.temperature)

    def loss(self, source: Batch, target: Batch, progress: float) -> Tensor:
        """The confusion of the target batch."""
        log_p = (target.logits / self.temperature).log_softmax(1)  # (b, k)
        p = log_p.exp()
        weight = 1 + (p * log_p).sum(1).exp().detach()
        weight = len(weight) * weight / weight.sum()
        confusion = (p * weight[:, None]).T @ p  # (k, k)
        confusion = confusion / confusion.sum(1, keepdim=True)
        return self.strength * (1 - confusion.diagonal().mean())
