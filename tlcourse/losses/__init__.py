"""Losses: one small module per idea, every formula with its source."""

from tlcourse.losses.distillation import distillation_loss
from tlcourse.losses.metric import contrastive_loss, triplet_loss
from tlcourse.losses.supervised import cross_entropy, focal_loss, label_smoothing_ce
from tlcourse.losses.transfer import ewc_penalty, feature_penalty, l2_sp

__all__ = [
    "contrastive_loss",
    "cross_entropy",
    "distillation_loss",
    "ewc_penalty",
    "feature_penalty",
    "focal_loss",
    "l2_sp",
    "label_smoothing_ce",
    "triplet_loss",
]
