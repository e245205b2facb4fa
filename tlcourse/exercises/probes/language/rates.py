"""What is asked about layer-wise learning rates and frozen bodies."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.exercises.probes.language import networks as nets
from tlcourse.exercises.probes.language.common import words
from tlcourse.exercises.probing import Candidate, Seen, tensors
from tlcourse.exercises.spec import Case, Probe

_RATES, _ONCE, _FROZEN = "rates", "every parameter once", "frozen parameters"


def _make_llrd(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, kind: str, frozen: str = "none") -> Case:
        return Case(group, about, {
            "kind": kind,
            "lr": float(rng.uniform(1e-5, 1e-3)),
            "decay": float(rng.uniform(0.5, 0.95)),
            "frozen": frozen,
        })  # fmt: skip

    return [
        case(
            _RATES, "embeddings, 3 layers, pooler, classifier", "classifier, 3 layers"
        ),
        case(_RATES, "12 layers", "classifier, 12 layers"),
        case(_RATES, "a bare encoder of 3 layers", "bare encoder"),
        case(_RATES, "a head with numbered layers of its own", "numbered head"),
        case(_RATES, "an output layer tied to the word embeddings", "tied"),
        case(_RATES, "layer 0 is frozen", "bare encoder", "encoder.layer.0."),
        case(_RATES, "the top layer is frozen", "bare encoder", "encoder.layer.2."),
        case(_ONCE, "3 layers", "classifier, 3 layers"),
        case(_ONCE, "an output layer tied to the word embeddings", "tied"),
        case(
            _FROZEN,
            "embeddings and layer 0 are frozen",
            "classifier, 3 layers",
            "bert.embeddings. bert.encoder.layer.0.",
        ),
    ]


def _observe_llrd(candidate: Candidate, case: Case) -> Seen:
    given = case.inputs
    model = nets.build(given["kind"], 0)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(given["frozen"].split())))
    asked = {id(p): p.requires_grad for p in model.parameters()}
    groups = candidate(model, given["lr"], given["decay"])
    listed = [(p, float(g["lr"])) for g in groups for p in _params(g)]
    found: dict[int, list[float]] = {id(p): [] for p in model.parameters()}
    strangers = sum(id(p) not in found for p, _ in listed)
    for parameter, rate in listed:
        found.get(id(parameter), []).append(rate / given["lr"])
    times = np.array([len(rates) for rates in found.values()])
    if case.group != _RATES:
        return {
            "how often each parameter is listed": times,
            "tensors that are no parameters": strangers,
            "one rate for all": len({rate for _, rate in listed}) < 2,
        }
    return {
        "rate / lr of each parameter": np.array(
            [rates[0] if rates else np.nan for i, rates in found.items() if asked[i]]
        )
    }


def _params(group: dict[str, Any]) -> Iterable[Tensor]:
    """What an optimiser would take: tensors, or one tensor."""
    params = group["params"]
    return [params] if isinstance(params, Tensor) else list(params)


llrd_groups = Probe(
    id="language.llrd_groups",
    title="Layer-wise learning-rate decay",
    points=4,
    minutes=20,
    level="medium",
    hints=(
        "Which number in a parameter's name says how deep it sits? What is the number "
        "of layers of this model, and which parameters have no such number?",
        "Layer i of L has lr * decay ** (L - i), the embeddings lr * decay ** (L + 1), "
        "and all the rest, pooler and classifier, lr. Layer 1 is not layer 11.",
        "depth = re.search(r'encoder\\.layer\\.(\\d+)\\.', name); L = 1 + the largest "
        "number over all parameters; then for each name, p of model.named_parameters() "
        "with p.requires_grad append {'params': [p], 'lr': ...}.",
    ),
    make=_make_llrd,
    observe=_observe_llrd,
    forbid=("tlcourse.language.llrd_groups",),
    forgeable=True,
)


_PARAMETERS, _STILL = "only the head learns", "the body's dropout stays off"
_HEAD, _REFUSES = "the head is alive", "refuses a bare encoder"


def _make_freeze(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, kind: str, **more: Any) -> Case:
        ids, mask = words(rng, [3, 7, 5, 6], nets.VOCAB)
        return Case(group, about, {
            "kind": kind,
            "frozen_before": False,
            "switches": True,
            "net_seed": int(rng.integers(2**31)),
            "ids": ids,
            "mask": mask,
            "y": rng.integers(0, 3, 4),
        } | more)  # fmt: skip

    return [
        case(_PARAMETERS, "body `bert`, head `classifier`", "bert"),
        case(_PARAMETERS, "body `backbone`, a head of two layers", "two-layer head"),
        case(_PARAMETERS, "all was frozen before", "bert", frozen_before=True),
        case(_STILL, "right after freezing", "bert", switches=False),
        case(_STILL, "after model.train()", "bert"),
        case(_STILL, "after model.eval() and model.train()", "two-layer head"),
        case(_HEAD, "after model.train() and model.eval()", "bert"),
        case(_HEAD, "a head of two layers", "two-layer head"),
        case(_REFUSES, "an encoder without a head", "bare encoder"),
    ]


def _observe_freeze(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    model = nets.build(given["kind"], given["net_seed"]).train()
    if given["frozen_before"]:
        model.requires_grad_(False)
    neighbour = copy.deepcopy(model) if case.group == _STILL else nn.Identity()
    returned = candidate(model)
    same = {"the model is returned": returned is model}
    if case.group == _PARAMETERS:
        return same | _trained(model, given)
    body = model.base_model
    outside = [m for m in model.modules() if m not in set(body.modules())]
    alive = 0
    if given["switches"]:
        model.eval()
        alive = sum(m.training for m in outside)
        returned = model.train()
    if case.group == _HEAD:
        return same | {
            "body parameters that ask for a gradient": sum(
                p.requires_grad for p in body.parameters()
            ),
            "model.train() returns the model": returned is model,
            "modules outside the body in train mode after eval()": alive,
            "modules outside the body in eval mode after train()": sum(
                not m.training for m in outside
            ),
        }
    training = sum(m.training for m in body.modules())
    first, second = (
        body(given["ids"], given["mask"]).last_hidden_state for _ in range(2)
    )
    return same | {
        "body modules in train mode": training,
        "two passes agree": torch.equal(first, second),
        "dropout modules in the body": sum(
            isinstance(m, nn.Dropout) and m.p > 0 for m in body.modules()
        ),
        "modules of another model that ignore eval()": sum(
            m.training for m in neighbour.eval().modules()
        ),
    }


def _trained(model: nn.Module, given: dict[str, Any]) -> dict[str, Any]:
    """Body and head after two steps of SGD; by hand, as optimisers load slowly.

    The body's dropout is switched off here: another group of cases is about it.
    """
    model.train()
    for module in model.base_model.modules():
        module.training = False
    for step in range(2):
        torch.manual_seed(step)
        loss = F.cross_entropy(model(given["ids"], given["mask"]).logits, given["y"])
        learning = [p for p in model.parameters() if p.requires_grad]
        if not learning:
            break
        gradients = torch.autograd.grad(loss, learning, allow_unused=True)
        for p, g in zip(learning, gradients, strict=True):
            p.data -= 0 if g is None else 0.5 * g
    inside = set(model.base_model.parameters())
    body = [p.detach().flatten() for p in model.parameters() if p in inside]
    head = [p.detach().flatten() for p in model.parameters() if p not in inside]
    return {"body after two steps": torch.cat(body), "head": torch.cat(head)}


freeze_all_but_head = Probe(
    id="language.freeze_all_but_head",
    title="Freeze the body of a text classifier",
    points=4,
    minutes=20,
    level="medium",
    hints=(
        "Where does a Hugging Face classifier keep its body, whatever its name? Which "
        "of its modules still act at random when only requires_grad is False?",
        "For p in model.base_model.parameters(): requires_grad = False; for all other "
        "parameters True. Each module of the body: training = False now, and a train() "
        "that leaves it so.",
        "body = model.base_model; raise ValueError if body is model. inside = "
        "set(body.parameters()); for p in model.parameters(): p.requires_grad = p not "
        "in inside. body.eval(); body.train = lambda mode=True: body. model.train() "
        "calls the train() of its children, so this is enough.",
    ),
    make=_make_freeze,
    observe=_observe_freeze,
    forbid=("tlcourse.language.freeze_all_but_head", "tlcourse.features.freeze"),
    forgeable=True,
)
