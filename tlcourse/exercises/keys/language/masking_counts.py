"""Counting in masked texts.

Statistics may lie seven standard deviations off. For counts of these sizes the
Chernoff bound puts a false alarm below 1e-9 for each, below 1e-7 for all together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlcourse.exercises.spec import Case

MASK, SIGMAS = 3, 7.0


def near(count: float, n: float, p: float, slack: float = 0.0) -> bool:
    """Whether ``count`` of ``n`` may have probability ``p``."""
    return abs(count - n * p) <= SIGMAS * np.sqrt(n * p * (1 - p)) + n * slack


def chosen(seen: Mapping[str, Any], case: Case) -> np.ndarray:
    """Where a token was chosen, by its trace in the labels or in the inputs."""
    return (seen["labels"] != -100) | (seen["inputs"] != case.inputs["ids"])


def excess(hits: np.ndarray, of: np.ndarray, p: float, axis: int) -> float:
    """How uneven the lines' counts of hits are, in standard deviations.

    Pearson's sum of squares over the lines with five trials or more. It is 0 on
    average for independent trials, above 8 if lines hit as a whole, and below -8 if
    all have the same count.
    """
    n, counts = of.sum(axis), (hits & of).sum(axis)
    counts, n = counts[n >= 5], n[n >= 5]
    if len(n) == 0:
        return 0.0
    squares = (counts - n * p) ** 2 / (n * p * (1 - p))
    return float((squares.sum() - len(n)) / np.sqrt(2 * len(n)))
