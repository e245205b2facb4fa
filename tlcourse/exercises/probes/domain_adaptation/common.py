"""What all of this chapter's probes use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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


def drawn_by(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network whose weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def flat(model: nn.Module) -> Tensor:
    """All parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def leave_gradients(*models: nn.Module) -> None:
    """Old gradients, as an earlier step leaves them."""
    for model in models:
        for p in model.parameters():
            p.grad = torch.ones_like(p)
