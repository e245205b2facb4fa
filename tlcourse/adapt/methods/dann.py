"""DANN: features that a discriminator cannot tell apart."""

from __future__ import annotations

from dataclasses import dataclass

from tlcourse.adapt.adversarial import Adversarial


@dataclass
class Dann(Adversarial):
    """Gradient reversal before a discriminator of the features.

    Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR 2016.
    """
