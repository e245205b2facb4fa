"""Adapt to a target without labels: the methods of chapter 07, and how to choose."""

from __future__ import annotations

from tlcourse.adapt.confidence import entropy, pseudo_labels
from tlcourse.adapt.mapping import coral_map, transport_map
from tlcourse.adapt.method import Batch, Method
from tlcourse.adapt.normalising import adapt_batchnorm
from tlcourse.adapt.reversal import GradReverse, dann_lambda, grad_reverse
from tlcourse.adapt.running import METHODS, run
from tlcourse.adapt.testtime import tent
from tlcourse.adapt.training import Result

__all__ = [
    "METHODS",
    "Batch",
    "GradReverse",
    "Method",
    "Result",
    "adapt_batchnorm",
    "coral_map",
    "dann_lambda",
    "entropy",
    "grad_reverse",
    "pseudo_labels",
    "run",
    "tent",
    "transport_map",
]
