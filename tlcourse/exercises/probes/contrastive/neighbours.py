"""What is asked about the nearest-neighbour evaluation of embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlcourse.exercises.probes.contrastive.common import DEFAULTS, stretched
from tlcourse.exercises.probing import REFUSES, Candidate, Seen, number, tensors
from tlcourse.exercises.spec import Case, Probe

_OPTIONS = ("k", "temperature")

# Who lies near each of three queries: (class, how many, cosine). Every way of weighing
# votes lets other classes win.
_EIGHT = (
    ((0, 3, 0.95), (1, 4, 0.5), (2, 1, 0.2)),
    ((0, 4, 0.5), (1, 4, 0.9)),
    ((0, 3, 0.9), (1, 5, 0.5)),
)
_TWENTY = (
    ((0, 5, 0.95), (1, 15, 0.93)),
    ((0, 1, 0.95), (1, 19, 0.7)),
    ((0, 1, 0.95), (1, 19, 0.75)),
)
# At temperature 0.005: the second query's neighbours are all far away.
_FAR = (((0, 3, 0.9), (1, 1, 0.5)), ((0, 1, 0.2), (1, 3, 0.3)), ((0, 1, 0.4),
        (1, 3, 0.45)))  # fmt: skip


def _make_knn(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, shares: tuple[int, ...], m: int, *options: float
    ) -> Case:
        named = dict(zip(_OPTIONS, options, strict=False))
        inputs = _drawn(rng, shares, m) | named
        while not _is_clear(inputs):
            inputs = _drawn(rng, shares, m) | named
        return Case(group, about, inputs)

    def planned(
        group: str, about: str, plans: tuple[Any, ...], *options: float
    ) -> Case:
        named = dict(zip(_OPTIONS, options, strict=False))
        return Case(group, about, _planned(rng, plans) | named)

    votes, share, few = "weighted votes", "accuracy", (5, 5)
    return [
        case(votes, "8 of 60 samples vote, 3 classes", (20, 20, 20), 40, 8, 0.1),
        planned(votes, "8 of 24 samples vote, near and far", _EIGHT, 8, 0.1),
        case(votes, "4 of 48 samples vote, 4 classes", (12,) * 4, 40, 4, 0.5),
        case(votes, "all of 8, 8 and 8 samples vote", (8, 8, 8), 60, 24, 0.3),
        case(votes, "all of 16, 8 and 4 samples vote", (16, 8, 4), 60, 28, 0.3),
        case("small temperatures", "temperature 0.005", (20,) * 3, 40, 7, 0.005),
        planned("small temperatures", "near and far queries", _FAR, 4, 0.005),
        case(share, "one neighbour", (14, 13, 13), 30, 1, 0.1),
        _with_gaps(
            case(share, "classes that training lacks", (14, 13, 13), 30, 5, 0.2)
        ),
        planned(DEFAULTS, "k and temperature are not given", _TWENTY),
        case(REFUSES, "11 neighbours of 10 samples", few, 4, 11, 0.1),
        case(REFUSES, "no neighbour", few, 4, 0, 0.1),
        case(REFUSES, "temperature 0", few, 4, 3, 0.0),
        case(REFUSES, "temperature -1", few, 4, 3, -1.0),
    ]


def _with_gaps(case: Case) -> Case:
    """The classes become 0, 2 and 5; some queries are of the classes 1 and 7."""
    for name in ("y_train", "y_test"):
        case.inputs[name][:] = np.array([0, 2, 5])[case.inputs[name]]
    case.inputs["y_test"][::4] = 7
    case.inputs["y_test"][1::6] = 1
    return case


def _drawn(rng: np.random.Generator, shares: tuple[int, ...], m: int) -> dict[str, Any]:
    """Overlapping classes, of which training has so many samples; m queries."""
    centres = rng.normal(0, 1, (len(shares), 5))
    y_train = rng.permutation(np.repeat(np.arange(len(shares)), shares))
    y_test = rng.integers(0, len(shares), m)
    found = {}
    for name, y in (("train", y_train), ("test", y_test)):
        z = centres[y] + 1.6 * rng.normal(0, 1, (len(y), 5))
        found |= {f"z_{name}": stretched(rng, z), f"y_{name}": y}
    return found


def _planned(rng: np.random.Generator, plans: tuple[Any, ...]) -> dict[str, Any]:
    """Queries at right angles to each other, each among neighbours of its own."""
    d = len(plans) + 4
    z, y = [], []
    for query, plan in enumerate(plans):
        for name, count, cosine in plan:
            cosines = cosine + rng.uniform(-0.002, 0.002, (count, 1))
            aside = rng.normal(0, 1, (count, d)) * (np.arange(d) >= len(plans))
            aside /= np.linalg.norm(aside, axis=1, keepdims=True)
            z.append(cosines * np.eye(d)[query] + np.sqrt(1 - cosines**2) * aside)
            y += [name] * count
    order, turn = rng.permutation(len(y)), np.linalg.qr(rng.normal(0, 1, (d, d)))[0]
    return {
        "z_train": stretched(rng, np.concatenate(z)[order] @ turn),
        "y_train": np.array(y)[order],
        "z_test": stretched(rng, np.eye(d)[: len(plans)] @ turn),
        "y_test": np.zeros(len(plans), np.int64),  # never all right
    }


def _is_clear(inputs: dict[str, Any]) -> bool:
    """Whether rounding cannot decide who is a neighbour, or which class wins."""
    u, q = (
        z / np.linalg.norm(z, axis=1, keepdims=True)
        for z in (inputs["z_train"].astype(float), inputs["z_test"].astype(float))
    )
    k, temperature = inputs.get("k", 20), inputs.get("temperature", 0.07)
    if temperature <= 0 or not 1 <= k <= len(u):
        return True
    s = q @ u.T  # (m, n)
    last = np.sort(s, axis=1)[:, -k - 1 :][:, :2]
    if k < len(u) and np.diff(last, axis=1).min() < 1e-5:
        return False
    far = s < np.sort(s, axis=1)[:, [-k]]
    weight = np.where(far, 0, np.exp((s - s.max(1, keepdims=True)) / temperature))
    votes = weight @ np.eye(inputs["y_train"].max() + 1)[inputs["y_train"]]
    best = np.sort(votes, axis=1)
    return bool((best[:, -2] < best[:, -1] * (1 - 1e-3)).all())


def _observe_knn(candidate: Candidate, case: Case) -> Seen:
    accuracy, classes = candidate(*tensors(case).values())
    return {"classes": classes, "accuracy": number(accuracy)}


knn_eval = Probe(
    id="contrastive.knn_eval",
    title="Evaluate an embedding by its neighbours",
    points=3,
    minutes=20,
    level="medium",
    hints=(
        "A query has five neighbours: two very near ones of one class, three far ones "
        "of another. Who should win, and what makes it so?",
        "The score of class c is the sum of exp(cos / temperature) over the k nearest "
        "training samples with y = c. A factor common to all neighbours of a query, "
        "such as exp(-largest / temperature), changes no winner.",
        "s = normalize(z_test) @ normalize(z_train).T; top = s.topk(k, dim=1); w = (("
        "top.values - top.values[:, :1]) / temperature).exp(); scores = zeros(m, "
        "y_train.max() + 1).scatter_add_(1, y_train[top.indices], w); classes = "
        "scores.argmax(1); accuracy = (classes == y_test).float().mean().item().",
    ),
    make=_make_knn,
    observe=_observe_knn,
    forbid=(
        "tlcourse.features.knn_predict",
        "lightly.utils.benchmarking.knn.knn_predict",
    ),
    forgeable=True,
)
