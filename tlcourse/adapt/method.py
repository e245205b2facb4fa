"""What a method of adaptation is: at most four small functions to fill in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from tlcourse.arguments import positive


class Batch(NamedTuple):
    """One domain's half of a training step, with everything a loss may need."""

    x: Tensor  # (b, ...)
    z: Tensor  # (b, d) features
    logits: Tensor  # (b, k)
    y: Tensor | None  # (b,) class numbers; None for the target


@dataclass
class Method:
    """One method. Put a subclass in a file under ``adapt/methods/`` to have it run.

    The file's name becomes the method's name in :data:`tlcourse.adapt.METHODS`, and
    the fields of the dataclass become settings of :func:`tlcourse.adapt.run`. The
    loop minimises, with p the share of the training that is done,

        cross_entropy(source) + loss(source, target, p).

    Attributes:
        sees_target: whether target samples pass through the network in training.
    """

    sees_target = True

    def prepare(self, model: nn.Module, num_classes: int) -> nn.Module | None:
        """Parts of the method's own that train along (a discriminator), or None."""
        return None

    def loss(self, source: Batch, target: Batch, progress: float) -> Tensor | float:
        """The term added to the source's cross-entropy; ``progress`` in [0, 1]."""
        return 0.0

    def finish(
        self, model: nn.Module, source: Any, target_x: Tensor, seed: int
    ) -> None:
        """Change the trained model in place, after the last step."""


@dataclass
class Aligner(Method):
    """A method that adds one weighted term.

    Args:
        strength: weight of the term, at least 0.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        """Check the weight."""
        positive("strength", self.strength, zero=True)
