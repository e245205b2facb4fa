"""What is asked about low-rank adaptation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from tlcourse.exercises.probes.fine_tuning.common import descend
from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_START, _OUTPUT = "starts as the given layer", "output and gradients"
_TRAINS, _MERGE, _DTYPE = "trains A and B alone", "merge", "dtype"


def _make_lora(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n_in: int, n_out: int, **more: Any) -> Case:
        rank = more.pop("rank", 2)
        inputs = {
            "x": normal(rng, *more.pop("batch", (5,)), n_in),
            "y": rng.integers(0, n_out, 5),
            "weight": normal(rng, n_out, n_in),
            "bias": normal(rng, n_out),
            "a": normal(rng, max(rank, 0), n_in),
            "b": normal(rng, n_out, max(rank, 0)),
            "rank": rank,
            "alpha": float(round(rng.uniform(3, 9), 2)),
            "double": False,
        }
        if more.pop("no_bias", False):
            inputs["bias"] = None
        return Case(group, about, inputs | more)

    refuses = "refuses bad input"
    return [
        case(_START, "6 to 4 features, rank 2", 6, 4),
        case(_START, "3 to 7 features, rank 3, no bias", 3, 7, rank=3, no_bias=True),
        case(_OUTPUT, "6 to 4 features, rank 2", 6, 4),
        case(_OUTPUT, "5 to 5 features, rank 1", 5, 5, rank=1),
        case(_OUTPUT, "inputs (2, 3, 6), rank 4, no bias", 6, 4, rank=4,
             batch=(2, 3), no_bias=True),
        case(_OUTPUT, "one input (6,)", 6, 4, batch=()),
        case(_TRAINS, "two steps of gradient descent", 6, 4),
        case(_MERGE, "6 to 4 features, rank 2", 6, 4),
        case(_MERGE, "5 to 5 features, rank 3, no bias", 5, 5, rank=3, no_bias=True),
        case(_DTYPE, "a float64 layer", 6, 4, double=True),
        case(refuses, "rank 0", 6, 4, rank=0),
        case(refuses, "rank -1", 6, 4, rank=-1),
        case(refuses, "rank 5 for a layer 6 to 4", 6, 4, rank=5),
        case(refuses, "rank 5 for a layer 4 to 6", 4, 6, rank=5),
    ]  # fmt: skip


def _observe_lora(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    dtype = torch.float64 if given["double"] else torch.float32
    x = given["x"].to(dtype)
    n_out, n_in = given["weight"].shape
    linear = nn.Linear(n_in, n_out, bias=given["bias"] is not None, dtype=dtype)
    with torch.no_grad():
        linear.weight.copy_(given["weight"])
        if given["bias"] is not None:
            linear.bias.copy_(given["bias"])
    layer = candidate(linear, given["rank"], given["alpha"])
    if case.group == _START:
        return _start(layer, candidate(linear, given["rank"], given["alpha"]), x)
    if case.group == _TRAINS:
        return _training(layer, linear, x, given["y"])
    with torch.no_grad():
        layer.lora_a.copy_(given["a"])
        layer.lora_b.copy_(given["b"])
    if case.group == _MERGE:
        return _merging(layer, x)
    out = layer(x.requires_grad_())
    if case.group == _DTYPE:
        parts = {"lora_a": layer.lora_a, "lora_b": layer.lora_b}
        merged = layer.merge()
        return {
            "output": out,
            **parts,
            "merged weight": merged.weight,
            "merged bias": merged.bias,
        }
    slopes: list[Any] = [None, None, None]
    wanted = [x, layer.lora_a, layer.lora_b]
    if out.requires_grad:
        slopes = list(
            torch.autograd.grad(out.square().sum(), wanted, allow_unused=True)
        )
    names = "gradient of x", "gradient of lora_a", "gradient of lora_b"
    return {"output": out, **dict(zip(names, slopes, strict=True))}


def _start(layer: nn.Module, second: nn.Module, x: torch.Tensor) -> Seen:
    a, b = layer.lora_a, layer.lora_b
    return {
        "output": layer(x),
        "shape of lora_a": list(a.shape),
        "shape of lora_b": list(b.shape),
        "lora_a is random": bool(a.std() > 0) and bool(a.isfinite().all()),
        "a second layer draws the same lora_a": torch.equal(a, second.lora_a),
        "lora_b is 0": not bool(b.any()),
    }


def _training(
    layer: nn.Module, linear: nn.Linear, x: torch.Tensor, y: torch.Tensor
) -> Seen:
    before = {k: v.clone() for k, v in linear.state_dict().items()}
    a, b = layer.lora_a.detach().clone(), layer.lora_b.detach().clone()
    count = sum(p.numel() for p in layer.parameters() if p.requires_grad)
    descend(layer, x, y, lr=0.5, steps=2)  # A has no gradient before B has moved
    return {
        "trainable numbers": count,
        "lora_a moved": not torch.equal(a, layer.lora_a),
        "lora_b moved": not torch.equal(b, layer.lora_b),
        "the given weight moved": not torch.equal(before["weight"], linear.weight),
        "the given bias moved": not torch.equal(before["bias"], linear.bias),
    }


def _merging(layer: nn.Module, x: torch.Tensor) -> Seen:
    first = layer.merge()
    after = layer(x)
    second = layer.merge()
    slopes: tuple[Any, ...] = (None, None)
    trains = layer.lora_a.requires_grad and layer.lora_b.requires_grad
    if trains and after.requires_grad:
        wanted = [layer.lora_a, layer.lora_b]
        slopes = torch.autograd.grad(after.square().sum(), wanted, allow_unused=True)
    seen: dict[str, Any] = {
        "type": type(first).__name__,
        "has a bias": first.bias is not None,
        "output of the merged layer": first(x),
        "output of the layer afterwards": after,
        "output of a second merged layer": second(x),
        "gradient of lora_a afterwards": slopes[0],
        "gradient of lora_b afterwards": slopes[1],
    }
    with torch.no_grad():
        for p in [*first.parameters(), *second.parameters()]:
            p.zero_()
    return seen | {"output of the layer when the merged ones are cleared": layer(x)}


lora_linear = Probe(
    id="fine_tuning.lora_linear",
    title="LoRA: a linear layer with a low-rank update",
    points=6,
    minutes=35,
    level="hard",
    hints=(
        "Which of A and B must not be 0 at the start, and which must be? Whose "
        "gradient is zero while the other one is zero?",
        "forward: linear(x) + alpha / rank * x A^T B^T. merge: a new nn.Linear with "
        "weight W + alpha / rank * B A and a copy of the bias, in the layer's dtype.",
        "__init__: check 1 <= rank <= min(in, out) (ValueError); super().__init__(); "
        "linear.requires_grad_(False); self.lora_a = nn.Parameter(of linear.weight"
        ".new_empty(rank, in)) and nn.init.kaiming_uniform_; self.lora_b = "
        "nn.Parameter(linear.weight.new_zeros(out, rank)). merge, under "
        "torch.no_grad(): copy_ into the weight and the bias of a new nn.Linear.",
    ),
    make=_make_lora,
    observe=_observe_lora,
    forbid=(
        "tlcourse.models.LoRALinear",
        "tlcourse.models.add_lora",
        "tlcourse.models.merge_lora",
        "peft.get_peft_model",
        "peft.inject_adapter_in_model",
    ),
    forgeable=True,
)
