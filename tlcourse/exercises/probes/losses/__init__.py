"""Chapter 02: what is asked about losses."""

from tlcourse.exercises.probes.losses.metric import triplet_loss
from tlcourse.exercises.probes.losses.programs import bug_hunt, evaluate
from tlcourse.exercises.probes.losses.supervised import (
    cross_entropy,
    label_smoothing_ce,
)
from tlcourse.exercises.probes.losses.transfer import distillation_loss, l2_sp

__all__ = [
    "bug_hunt",
    "cross_entropy",
    "distillation_loss",
    "evaluate",
    "l2_sp",
    "label_smoothing_ce",
    "triplet_loss",
]
