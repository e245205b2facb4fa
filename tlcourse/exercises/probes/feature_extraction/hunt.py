"""A probe on cached features with five mistakes to find."""

from __future__ import annotations

import numpy as np
import torch

from tlcourse.exercises.probes.feature_extraction import networks as nets
from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Limits, Probe

_ALONE = "a prediction does not depend on other test samples"
_AS_BEFORE = "the backbone is as before"


def _make_hunt(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, m: int, c: int) -> Case:
        return Case(group, about, {
            "net_seed": int(rng.integers(2**31)),
            "x_train": normal(rng, n, 1, 8, 8),
            "y_train": rng.permutation(np.arange(n) % c),
            "x_test": normal(rng, m, 1, 8, 8) + 0.5,
            "num_classes": c,
        })  # fmt: skip

    return [
        case("logits", "24 training and 9 test samples", 24, 9, 3),
        case("logits", "41 training and 20 test samples", 41, 20, 4),
        case(_ALONE, "all 8 test samples, then 3 of them", 30, 8, 3),
        case(_AS_BEFORE, "statistics, modes and requires_grad", 20, 10, 3),
    ]


def _observe_hunt(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    backbone = nets.build("dropout", given["net_seed"]).body.train()
    backbone[1].eval()  # one BatchNorm that its owner holds in eval mode
    spy = backbone[0] = nets.Spy(backbone[0], fails=False)
    modes, asking = nets.modes(backbone), nets.asking(backbone)
    before = nets.flat(dict(backbone.named_buffers()), "", statistics=True)
    names = ("x_train", "y_train", "x_test", "num_classes")
    logits = candidate(backbone, *(given[name] for name in names))
    if case.group == "logits":
        return {"logits": logits}
    if case.group == _ALONE:
        given["x_test"] = given["x_test"][:3]
        fewer = candidate(backbone, *(given[name] for name in names))
        change = (logits[:3] - fewer).abs().max()
        return {"the first three logits changed": bool(change > 1e-4)}
    after = nets.flat(dict(backbone.named_buffers()), "", statistics=True)
    return {
        "running statistics moved": not torch.equal(before, after),
        "modules in another mode": nets.changed(modes, nets.modes(backbone)),
        "parameters with another requires_grad": nets.changed(
            asking, nets.asking(backbone)
        ),
        "a graph hangs on the logits": bool(logits.requires_grad),
        "a graph was recorded in the backbone": any(spy.recorded),
    }


bug_hunt = Probe(
    id="feature_extraction.bug_hunt",
    title="Bug hunt: a probe on cached features",
    points=5,
    minutes=30,
    level="hard",
    hints=(
        "Write down for every line which samples it may look at, in which order, and "
        "in which mode the network is. There are five mistakes.",
        "Cached features must be a function of the picture alone: same mode, same "
        "order as the labels, no random change. What is fitted, is fitted on training "
        "samples. And gradients are not needed anywhere.",
        "Look at: train() or eval() while caching; torch.no_grad(); the permutation "
        "that reaches x but not y; the noise added before caching; whose mean and "
        "standard deviation scale the test features. Give the mode back at the end.",
    ),
    make=_make_hunt,
    observe=_observe_hunt,
    forbid=("tlcourse.features.extract_features", "tlcourse.features.ridge_probe"),
    limits=Limits(seconds=10.0),
    forgeable=True,
)
