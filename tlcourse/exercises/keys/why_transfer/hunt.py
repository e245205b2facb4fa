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


def _error(scratch: np.ndarray, transfer: np.ndarray) -> float:
    """The standard error of the mean paired difference."""
    return (transfer - scratch).std(ddof=1) / len(scratch) ** 0.5


def _unpaired(scratch: np.ndarray, transfer: np.ndarray) -> float:
    return ((scratch.var(ddof=1) + transfer.var(ddof=1)) / len(scratch)) ** 0.5


_ERRORS = {
    "unpaired_error": _unpaired,
    "deviation_of_one_seed": lambda a, b: (b - a).std(ddof=1),
    "population_deviation": lambda a, b: (b - a).std() / len(a) ** 0.5,
}


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
                chooses = {"chosen_on_test": test, "chosen_on_support": support}.get(
                    bug, validation
                )
                tried = [fit(support.x, support.y, rate, seed) for rate in rates]
                best = max(tried, key=lambda predict: _accuracy(predict, chooses))
                found[name].append(_accuracy(best, test))
        gap = torch.tensor(found["transfer"]) - torch.tensor(found["scratch"])
        scores = (np.array(found[name]) for name in ("scratch", "transfer"))
        error = _ERRORS.get(bug, _error)(*scores)
        gain = gap.mean().item() * (-1 if bug == "wrong_sign" else 1)
        return {"accuracy": found, "gain": gain, "error": float(error)}

    return compare


def _scores_are_honest(seen: Mapping[str, Any], case: Case) -> bool:
    return np.allclose(seen["accuracy"], seen["honest"], atol=1e-5)


def _not_from_support(seen: Mapping[str, Any], case: Case) -> bool:
    return _scores_are_honest(seen, case) or not seen["scored on support"]


def _gain_is_right(seen: Mapping[str, Any], case: Case) -> bool:
    scratch, transfer = seen["accuracy"]
    return np.allclose(seen["gain"], (transfer - scratch).mean(), atol=1e-5)


def _error_is_right(seen: Mapping[str, Any], case: Case) -> bool:
    scratch, transfer = seen["accuracy"]
    varied = len(set(scratch)) > 1  # made-up constant scores prove nothing
    return varied and np.allclose(seen["error"], _error(scratch, transfer), atol=1e-5)


def _error_is_not(bug: str) -> Callable[[Mapping[str, Any], Case], bool]:
    """Whether the error is right, or at least not wrong in this way."""

    def holds(seen: Mapping[str, Any], case: Case) -> bool:
        wrong = _ERRORS[bug](*seen["accuracy"])
        return _error_is_right(seen, case) or not np.allclose(
            seen["error"], wrong, atol=1e-5
        )

    return holds


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
            "rate not from the support",
            _not_from_support,
            "The learning rate was chosen by the accuracy on the support.",
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
            "gain",
            _gain_is_right,
            "gain must be the mean over seeds of transfer minus scratch.",
            ERROR,
        ),
        Property(
            "error",
            _error_is_right,
            "error must be the standard error of the mean paired difference, from the "
            "deviation of transfer minus scratch over seeds.",
            ERROR,
        ),
        *(
            Property(
                f"no {bug}", _error_is_not(bug), "error is computed wrongly.", ERROR
            )
            for bug in _ERRORS
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
            "chosen_on_support",
            _compare("chosen_on_support"),
            "The learning rate is chosen by its accuracy on the support, which was "
            "trained on: what is learned by heart wins. Choose on `validation`.",
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
        Mutant(
            "wrong_sign",
            _compare("wrong_sign"),
            "The sign is turned round: gain is transfer minus scratch, above 0 where "
            "transfer helps.",
        ),
        Mutant(
            "deviation_of_one_seed",
            _compare("deviation_of_one_seed"),
            "That is how far one seed's difference lies from the mean. The mean of n "
            "seeds is surer: divide by the square root of n.",
        ),
        Mutant(
            "population_deviation",
            _compare("population_deviation"),
            "The deviation divides by n. The mean was estimated from the same n seeds, "
            "so divide by n - 1: in NumPy std(ddof=1), in torch std().",
        ),
    ),
)
