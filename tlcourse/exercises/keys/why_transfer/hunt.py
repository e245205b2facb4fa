"""The bug hunt: what is right, and the one bug that each mutant leaves in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlcourse.data.dataset import Dataset
from tlcourse.exercises.probes.why_transfer.hunt import ERROR, PAIR, RATE, TEST
from tlcourse.exercises.spec import Case, Key, Mutant, Property

Fit = Callable[[Tensor, Tensor, float, int], Callable[[Tensor], Tensor]]


def _accuracy(predict: Callable[[Tensor], Tensor], data: Dataset) -> float:
    return (predict(data.x) == data.y).double().mean().item()


def _compare(bug: str = "") -> Callable[..., dict[str, Any]]:
    """The comparison, with one bug left in."""

    def compare(
        arms: Mapping[str, Fit],
        pool: Dataset,
        validation: Dataset,
        k: int,
        seeds: Sequence[int],
        rates: Sequence[float],
    ) -> dict[str, Any]:
        found: dict[str, list[float]] = {name: [] for name in arms}
        for seed in seeds:
            for turn, (name, fit) in enumerate(arms.items()):
                own = seed * len(arms) + turn
                draw = own if bug == "two_supports" else seed
                support, test = pool.few_shot(k, seed=draw)
                if bug == "tests_on_support":
                    test = pool
                chooses = test if bug == "chosen_on_test" else validation
                tried = [fit(support.x, support.y, rate, seed) for rate in rates]
                best = max(tried, key=lambda predict: _accuracy(predict, chooses))
                found[name].append(_accuracy(best, test))
        gap = torch.tensor(found["transfer"]) - torch.tensor(found["scratch"])
        spread = gap.var()
        if bug == "unpaired_error":
            spread = sum(torch.tensor(values).var() for values in found.values())
        error = (spread / len(seeds)).sqrt()
        return {"accuracy": found, "gain": gap.mean().item(), "error": error.item()}

    return compare


def _scores_are_honest(seen: Mapping[str, Any], case: Case) -> bool:
    return np.allclose(seen["accuracy"], seen["honest"], atol=1e-5)


def _paired(seen: Mapping[str, Any], case: Case) -> bool:
    scratch, transfer = seen["accuracy"]
    gap = transfer - scratch
    error = gap.std(ddof=1) / len(gap) ** 0.5
    varied = len(set(scratch)) > 1  # made-up constant scores prove nothing
    return varied and np.allclose([seen["gain"], seen["error"]], [gap.mean(), error],
                                  atol=1e-5)  # fmt: skip


bug_hunt = Key(
    reference=_compare(),
    properties=(
        Property(
            "all runs",
            lambda seen, case: seen["all runs"],
            "Every arm must be trained with every rate on every seed: a comparison is "
            "fair when both arms get the same search.",
        ),
        Property(
            "tests on new samples",
            _scores_are_honest,
            "An accuracy is not that on the samples the support leaves over.",
            TEST,
        ),
        Property(
            "rate from validation",
            _scores_are_honest,
            "The learning rate was not chosen by validation accuracy.",
            RATE,
        ),
        Property(
            "one support for both",
            lambda seen, case: seen["one support per seed"],
            "Within a seed, all runs must be trained on one and the same support.",
            PAIR,
        ),
        Property(
            "seeds differ",
            lambda seen, case: seen["new support per seed"],
            "Every seed must draw a support of its own.",
            PAIR,
        ),
        Property(
            "paired error",
            _paired,
            "gain and error must be those of the paired differences, transfer minus "
            "scratch seed by seed.",
            ERROR,
        ),
    ),
    mutants=(
        Mutant(
            "tests_on_support",
            _compare("tests_on_support"),
            "The test set is the whole pool, with the support in it. An arm that has "
            "learned its few samples by heart gets them for free: test on the rest.",
        ),
        Mutant(
            "chosen_on_test",
            _compare("chosen_on_test"),
            "The learning rate is chosen by its test accuracy, so the test set has "
            "been trained on. Choose on `validation`, then test once.",
        ),
        Mutant(
            "two_supports",
            _compare("two_supports"),
            "The two arms draw different supports in one seed. A lucky support then "
            "looks like a better method: draw once per seed, for both.",
        ),
        Mutant(
            "unpaired_error",
            _compare("unpaired_error"),
            "The error treats the arms as independent. Easy and hard seeds are easy "
            "and hard for both: take the differences first, then their spread.",
        ),
    ),
)
