"""What is asked about the body: freezing it and reading it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from tlcourse.exercises.probes.feature_extraction import networks as nets
from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_STAYS, _KEPT = "stays frozen after .train()", "the kept part still learns"


def _make_freeze(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, kind: str, kept: list[str], **more: Any) -> Case:
        inputs = {
            "kind": kind,
            "kept": kept,
            "calls_train": True,
            "frozen_before": "",
            "net_seed": int(rng.integers(2**31)),
            "x": normal(rng, 8, 1, 8, 8),
            "y": rng.integers(0, 3, 8),
        }
        return Case(group, about, inputs | more)

    return [
        case("parameters", "linear layers, two steps", "plain", ["head"]),
        case("parameters", "nothing kept: no part learns", "plain", []),
        case(
            "parameters",
            "BatchNorm, steps right after freezing",
            "norm",
            ["head"],
            calls_train=False,
        ),  # fmt: skip
        case(_STAYS, "BatchNorm, steps after model.train()", "norm", ["head"]),
        case(_STAYS, "dropout in the body", "dropout", ["head"]),
        case(_KEPT, "a head with its own BatchNorm", "norm_head", ["head"]),
        case(
            _KEPT,
            "a head in train mode, steps right after freezing",
            "norm_head",
            ["head"],
            calls_train=False,
        ),
        case(
            _KEPT,
            "a head whose bias its owner had frozen",
            "norm_head",
            ["head"],
            frozen_before="head.1.bias",
        ),
        case(_KEPT, "parts called body and body2", "twins", ["body"]),
        case(
            _KEPT, "a nested part, kept by its dotted name", "norm", ["body.3", "head"]
        ),
        case(_KEPT, "the name of a part that does not exist", "plain", ["haed"]),
    ]


def _observe_freeze(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    model = nets.build(given["kind"], given["net_seed"]).train()
    if given["frozen_before"]:
        model.get_parameter(given["frozen_before"]).requires_grad = False
    returned = candidate(model, list(given["kept"]))
    switched = _switch(model, given["kept"]) if given["calls_train"] else {}
    torch.manual_seed(0)
    nets.training_steps(model, given["x"], given["y"])
    torch.manual_seed(0)
    state = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    return {
        "the model is returned": returned is model,
        **switched.get(case.group, {}),
        "body parameters": nets.flat(state, "body", statistics=False),
        "body statistics": nets.flat(state, "body", statistics=True),
        "head parameters": nets.flat(state, "head", statistics=False),
        "head statistics": nets.flat(state, "head", statistics=True),
        "outputs in train mode": model(given["x"]),
    }


def _switch(model: nn.Module, names: list[str]) -> Mapping[str, Seen]:
    """Call eval() and train(), and see by group what the parts make of it."""
    kept = nets.parts(model, names)
    # The model's own flag says nothing about its parts: it is left out.
    frozen = [m for m in model.modules() if m is not model and m not in kept]
    model.eval()
    still_training = sum(m.training for m in kept)
    returned = model.train()
    return {
        _STAYS: {"frozen modules in train mode": sum(m.training for m in frozen)},
        _KEPT: {
            "model.train() returns the model": returned is model,
            "kept modules in train mode after eval()": still_training,
            "kept modules in eval mode after train()": sum(
                not m.training for m in kept
            ),
        },
    }


freeze = Probe(
    id="feature_extraction.freeze",
    title="Freeze a network so that it stays frozen",
    points=4,
    minutes=25,
    level="medium",
    hints=(
        "Which two things may change in a layer during training: what the optimiser "
        "moves, and what the forward pass moves? Who calls model.train() next?",
        "For every parameter outside the kept parts: requires_grad = False. For every "
        "module outside them: training = False now and after each train(True). A "
        "module's train() sets its own flag and calls train() of its children.",
        "kept = {m for name in except_for for m in model.get_submodule(name).modules()}"
        "; for each module not in kept: module.training = False and module.train = a "
        "function that calls child.train(mode) for each child, leaves its own flag "
        "alone and returns the module. Check the names first (ValueError).",
    ),
    make=_make_freeze,
    observe=_observe_freeze,
    forbid=("tlcourse.features.freeze",),
)


_FEATURES, _TRACE, _MEMORY = "features", "leaves no trace", "batches without a graph"


def _make_extract(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, layer: str, size: int, **more: Any
    ) -> Case:
        inputs = {
            "kind": "dropout",
            "layer": layer,
            "batch_size": size,
            "net_seed": int(rng.integers(2**31)),
            "x": normal(rng, n, 1, 8, 8),
            "fails": False,
        }
        return Case(group, about, inputs | more)

    return [
        case(_FEATURES, "11 samples in batches of 4, a vector layer", 11, "body.6", 4),
        case(_FEATURES, "8 samples in batches of 4, a map", 8, "body.0", 4),
        case(_FEATURES, "one sample, larger batch", 1, "body.1", 16),
        case(_TRACE, "a model with one part already in eval mode", 6, "body.1", 4),
        case(
            _TRACE,
            "a model that raises in the forward pass",
            6,
            "body.1",
            4,
            fails=True,
        ),  # fmt: skip
        case(_MEMORY, "10 samples in batches of 4", 10, "body.6", 4),
    ]


def _observe_extract(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    model = nets.build(given["kind"], given["net_seed"]).train()
    model.body[1].eval()  # one BatchNorm that its owner holds in eval mode
    spy = nets.Spy(model.body[0], fails=given["fails"])
    model.body[0] = spy
    args = model, given["x"], given["layer"], given["batch_size"]
    with torch.enable_grad():  # whatever a case before has left
        if case.group == _TRACE:
            return _traces(candidate, *args)
        features = candidate(*args)
    if case.group == _FEATURES:
        return {"features": features}
    return {
        "a graph hangs on the features": bool(features.requires_grad),
        "a graph was recorded in the forward pass": any(spy.recorded),
        "largest batch": max(spy.sizes, default=0),
    }


def _traces(candidate: Candidate, model: nn.Module, *args: Any) -> Seen:
    """What a model, with a hook of its owner's, looks like after the call."""
    model.get_submodule(args[1]).register_forward_hook(lambda *_: None)
    modes, asking, hooks = nets.modes(model), nets.asking(model), nets.hooks(model)
    statistics = nets.flat(dict(model.named_buffers()), "body", statistics=True)
    error = ""
    try:
        candidate(model, *args)
    except nets.Refused:
        error = "the model's own error"
    after = nets.flat(dict(model.named_buffers()), "body", statistics=True)
    return {
        "the error that comes out": error,
        "hooks more than before": nets.hooks(model) - hooks,
        "modules in another mode": nets.changed(modes, nets.modes(model)),
        "parameters with another requires_grad": nets.changed(
            asking, nets.asking(model)
        ),
        "gradients are still recorded": torch.is_grad_enabled(),
        "running statistics moved": not torch.equal(statistics, after),
    }


extract_features = Probe(
    id="feature_extraction.extract_features",
    title="Read the features of a layer by hook",
    points=4,
    minutes=25,
    level="medium",
    hints=(
        "What does the model look like after your function: its mode, its hooks, its "
        "running statistics? And when it raised an error half-way?",
        "handle = model.get_submodule(layer).register_forward_hook(f) calls "
        "f(module, args, output) at every pass; handle.remove() ends it. A map "
        "(b, c, h, w) becomes (b, c) by the mean over h and w.",
        "Remember m.training of every m in model.modules(), then model.eval(), then "
        "try: with torch.no_grad(): for batch in x.split(batch_size): model(batch), "
        "pool and append what the hook saw; finally: remove the hook and give every "
        "module its mode back. Return torch.cat of the parts.",
    ),
    make=_make_extract,
    observe=_observe_extract,
    forbid=("tlcourse.features.extract_features",),
    forgeable=True,
)
