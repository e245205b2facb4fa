"""Losses: one small module per idea, every formula with its source."""

from tlcourse.losses.contrastive import nt_xent, sup_con
from tlcourse.losses.distillation import distillation_loss
from tlcourse.losses.metric import contrastive_loss, triplet_loss
from tlcourse.losses.redundancy import VicregTerms, barlow_twins, vicreg, vicreg_terms
from tlcourse.losses.sphere import alignment, uniformity
from tlcourse.losses.supervised import cross_entropy, focal_loss, label_smoothing_ce
from tlcourse.losses.transfer import ewc_penalty, feature_penalty, l2_sp

__all__ = [
    "VicregTerms",
    "alignment",
    "barlow_twins",
    "contrastive_loss",
    "cross_entropy",
    "distillation_loss",
    "ewc_penalty",
    "feature_penalty",
    "focal_loss",
    "l2_sp",
    "label_smoothing_ce",
    "nt_xent",
    "sup_con",
    "triplet_loss",
    "uniformity",
    "vicreg",
    "vicreg_terms",
]
