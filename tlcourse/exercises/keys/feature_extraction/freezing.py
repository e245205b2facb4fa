"""Freezing: what is right, and how networks thaw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from tlcourse import features
from tlcourse.exercises.spec import Key, Mutant


def _outside(model: nn.Module, names: Sequence[str]) -> Iterator[nn.Module]:
    """Modules outside the named parts; the names are checked first."""
    parts = dict(model.named_modules())
    if not set(names) <= set(parts):
        raise ValueError(f"unknown part in {names}")
    kept = {m for name in names for m in parts[name].modules()}
    return (m for m in model.modules() if m not in kept)


def _stop_gradients(modules: Iterator[nn.Module]) -> None:
    for module in modules:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)


def _only_requires_grad(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    _stop_gradients(_outside(model, except_for))
    return model


def _eval_once(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    _stop_gradients(_outside(model, except_for))
    for module in _outside(model, except_for):
        module.training = False
    return model


def _only_eval(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    asked = {p: p.requires_grad for p in model.parameters()}
    features.freeze(model, except_for)
    for parameter, flag in asked.items():
        parameter.requires_grad_(flag)
    return model


def _head_too(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    _outside(model, except_for)
    return features.freeze(model)


def _only_batchnorm(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    _stop_gradients(_outside(model, except_for))
    for module in _outside(model, except_for):
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            features.freeze(module)
    return model


def _momentum_zero(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    _stop_gradients(_outside(model, except_for))
    for module in _outside(model, except_for):
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 0.0
    return model


def _whole_model_in_eval(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    _stop_gradients(_outside(model, except_for))
    model.eval()
    model.train = lambda mode=True: model  # type: ignore[method-assign]
    return model


def _unknown_ignored(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    parts = dict(model.named_modules())
    return features.freeze(model, [name for name in except_for if name in parts])


def _top_level_only(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    _outside(model, except_for)
    return features.freeze(model, [n for n in except_for if "." not in n])


def _prefix_match(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    _outside(model, except_for)
    start = tuple(except_for)
    wider = [n for n, _ in model.named_modules() if n.startswith(start)]
    return features.freeze(model, wider)


def _thaws_kept(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    features.freeze(model, except_for)
    for name in except_for:
        model.get_submodule(name).requires_grad_(True)
    return model


def _kept_in_eval(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    return features.freeze(model, except_for).eval()


def _train_returns_none(model: nn.Module, except_for: Sequence[str]) -> nn.Module:
    passes_on = features.freeze(model, except_for).train

    def train(mode: bool = True) -> None:
        passes_on(mode)

    model.train = train  # type: ignore[assignment, method-assign]
    return model


freeze = Key(
    reference=features.freeze,
    mutants=(
        Mutant(
            "only_requires_grad",
            _only_requires_grad,
            "`requires_grad = False` stops the optimiser, not the forward pass: in "
            "train mode BatchNorm still normalises by the batch and moves its running "
            "statistics, and dropout still drops. Hold the frozen modules in eval "
            "mode.",
        ),
        Mutant(
            "eval_once",
            _eval_once,
            "eval() is undone by the next `model.train()`, which every training loop "
            "calls. Give each frozen module a `train` of its own that leaves its "
            "`training` flag at False.",
        ),
        Mutant(
            "only_eval",
            _only_eval,
            "Eval mode does not stop gradients: the optimiser still moves the body. "
            "Set `requires_grad = False` on its parameters as well.",
        ),
        Mutant(
            "head_too",
            _head_too,
            "Everything is frozen, the parts in `except_for` too, so nothing can "
            "learn. Leave their parameters and modules alone.",
        ),
        Mutant(
            "only_batchnorm",
            _only_batchnorm,
            "You hold BatchNorm in eval mode and forget dropout: the frozen features "
            "are random in train mode. Hold every frozen module, whatever its type.",
        ),
        Mutant(
            "momentum_zero",
            _momentum_zero,
            "momentum = 0 stops the running statistics, but in train mode BatchNorm "
            "still normalises by the batch: the features of a sample depend on its "
            "neighbours. The module must be in eval mode.",
        ),
        Mutant(
            "whole_model_in_eval",
            _whole_model_in_eval,
            "`model.train()` no longer reaches the kept part, so its BatchNorm stays "
            "in eval mode and never learns its statistics. Pass the mode on to the "
            "children; the frozen ones ignore it themselves.",
        ),
        Mutant(
            "unknown_ignored",
            _unknown_ignored,
            "A name in `except_for` that the model does not have was ignored: a typing "
            "mistake would freeze the head in silence. Raise a ValueError.",
        ),
        Mutant(
            "top_level_only",
            _top_level_only,
            "A dotted name such as `body.3` was not kept. Find parts by "
            "`model.get_submodule(name)`, which knows nested names.",
        ),
        Mutant(
            "prefix_match",
            _prefix_match,
            "`name.startswith(kept)` also keeps parts whose name only begins alike: "
            "`body2` when `body` is kept. Compare whole names, or use "
            "`model.get_submodule(name).modules()`.",
        ),
        Mutant(
            "thaws_kept",
            _thaws_kept,
            "You set `requires_grad = True` in the kept parts, and thaw what their "
            "owner had frozen there. Set it to False outside, and touch nothing else.",
        ),
        Mutant(
            "kept_in_eval",
            _kept_in_eval,
            "`model.eval()` puts the kept parts into eval mode too, until somebody "
            "calls train(). Change the mode of the frozen modules only.",
        ),
        Mutant(
            "train_returns_none",
            _train_returns_none,
            "`model.train()` returns None now, so that `model.train().to(device)` "
            "fails, and so does `model = model.eval()`. Return the module.",
        ),
    ),
)
