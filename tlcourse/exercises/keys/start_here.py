"""Chapter 00: what is right, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlcourse import metrics
from tlcourse.exercises.spec import Case, Key, Mutant, Property

Split = tuple[Tensor, Tensor, Tensor, Tensor]


accuracy = Key(
    reference=metrics.accuracy,
    mutants=(
        Mutant(
            "percent",
            lambda logits, targets: 100 * metrics.accuracy(logits, targets),
            "That is a percentage. The course states accuracy as a share from 0 to 1: "
            "do not multiply by 100.",
        ),
        Mutant(
            "count",
            lambda logits, targets: metrics.accuracy(logits, targets) * len(targets),
            "That is the number of right answers. Divide by the number of samples.",
        ),
        Mutant(
            "error_rate",
            lambda logits, targets: 1 - metrics.accuracy(logits, targets),
            "That is the share of wrong answers, the error rate. Accuracy is 1 "
            "minus it.",
        ),
        Mutant(
            "a_tensor",
            lambda logits, targets: torch.tensor(metrics.accuracy(logits, targets)),
            "The number is right, but it is a tensor. Call .item() to return a plain "
            "Python float.",
        ),
        Mutant(
            "smallest_logit",
            lambda logits, targets: metrics.accuracy(-logits, targets),
            "You take the smallest logit. The network chooses the class with the "
            "largest one: argmax, not argmin.",
        ),
    ),
)


def _split(
    x: Tensor,
    y: Tensor,
    fraction: float,
    seed: int,
    *,
    seeded: bool = True,
    paired: bool = True,
    gap: int = 0,
    shuffled: bool = True,
) -> Split:
    generator = torch.Generator()
    if seeded:
        generator.manual_seed(seed)
    else:
        generator.seed()
    n = len(x)
    order = torch.randperm(n, generator=generator) if shuffled else torch.arange(n)
    other = order if paired else torch.randperm(n, generator=generator)
    num_test = round(fraction * n)
    test, train = order[:num_test], order[num_test - gap :]
    label_test, label_train = other[:num_test], other[num_test - gap :]
    return x[train], y[label_train], x[test], y[label_test]


def _paired(seen: Mapping[str, Any], case: Case) -> bool:
    same_train = np.array_equal(seen["train_x"], seen["train_y"])
    return same_train and np.array_equal(seen["test_x"], seen["test_y"])


def _disjoint(seen: Mapping[str, Any], case: Case) -> bool:
    used = np.concatenate([seen["train_x"], seen["test_x"]])
    return len(np.unique(used)) == len(used)


def _complete(seen: Mapping[str, Any], case: Case) -> bool:
    used = np.union1d(seen["train_x"], seen["test_x"])
    return np.array_equal(used, np.arange(case.inputs["n"]))


def _size(seen: Mapping[str, Any], case: Case) -> bool:
    return len(seen["test_x"]) == round(case.inputs["fraction"] * case.inputs["n"])


def _repeats(seen: Mapping[str, Any], case: Case) -> bool:
    return np.array_equal(seen["train_y"], seen["again"])


def _another(seen: Mapping[str, Any], case: Case) -> bool:
    """Two right splits of 33 samples or more agree with probability under 1e-8."""
    return set(map(int, seen["test_y"])) != set(map(int, seen["other_y"]))


def _shuffled(seen: Mapping[str, Any], case: Case) -> bool:
    """Some test sample comes from beyond the first block; a right split of 33
    samples or more fails this with probability under 1e-8."""
    k = len(seen["test_x"])
    first, last = set(range(k)), set(range(case.inputs["n"] - k, case.inputs["n"]))
    return {int(i) for i in seen["test_x"]} not in (first, last)


bug_hunt = Key(
    reference=_split,
    properties=(
        Property("paired", _paired, "A sample and its label do not stay together."),
        Property("disjoint", _disjoint, "A sample is in both parts, or twice in one."),
        Property("complete", _complete, "A sample is lost: it is in neither part."),
        Property("size", _size, "The test part must have round(fraction * n) samples."),
        Property("repeats", _repeats, "The same seed must give the same split."),
        Property(
            "another seed, another split",
            _another,
            "Another seed must give another split: draw at random, from a generator "
            "that gets `seed` and no constant.",
        ),
        Property("shuffled", _shuffled, "The split must be random, not one block."),
        Property(
            "inputs untouched",
            lambda seen, case: seen["untouched"],
            "x or y was changed in place, under the caller's feet. Index, or copy.",
        ),
    ),
    mutants=(
        Mutant(
            "labels_shuffled_apart",
            lambda *given: _split(*given, paired=False),
            "x and y are shuffled by two different permutations, so labels belong to "
            "other samples. Draw one permutation and index both with it.",
        ),
        Mutant(
            "overlap",
            lambda *given: _split(*given, gap=1),
            "One sample is in both parts: the training slice starts one too early. "
            "A test sample seen in training is leakage.",
        ),
        Mutant(
            "seed_ignored",
            lambda *given: _split(*given, seeded=False),
            "The seed is never used, so every call gives another split. Make a "
            "torch.Generator().manual_seed(seed) and hand it to randperm.",
        ),
        Mutant(
            "not_shuffled",
            lambda *given: _split(*given, shuffled=False),
            "The split takes one block. Data is often sorted by class: shuffle first.",
        ),
    ),
)
