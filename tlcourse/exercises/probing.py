"""What probes of several chapters do with inputs and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tlcourse.exercises.spec import Case

Seen = Mapping[str, Any]
Candidate = Callable[..., Any]
REFUSES = "refuses bad input"  # a group of cases


def tensors(case: Case) -> dict[str, Any]:
    """The case's inputs with arrays as tensors that share their memory."""
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in case.inputs.items()
    }


def by_role(given: Mapping[str, Any], role: str) -> dict[str, torch.Tensor]:
    """The tensors called ``role[name]``, by name."""
    start = f"{role}["
    return {k[len(start) : -1]: v for k, v in given.items() if k.startswith(start)}


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal numbers, float32."""
    return rng.normal(0, 1, shape).astype(np.float32)


def number(value: Any) -> Any:
    """A float for a one-element tensor or NumPy number; anything else as it is."""
    if type(value) is torch.Tensor and value.numel() == 1:
        return float(value.detach())
    if isinstance(value, np.generic):
        return float(value)
    return value
