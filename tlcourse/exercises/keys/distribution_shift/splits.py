"""The permutation test: what every right answer satisfies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tlcourse.exercises.probes.distribution_shift.permuting import SEED
from tlcourse.exercises.probing import Seen
from tlcourse.exercises.spec import Case, Property


def _dealt_at_random(seen: Seen, case: Case) -> bool:
    """Each row plays x in about n / (n + m) of the splits; 7 standard deviations."""
    if case.inputs["num_permutations"] < 100:
        return True
    n, m = len(case.inputs["x"]), len(case.inputs["y"])
    expected = n / (n + m)
    room = 7 * (expected * (1 - expected) / case.inputs["num_permutations"]) ** 0.5
    return bool((np.abs(seen["share"] - expected) < room).all())


def _any_mixture(seen: Seen, case: Case) -> bool:
    """How many rows of x stay varies as it does when all splits are equally likely.

    Their variance is that of the hypergeometric distribution; 250 splits find it
    within 9 % (one standard deviation), and half or twice as much is far out.
    """
    if case.inputs["num_permutations"] < 200:
        return True
    n, m = len(case.inputs["x"]), len(case.inputs["y"])
    if len(seen["stayed"]) == 0:
        return False
    expected = (n * m / (n + m)) ** 2 / (n + m - 1)
    return bool(0.4 < np.var(seen["stayed"]) / expected < 2)


def _counted(how: Callable[[np.ndarray, float], np.ndarray]) -> Callable[..., float]:
    def p(seen: Seen) -> float:
        null = seen["null"]
        return (1 + how(null, seen["statistic"]).sum()) / (len(null) + 1)

    return p


_right_p = _counted(lambda null, t: null >= t)


def _p(seen: Seen, case: Case) -> bool:
    return abs(seen["p"] - _right_p(seen)) < 1e-9


def _is_not(wrong: Callable[[Seen], float]) -> Callable[[Seen, Case], bool]:
    """Whether p is right, or wrong in another way than this."""
    return lambda seen, case: _p(seen, case) or abs(seen["p"] - wrong(seen)) > 1e-9


PERMUTATION = (
    Property(
        "statistic",
        lambda seen, case: abs(seen["statistic"] - seen["of x and y"]) < 1e-6,
        "The first thing returned is the statistic of x and y as they came.",
    ),
    Property(
        "null",
        lambda seen, case: (
            seen["null"].shape == (case.inputs["num_permutations"],) and seen["known"]
        ),
        "The null distribution holds num_permutations values of the statistic, one per "
        "shuffle, without the one of x and y themselves.",
    ),
    Property(
        "whole",
        lambda seen, case: seen["whole"],
        "Each split must deal every pooled row exactly once.",
    ),
    Property(
        "sizes",
        lambda seen, case: seen["sizes"],
        "In each split n rows must play x and m rows play y.",
    ),
    Property(
        "shuffled",
        _dealt_at_random,
        "Some rows play x too often. All ways to deal the pooled rows must be alike.",
    ),
    Property(
        "any mixture",
        _any_mixture,
        "The splits are too much alike: always about as many rows change sides. All "
        "ways to deal the pooled rows must be equally likely.",
    ),
    Property(
        "distinct",
        lambda seen, case: seen["distinct"] > case.inputs["num_permutations"] // 5,
        "The same split comes again and again.",
    ),
    Property("p", _p, "p is not (1 + #{null >= statistic}) / (num_permutations + 1)."),
    Property(
        "ties",
        _is_not(_counted(lambda null, t: null > t)),
        "Null values equal to the statistic count, too: >=.",
    ),
    Property(
        "direction",
        _is_not(_counted(lambda null, t: null <= t)),
        "Null values at least as large as the statistic count.",
    ),
    Property(
        "no absolute values",
        _is_not(_counted(lambda null, t: abs(null) >= abs(t))),
        "The values count as they are, not without their sign.",
    ),
    Property("p above 0", lambda seen, case: seen["p"] > 0, "p can never be 0."),
    Property("p up to 1", lambda seen, case: seen["p"] <= 1, "p is larger than 1."),
    Property(
        "same seed",
        lambda seen, case: seen["again"],
        "The same seed must give the same null distribution.",
        SEED,
    ),
    Property(
        "other seed",
        lambda seen, case: seen["other"],
        "Another seed must give another null distribution.",
        SEED,
    ),
    Property(
        "state kept",
        lambda seen, case: seen["state kept"],
        "The random state of the rest of the program has changed.",
        SEED,
    ),
)
