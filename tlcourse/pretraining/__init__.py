"""Pretraining without labels: views, augmentations, the loop, and what it learns."""

from __future__ import annotations

from tlcourse.pretraining.augmenting import (
    Augment,
    Chain,
    Crop,
    Jitter,
    Noise,
    Turn,
    identity,
)
from tlcourse.pretraining.shortcut import Shortcut
from tlcourse.pretraining.spectrum import effective_rank, singular_spectrum
from tlcourse.pretraining.training import (
    PretrainHistory,
    Projector,
    embed,
    pretrain,
)
from tlcourse.pretraining.views import two_views

__all__ = [
    "Augment",
    "Chain",
    "Crop",
    "Jitter",
    "Noise",
    "PretrainHistory",
    "Projector",
    "Shortcut",
    "Turn",
    "effective_rank",
    "embed",
    "identity",
    "pretrain",
    "singular_spectrum",
    "two_views",
]
