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


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal numbers, float32."""
    return rng.normal(0, 1, shape).astype(np.float32)
