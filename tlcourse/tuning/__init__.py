"""Fine-tuning: which weights move, how fast, in what order, and how to mix them."""

from __future__ import annotations

from tlcourse.tuning.fisher import fisher_diagonal
from tlcourse.tuning.parts import Adapter, bitfit
from tlcourse.tuning.probing import lp_ft
from tlcourse.tuning.schedules import warmup_cosine
from tlcourse.tuning.stages import gradual_unfreeze, param_groups
from tlcourse.tuning.weights import greedy_soup, uniform_soup, wise_ft

__all__ = [
    "Adapter",
    "bitfit",
    "fisher_diagonal",
    "gradual_unfreeze",
    "greedy_soup",
    "lp_ft",
    "param_groups",
    "uniform_soup",
    "warmup_cosine",
    "wise_ft",
]
