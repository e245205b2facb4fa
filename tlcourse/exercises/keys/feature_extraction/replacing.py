"""Replacing a head: what is right, and the heads that do not fit."""

from __future__ import annotations

from torch import nn

from tlcourse import models
from tlcourse.exercises.spec import Key, Mutant


def _linears(model: nn.Module) -> list[str]:
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    if not found:
        raise ValueError("no linear layer")
    return found


def _put(model: nn.Module, name: str, new: nn.Module) -> nn.Module:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)
    return model


def _like(old: nn.Module, n_in: int, n_out: int) -> nn.Linear:
    return nn.Linear(n_in, n_out, device=old.weight.device, dtype=old.weight.dtype)


def _wrong_in_features(model: nn.Module, num_classes: int) -> nn.Module:
    name = _linears(model)[-1]
    return _put(model, name, _like(model.get_submodule(name), 512, num_classes))


def _keeps_old_weight(model: nn.Module, num_classes: int) -> nn.Module:
    model.get_submodule(_linears(model)[-1]).out_features = num_classes
    return model


def _first_linear(model: nn.Module, num_classes: int) -> nn.Module:
    name = _linears(model)[0]
    old = model.get_submodule(name)
    return _put(model, name, _like(old, old.in_features, num_classes))


def _forgets_dtype(model: nn.Module, num_classes: int) -> nn.Module:
    name = _linears(model)[-1]
    old = model.get_submodule(name)
    new = nn.Linear(old.in_features, num_classes, device=old.weight.device)
    return _put(model, name, new)


def _forgets_device(model: nn.Module, num_classes: int) -> nn.Module:
    name = _linears(model)[-1]
    old = model.get_submodule(name)
    return _put(
        model, name, nn.Linear(old.in_features, num_classes, dtype=old.weight.dtype)
    )


def _stacked(model: nn.Module, num_classes: int) -> nn.Module:
    name = _linears(model)[-1]
    old = model.get_submodule(name)
    new = nn.Sequential(old, _like(old, old.out_features, num_classes))
    return _put(model, name, new)


def _stays_frozen(model: nn.Module, num_classes: int) -> nn.Module:
    name = _linears(model)[-1]
    asked = model.get_submodule(name).weight.requires_grad
    models.replace_head(model, num_classes)
    model.get_submodule(name).requires_grad_(asked)
    return model


def _thaws_body(model: nn.Module, num_classes: int) -> nn.Module:
    return models.replace_head(model, num_classes).requires_grad_(True)


def _only_fc(model: nn.Module, num_classes: int) -> nn.Module:
    model.fc = _like(model.fc, model.fc.in_features, num_classes)
    return model


replace_head = Key(
    reference=models.replace_head,
    mutants=(
        Mutant(
            "wrong_in_features",
            _wrong_in_features,
            "The new head expects a fixed number of features, and this network has "
            "another. Read it from the old head: `old.in_features`.",
        ),
        Mutant(
            "keeps_old_weight",
            _keeps_old_weight,
            "Setting `out_features` changes a number, not the weight matrix: the "
            "logits keep their old shape. Build a new nn.Linear and put it in place.",
        ),
        Mutant(
            "first_linear",
            _first_linear,
            "You replace the first linear layer, which may be part of the body or of a "
            "deeper classifier. The head is the last one.",
        ),
        Mutant(
            "only_fc",
            _only_fc,
            "The name `fc` is one family's habit; others say head, classifier.2 or "
            "heads.head. Search the modules for the last nn.Linear.",
        ),
        Mutant(
            "forgets_dtype",
            _forgets_dtype,
            "The new head is float32 in a network of another dtype, so the matrix "
            "product fails. Pass `dtype=old.weight.dtype`.",
        ),
        Mutant(
            "forgets_device",
            _forgets_device,
            "The new head lies on the CPU, the network elsewhere. Pass "
            "`device=old.weight.device`.",
        ),
        Mutant(
            "stacked",
            _stacked,
            "The new layer sits on top of the old classifier: features are squeezed "
            "through the logits of the old task. Put it in place of the old layer.",
        ),
        Mutant(
            "stays_frozen",
            _stays_frozen,
            "The new head copies `requires_grad` from the old one: in a frozen network "
            "it could never learn. A fresh nn.Linear trains; leave it so.",
        ),
        Mutant(
            "thaws_body",
            _thaws_body,
            "`model.requires_grad_(True)` also thaws the body that was frozen. Touch "
            "only the new head.",
        ),
    ),
)
