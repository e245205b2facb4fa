"""Chapter 02: what is right, and the mistakes that have a name."""

from tlcourse.exercises.keys.losses.metric import triplet_loss
from tlcourse.exercises.keys.losses.programs import bug_hunt, evaluate
from tlcourse.exercises.keys.losses.supervised import cross_entropy, label_smoothing_ce
from tlcourse.exercises.keys.losses.transfer import distillation_loss, l2_sp

__all__ = [
    "bug_hunt",
    "cross_entropy",
    "distillation_loss",
    "evaluate",
    "l2_sp",
    "label_smoothing_ce",
    "triplet_loss",
]
