"""What the probes of chapter 01 share."""

from __future__ import annotations

from typing import Any

import torch

from tlcourse.exercises.spec import Case

VALUE, REFUSES = "value", "refuses bad input"


def tensors(case: Case) -> list[torch.Tensor]:
    """The inputs in order, as tensors."""
    return [torch.from_numpy(value) for value in case.inputs.values()]


def number(value: Any) -> Any:
    """A float for a one-element tensor; anything else as it is."""
    if type(value) is torch.Tensor and value.numel() == 1:
        return float(value.detach())
    return value
