"""What all of this chapter's probes use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tlcourse.exercises.spec import Case

Seen = Mapping[str, Any]
Candidate = Callable[..., Any]


def tensors(case: Case) -> dict[str, Any]:
    """The case's inputs with arrays as tensors that share their memory."""
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in case.inputs.items()
    }


def words(
    rng: np.random.Generator, lengths: list[int], size: int, extra: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Token numbers ``(b, t)`` padded with 0 on the right, and their mask."""
    t = max(lengths) + extra
    mask = (np.arange(t) < np.array(lengths)[:, None]).astype(np.int64)
    return rng.integers(1, size, (len(lengths), t)) * mask, mask
