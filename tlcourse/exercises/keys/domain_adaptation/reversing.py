"""Reversal and schedule: what is right, and the signs that go astray."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tlcourse import adapt
from tlcourse.exercises.spec import Key, Mutant, Tolerance


class _Wrong(torch.autograd.Function):
    """A forward factor and a backward factor."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, ahead: float, back: float) -> Tensor:
        ctx.back = back
        return z * ahead

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back * grad, None, None


def _no_minus(z: Tensor, strength: float) -> Tensor:
    return _Wrong.apply(z, 1.0, strength)


def _strength_ignored(z: Tensor, strength: float) -> Tensor:
    return _Wrong.apply(z, 1.0, -1.0)


def _forward_too(z: Tensor, strength: float) -> Tensor:
    return -strength * z


def _squared(z: Tensor, strength: float) -> Tensor:
    return _Wrong.apply(z, 1.0, -(strength**2))


def _detached(z: Tensor, strength: float) -> Tensor:
    return z.detach().requires_grad_(z.requires_grad)


_last: dict[str, float] = {}


class _Shared(torch.autograd.Function):
    """Reads the strength when the gradient comes, not when it was called."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return -_last["strength"] * grad


def _latest_strength(z: Tensor, strength: float) -> Tensor:
    _last["strength"] = strength
    return _Shared.apply(z)


class _InPlace(torch.autograd.Function):
    """Overwrites the gradient it is lent."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.mul_(-ctx.strength), None


def _hook_on_z(z: Tensor, strength: float) -> Tensor:
    if z.requires_grad:
        z.register_hook(lambda grad: -strength * grad)
    return z


grad_reverse = Key(
    reference=adapt.grad_reverse,
    mutants=(
        Mutant(
            "no_minus",
            _no_minus,
            "The gradient keeps its sign, so the features learn to help the "
            "discriminator. Backward: minus strength times the gradient.",
        ),
        Mutant(
            "strength_ignored",
            _strength_ignored,
            "The gradient is turned round and not weighed: it comes back times -1, "
            "whatever the strength. Keep the strength in forward and multiply by it.",
        ),
        Mutant(
            "forward_too",
            _forward_too,
            "You multiply the features themselves by -strength. That reverses the "
            "gradient, and it also feeds the discriminator other features. Forward "
            "is the identity; only backward differs.",
        ),
        Mutant(
            "strength_squared",
            _squared,
            "The strength enters twice: the gradient comes back times -strength^2. "
            "Multiply once.",
        ),
        Mutant(
            "detached",
            _detached,
            "No gradient reaches the features: detaching lets the discriminator learn "
            "and the features ignore it. Pass -strength times the gradient on.",
        ),
        Mutant(
            "hook_on_z",
            _hook_on_z,
            "Your hook sits on z itself, so it also reverses the gradient that the "
            "classifier sends back to z. Reverse on a new tensor, such as "
            "z.view_as(z) inside an autograd.Function.",
        ),
        Mutant(
            "latest_strength",
            _latest_strength,
            "The strength is kept where all calls share it, so a second call changes "
            "what the first one sends back. Keep it per call: ctx.strength.",
        ),
        Mutant(
            "gradient_overwritten",
            _InPlace.apply,
            "The incoming gradient is changed in place, but others read the same "
            "tensor. Return a new one: -strength * grad.",
        ),
    ),
)


def _checked(progress: float) -> None:
    if not 0 <= progress <= 1:
        raise ValueError("progress must lie in [0, 1]")


def _slope_one(progress: float, slope: float = 1.0) -> float:
    return adapt.dann_lambda(progress, slope)


def _slope_fixed(progress: float, slope: float = 10.0) -> float:
    return adapt.dann_lambda(progress)


def _sigmoid(progress: float, slope: float = 10.0) -> float:
    _checked(progress)
    return 1 / (1 + math.exp(-slope * progress))


def _not_shifted(progress: float, slope: float = 10.0) -> float:
    _checked(progress)
    return 2 / (1 + math.exp(-slope * progress))


def _falls(progress: float, slope: float = 10.0) -> float:
    return -adapt.dann_lambda(progress, slope)


def _tanh(progress: float, slope: float = 10.0) -> float:
    _checked(progress)
    return math.tanh(slope * progress)


def _clamped(progress: float, slope: float = 10.0) -> float:
    return adapt.dann_lambda(min(max(progress, 0.0), 1.0), slope)


def _linear(progress: float, slope: float = 10.0) -> float:
    _checked(progress)
    return min(1.0, slope * progress / 2)


dann_lambda = Key(
    reference=adapt.dann_lambda,
    tolerance=Tolerance(rtol=1e-6, atol=1e-9),
    mutants=(
        Mutant(
            "slope_one",
            _slope_one,
            "Your default slope is 1: the weight ends at 0.46 and never reaches 1. The "
            "paper's slope, and the default asked for, is 10.",
        ),
        Mutant(
            "slope_fixed",
            _slope_fixed,
            "The slope that is passed is not used. It stands in the exponent: "
            "exp(-slope * p).",
        ),
        Mutant(
            "sigmoid",
            _sigmoid,
            "This is the sigmoid, which starts at 0.5: the noisy first discriminator "
            "would count at half weight. Twice the sigmoid, minus 1.",
        ),
        Mutant(
            "not_shifted",
            _not_shifted,
            "The `- 1` at the end is missing, so the weight runs from 1 to 2 and not "
            "from 0 to 1.",
        ),
        Mutant(
            "falls",
            _falls,
            "The sign of the exponent is wrong: the weight runs from 0 to -1, which "
            "reverses the reversal. exp(-slope * p), with a minus.",
        ),
        Mutant(
            "tanh_without_half",
            _tanh,
            "2 / (1 + exp(-a)) - 1 equals tanh(a / 2), not tanh(a): you rise twice as "
            "fast.",
        ),
        Mutant(
            "linear",
            _linear,
            "You rise along a straight line. The schedule bends: 2 / (1 + exp(-slope * "
            "p)) - 1.",
        ),
        Mutant(
            "clamped",
            _clamped,
            "A step number, such as 25, was taken for the end of the training without "
            "a word. Raise a ValueError when progress is not in [0, 1].",
        ),
    ),
)
