"""What is asked about heads: ridge, neighbours, and a new classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse.exercises.probes.feature_extraction import networks as nets
from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe


def _make_ridge(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, d: int, c: int, penalty: float, absent: int = 0
    ) -> Case:
        z = normal(rng, n, d) + rng.uniform(0.5, 1.5, d).astype(np.float32)
        # Unequal classes, each present: equal ones would hide a wrong bias.
        share = np.arange(1, c - absent + 1, dtype=np.float64)
        y = rng.choice(c - absent, n, p=share / share.sum())
        y[: c - absent] = np.arange(c - absent)
        inputs = {"z": z, "y": y, "num_classes": c, "penalty": penalty}
        return Case(group, about, inputs)

    return [
        case("more samples than features", "40 samples, 6 features", 40, 6, 3, 2.0),
        case("more samples than features", "a strong penalty", 30, 4, 3, 50.0),
        case("fewer samples than features", "12 samples, 30 features", 12, 30, 3, 1.0),
        case("edge cases", "the last class has no sample", 20, 5, 4, 1.0, absent=1),
        case("edge cases", "a penalty of 0", 20, 5, 3, 0.0),
        case("edge cases", "a penalty of -1", 20, 5, 3, -1.0),
    ]


def _observe_ridge(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    args = (given[name] for name in ("z", "y", "num_classes", "penalty"))
    weight, bias = candidate(*args)
    return {"weight": weight, "bias": bias}


ridge_probe = Probe(
    id="feature_extraction.ridge_probe",
    title="A ridge probe in closed form",
    points=3,
    minutes=20,
    level="medium",
    hints=(
        "If every target grew by 1, which parameter should take that up, and would a "
        "penalty let it?",
        "Set the gradient in b to zero: b = mean(t) - W mean(z). Put that in: left is "
        "ridge on centred features and targets, W.T = (Z'Z + penalty I)^-1 Z'T.",
        "t = one_hot(y, num_classes).to(z.dtype); zc = z - z.mean(0); "
        "tc = t - t.mean(0); w = torch.linalg.solve(zc.T @ zc + penalty * eye(d), "
        "zc.T @ tc); return w.T and t.mean(0) - z.mean(0) @ w. Refuse penalty <= 0.",
    ),
    make=_make_ridge,
    observe=_observe_ridge,
    forbid=("tlcourse.features.ridge_probe",),
)


def _make_knn(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, m: int, c: int, k: int) -> Case:
        centres = rng.normal(0, 1, (c, 6))
        y = rng.permutation(np.arange(n) % c)
        # Lengths differ widely, so that cosine, dot product and distance disagree.
        length = rng.lognormal(0, 0.8, (n, 1))
        z = (centres[y] + 1.2 * rng.normal(0, 1, (n, 6))) * length
        queries = centres[rng.integers(0, c, m)] + 1.2 * rng.normal(0, 1, (m, 6))
        queries = queries * rng.lognormal(0, 0.8, (m, 1))
        return Case(group, about, {
            "z_train": z.astype(np.float32), "y_train": y, "k": k,
            "z_test": queries.astype(np.float32) if m else None,
        })  # fmt: skip

    asked_again = case("votes", "the training samples as queries", 40, 40, 4, 1)
    asked_again.inputs["z_test"] = asked_again.inputs["z_train"].copy()
    twins = Case("leave one out", "two equal samples of different classes", {
        "z_train": np.array([[1, 0], [1, 0], [0, 1], [0.1, 1]], np.float32),
        "y_train": np.array([0, 1, 2, 2]), "k": 1, "z_test": None,
    })  # fmt: skip
    bounds = "bounds of k"
    return [
        case("votes", "the nearest neighbour alone", 80, 60, 4, 1),
        case("votes", "5 neighbours, 2 classes", 80, 60, 2, 5),
        asked_again,
        case("ties", "2 neighbours, 5 classes", 80, 80, 5, 2),
        case("ties", "4 neighbours, 4 classes", 80, 80, 4, 4),
        case("leave one out", "no queries, 1 neighbour", 60, 0, 3, 1),
        case("leave one out", "no queries, 5 neighbours", 60, 0, 2, 5),
        twins,
        case(bounds, "queries, all samples vote", 7, 5, 3, 7),
        case(bounds, "queries, more neighbours than samples", 7, 5, 3, 8),
        case(bounds, "no queries, more neighbours than others", 6, 0, 3, 6),
        case(bounds, "no neighbour", 7, 5, 3, 0),
    ]


def _observe_knn(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    names = ("z_train", "y_train", "z_test", "k")
    return {"classes": candidate(*(given[name] for name in names))}


knn_predict = Probe(
    id="feature_extraction.knn_predict",
    title="Classify by nearest neighbours",
    points=3,
    minutes=20,
    level="easy",
    hints=(
        "Who is the nearest neighbour of a sample in a set that holds the sample?",
        "cos(u, v) = u.v / (|u| |v|): scale every row to length 1, and one matrix "
        "product gives all similarities (m, n). Vote among the k largest of each row.",
        "s = normalize(q) @ normalize(z).T; for leave-one-out fill the diagonal with "
        "-inf; votes = y[s.topk(k).indices]; counts = (votes[:, :, None] == "
        "votes[:, None, :]).sum(2); argmax takes the first largest count, and votes "
        "are sorted from the nearest on. Check k first (ValueError).",
    ),
    make=_make_knn,
    observe=_observe_knn,
    forbid=(
        "tlcourse.features.knn_predict",
        "tlcourse.features.nearest",
    ),
    forgeable=True,
)


def _make_replace(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, kind: str, **more: Any) -> Case:
        inputs = {
            "kind": kind,
            "net_seed": int(rng.integers(2**31)),
            "num_classes": int(rng.integers(5, 12)),
            "dtype": "float32",
            "device": "cpu",
            "frozen": False,
        }
        return Case(group, about, inputs | more)

    place = "dtype and device"
    return [
        case("the right layer", "a network whose classifier is called fc", "fc"),
        case("the right layer", "an earlier linear layer inside the body", "gated"),
        case("the right layer", "a classifier of two linear layers", "deep_head"),
        case("the right layer", "a classifier two parts deep", "nested"),
        case("what trains", "a frozen network", "fc", frozen=True),
        case(place, "a float64 network", "fc", dtype="float64"),
        case(place, "a network on another device (meta)", "fc", device="meta"),
        case("the right layer", "a network without a linear layer", "no_linear"),
    ]


def _observe_replace(candidate: Candidate, case: Case) -> Seen:
    given = case.inputs
    dtype, device = getattr(torch, given["dtype"]), given["device"]
    model = nets.build(given["kind"], given["net_seed"]).to(device, dtype)
    if given["frozen"]:
        model.requires_grad_(False)
    model.train().body[1].eval()  # one BatchNorm that its owner holds in eval mode
    before, modes = _body(model), _modes(model)
    returned = candidate(model, given["num_classes"])
    same = before == _body(model)  # asked before a pass moves the statistics
    new = [p for name, p in model.named_parameters() if name.startswith(nets.LAST)]
    outputs = [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]
    x = torch.zeros(2, 1, 8, 8, dtype=dtype, device=device)
    return {
        "the model is returned": returned is model,
        "shape of the logits": _shape_of_logits(model, x),
        "out_features of the last linear layer": outputs[-1] if outputs else 0,
        "body as before": same,
        # One group only: a mode that is changed should not cost all points.
        **({"modes as before": modes == _modes(model)} if given["frozen"] else {}),
        "new head trains": all(p.requires_grad for p in new),
        "tensors in the new head": len(new),
        "its dtype": ", ".join({str(p.dtype) for p in new}),
        "its device": ", ".join({p.device.type for p in new}),
    }


def _body(model: nn.Module) -> dict[str, Any]:
    """What identifies the parameters and buffers outside the last layer."""
    return {
        name: (id(p), p.requires_grad, "meta" if p.is_meta else p.sum().item())
        for name, p in (*model.named_parameters(), *model.named_buffers())
        if not name.startswith(nets.LAST)
    }


def _modes(model: nn.Module) -> dict[str, bool]:
    """``training`` of each module but the last layer."""
    return {
        name: module.training
        for name, module in model.named_modules()
        if not name.startswith(nets.LAST)
    }


def _shape_of_logits(model: nn.Module, x: Tensor) -> str:
    if x.is_meta:  # a pass there imports torch's compiler, which takes seconds
        return "not run on meta"
    try:
        return str(tuple(model(x).shape))
    except RuntimeError:
        return "the forward pass fails"


replace_head = Probe(
    id="feature_extraction.replace_head",
    title="Replace the head of a network",
    points=3,
    minutes=20,
    level="easy",
    hints=(
        "How many numbers does the old classifier take, and where does the model keep "
        "it: under which name, in which part?",
        "The head is the last nn.Linear in model.named_modules(). The new one has the "
        "old in_features, num_classes outputs, and the device and dtype of old.weight.",
        "names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]; "
        "parent, _, child = names[-1].rpartition('.'); setattr(model.get_submodule("
        "parent), child, nn.Linear(old.in_features, num_classes, device=..., "
        "dtype=...)); return model. No linear layer: ValueError.",
    ),
    make=_make_replace,
    observe=_observe_replace,
    forbid=("tlcourse.models.replace_head",),
)
