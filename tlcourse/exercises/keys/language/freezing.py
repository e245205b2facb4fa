"""Freezing a body: what is right, and what still moves or no longer does."""

from __future__ import annotations

from torch import nn

from tlcourse import features, language
from tlcourse.exercises.spec import Key, Mutant


def _body(model: nn.Module) -> nn.Module:
    if model.base_model is model:
        raise ValueError("a bare encoder")
    return model.base_model


def _only_head_asks(model: nn.Module) -> nn.Module:
    """Set requires_grad as asked, and nothing else."""
    inside = set(_body(model).parameters())
    for p in model.parameters():
        p.requires_grad_(p not in inside)
    return model


def _eval_once(model: nn.Module) -> nn.Module:
    _only_head_asks(model).base_model.eval()
    return model


def _dropout_emptied(model: nn.Module) -> nn.Module:
    for module in _only_head_asks(model).base_model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def _only_dropout_held(model: nn.Module) -> nn.Module:
    for module in _only_head_asks(model).base_model.modules():
        if isinstance(module, nn.Dropout):
            features.freeze(module)
    return model


def _eval_when_it_runs(model: nn.Module) -> nn.Module:
    body = _eval_once(model).base_model
    body.register_forward_pre_hook(lambda module, _: module.eval() and None)
    return model


def _class_patched(model: nn.Module) -> nn.Module:
    body = _eval_once(model).base_model
    type(body).train = lambda self, mode=True: self  # type: ignore[method-assign]
    return model


def _only_eval(model: nn.Module) -> nn.Module:
    features.freeze(_body(model))
    return model.requires_grad_(True)


def _pooler_learns(model: nn.Module) -> nn.Module:
    language.freeze_all_but_head(model).base_model.pooler.requires_grad_(True)
    return model


def _classifier_only(model: nn.Module) -> nn.Module:
    _body(model)
    for name, p in model.named_parameters():
        p.requires_grad_(name.startswith("classifier."))
    features.freeze(model.base_model)
    return model


def _last_layer_only(model: nn.Module) -> nn.Module:
    language.freeze_all_but_head(model).pre_score.requires_grad_(False)
    return model


def _head_stays_frozen(model: nn.Module) -> nn.Module:
    features.freeze(_body(model))
    return model


def _all_frozen(model: nn.Module) -> nn.Module:
    _body(model)
    return features.freeze(model)


def _whole_model_in_eval(model: nn.Module) -> nn.Module:
    _only_head_asks(model).eval()
    model.train = lambda mode=True: model  # type: ignore[method-assign]
    return model


def _head_always_trains(model: nn.Module) -> nn.Module:
    features.freeze(_only_head_asks(model).base_model)

    def train(mode: bool = True) -> nn.Module:
        for child in model.children():
            child.train(True)
        return model

    model.train = train  # type: ignore[method-assign]
    return model


def _own_flag_lost(model: nn.Module) -> nn.Module:
    body = _eval_once(model).base_model

    def train(mode: bool = True) -> nn.Module:
        for child in model.children():
            if child is not body:
                child.train(mode)
        return model

    model.train = train  # type: ignore[method-assign]
    return model


def _train_returns_none(model: nn.Module) -> nn.Module:
    passes_on = language.freeze_all_but_head(model).train

    def train(mode: bool = True) -> None:
        passes_on(mode)

    model.train = train  # type: ignore[assignment, method-assign]
    return model


def _bare_encoder_accepted(model: nn.Module) -> nn.Module:
    if model.base_model is model:
        return features.freeze(model)
    return language.freeze_all_but_head(model)


freeze_all_but_head = Key(
    reference=language.freeze_all_but_head,
    mutants=(
        Mutant(
            "only_requires_grad",
            _only_head_asks,
            "requires_grad = False does not stop dropout: in train mode the frozen "
            "features of a text change from pass to pass. Hold the body in eval mode.",
        ),
        Mutant(
            "eval_once",
            _eval_once,
            "The next model.train(), which every training loop calls, switches the "
            "body's dropout on again. Give the body a train() that changes nothing.",
        ),
        Mutant(
            "dropout_emptied",
            _dropout_emptied,
            "You took the body's dropout out (p = 0, or another module): nothing can "
            "switch it on again when the body is thawed, and its modules are still in "
            "train mode. Hold them in eval mode instead.",
        ),
        Mutant(
            "only_dropout_held",
            _only_dropout_held,
            "Only the dropout modules stay in eval mode. The others still follow "
            "train(), and batch norm, for one, would move. Hold every module of the "
            "body.",
        ),
        Mutant(
            "eval_when_it_runs",
            _eval_when_it_runs,
            "The body is put in eval mode only when it is called: after model.train() "
            "its modules still say training = True. Give the body a train() that "
            "changes nothing.",
        ),
        Mutant(
            "class_patched",
            _class_patched,
            "You changed train() of the class, so every other model of this class is "
            "stuck as well. Change this one object: body.train = ...",
        ),
        Mutant(
            "only_eval",
            _only_eval,
            "Eval mode does not stop gradients: the body's parameters still ask for "
            "them. Set requires_grad = False on each.",
        ),
        Mutant(
            "pooler_learns",
            _pooler_learns,
            "The pooler still learns. It belongs to the body: freeze all of "
            "model.base_model, not only embeddings and layers.",
        ),
        Mutant(
            "classifier_by_name",
            _classifier_only,
            "Only parameters called `classifier` learn. Heads have other names as well "
            "(score, pre_classifier, out_proj): the head is all that is outside "
            "model.base_model.",
        ),
        Mutant(
            "last_layer_only",
            _last_layer_only,
            "Only the last linear layer learns, and a new layer below it stays random. "
            "The head is all that is outside model.base_model.",
        ),
        Mutant(
            "head_stays_frozen",
            _head_stays_frozen,
            "A head that was frozen before stays frozen, and nothing learns. Set "
            "requires_grad = True on its parameters.",
        ),
        Mutant(
            "all_frozen",
            _all_frozen,
            "Everything is frozen, the head too. Only the parameters of "
            "model.base_model shall be.",
        ),
        Mutant(
            "whole_model_in_eval",
            _whole_model_in_eval,
            "model.train() no longer reaches the head, so its dropout is dead. "
            "Override train() of the body only.",
        ),
        Mutant(
            "head_always_trains",
            _head_always_trains,
            "After model.eval() the head is still in train mode, and predictions are "
            "random. The head must follow both train() and eval().",
        ),
        Mutant(
            "own_flag_lost",
            _own_flag_lost,
            "train() and eval() reach the model's children, but model.training itself "
            "stays what it was; a forward() that reads it goes wrong. Set it, too.",
        ),
        Mutant(
            "train_returns_none",
            _train_returns_none,
            "model.train() returns None now, so model.train().to(device) fails. Return "
            "the module.",
        ),
        Mutant(
            "bare_encoder_accepted",
            _bare_encoder_accepted,
            "A bare encoder was frozen as a whole in silence: nothing can learn. Raise "
            "a ValueError when model.base_model is the model itself.",
        ),
    ),
)
