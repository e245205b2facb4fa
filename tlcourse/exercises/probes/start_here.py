"""Chapter 00: two small ones, to learn how checks speak."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tlcourse.exercises.spec import Case, Probe


def _make_accuracy(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(about: str, n: int, k: int) -> Case:
        targets = rng.integers(0, k, n)
        logits = rng.normal(0, 1, (n, k)).astype(np.float32)
        lucky = rng.permutation(n)[: (2 * n) // 3]  # two thirds are right for sure
        logits[lucky, targets[lucky]] += 6
        return Case("value", about, {"logits": logits, "targets": targets})

    all_wrong = np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    nothing = {"logits": all_wrong, "targets": np.array([0, 1])}
    close = np.array([[1.0, 0.9, 0.8]], dtype=np.float32)  # no class reaches one half
    unsure = {"logits": close, "targets": np.array([0])}
    return [
        case("9 samples, 4 classes", 9, 4),
        case("30 samples, 3 classes", 30, 3),
        Case("value", "every prediction is wrong", nothing),
        Case("value", "one sample, and the classes are close", unsure),
    ]


def _observe_accuracy(candidate: Callable[..., Any], case: Case) -> Mapping[str, Any]:
    logits, targets = (torch.from_numpy(v) for v in case.inputs.values())
    return {"accuracy": candidate(logits, targets)}


accuracy = Probe(
    id="start_here.accuracy",
    title="Accuracy",
    points=2,
    minutes=5,
    level="easy",
    hints=(
        "Which class does the network choose, and how do you ask whether it is right?",
        "accuracy = (number of rows whose largest logit is at the target) / n",
        "logits.argmax(dim=1) == targets gives one truth value per row; "
        "turn it into a float tensor and take the mean, then .item().",
    ),
    make=_make_accuracy,
    observe=_observe_accuracy,
    forbid=("tlcourse.metrics.accuracy",),
)


def _make_bug_hunt(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(about: str, n: int, fraction: float) -> Case:
        return Case(
            "split",
            about,
            {"n": n, "fraction": fraction, "seed": int(rng.integers(0, 1000))},
        )

    return [
        case("50 samples, 35 % for testing", 50, 0.35),
        case("40 samples, half for testing", 40, 0.5),
        case("33 samples, a third for testing", 33, 1 / 3),
    ]


def _observe_bug_hunt(candidate: Callable[..., Any], case: Case) -> Mapping[str, Any]:
    """Split samples whose label is their own number: any mix-up is visible."""
    n, fraction, seed = (case.inputs[name] for name in ("n", "fraction", "seed"))
    y = torch.arange(n)
    x = y[:, None].float().repeat(1, 2)
    given = x.clone(), y.clone()
    torch.manual_seed(1)
    first = candidate(*given, fraction, seed)
    untouched = torch.equal(x, given[0]) and torch.equal(y, given[1])
    torch.manual_seed(2)
    again = candidate(x.clone(), y.clone(), fraction, seed)
    other = candidate(x.clone(), y.clone(), fraction, seed + 1)
    train_x, train_y, test_x, test_y = first
    return {
        "train_x": train_x[:, 0],
        "train_y": train_y,
        "test_x": test_x[:, 0],
        "test_y": test_y,
        "again": again[1],
        "other_y": other[3],
        "untouched": untouched,
    }


bug_hunt = Probe(
    id="start_here.bug_hunt",
    title="Bug hunt: a split that leaks",
    points=3,
    minutes=10,
    level="easy",
    kind="property",
    hints=(
        "Print the split of ten samples whose label is their own number. What is odd?",
        "Train and test must be disjoint, together everything, x and y in one order; "
        "the same seed must give the same split, another seed another.",
        "One torch.Generator().manual_seed(seed), one torch.randperm(n, generator=…), "
        "test = order[:num_test], train = order[num_test:], index x and y with both.",
    ),
    make=_make_bug_hunt,
    observe=_observe_bug_hunt,
    forgeable=True,
)
