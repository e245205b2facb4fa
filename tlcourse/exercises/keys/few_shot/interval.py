"""The interval over episodes: what is right, and the usual mistakes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tlcourse.exercises.spec import Key, Mutant, Tolerance

_STUDENT = {2: 12.706, 5: 2.776, 7: 2.447, 9: 2.306, 200: 1.972, 600: 1.964}


def _interval(
    half: Callable[[Tensor], float], centre: Callable[[Tensor], Tensor] = Tensor.mean
) -> Callable[[Tensor], tuple[float, float]]:
    def run(accuracies: Tensor) -> tuple[float, float]:
        a = accuracies.double()
        if len(a) < 2:
            raise ValueError("an interval needs at least two episodes")
        return float(centre(a)), float(half(a))

    return run


def _right(a: Tensor) -> Tensor:
    return 1.96 * a.std() / len(a) ** 0.5


def _no_refusal(accuracies: Tensor) -> tuple[Tensor, Tensor]:
    a = accuracies.double()
    return a.mean(), _right(a)


ci95 = Key(
    reference=_interval(_right),
    tolerance=Tolerance(rtol=1e-4, atol=1e-6),
    mutants=(
        Mutant(
            "standard_deviation",
            _interval(lambda a: 1.96 * a.std()),
            "This is the spread of single episodes. The mean of n episodes varies "
            "less: divide by sqrt(n).",
        ),
        Mutant(
            "divided_by_n",
            _interval(lambda a: 1.96 * a.std() / len(a)),
            "You divide by n. The standard deviation of a mean falls with sqrt(n).",
        ),
        Mutant(
            "ddof_0",
            _interval(lambda a: 1.96 * a.std(correction=0) / len(a) ** 0.5),
            "You divide the squares by n (ddof=0), which is too small for few "
            "episodes. NumPy does so by default; divide by n - 1.",
        ),
        Mutant(
            "binomial",
            _interval(lambda a: 1.96 * (a.mean() * (1 - a.mean()) / len(a)) ** 0.5),
            "sqrt(p (1 - p) / n) is for single answers, right or wrong. An episode's "
            "accuracy is a mean already: use the spread that the episodes show.",
        ),
        Mutant(
            "standard_error",
            _interval(lambda a: a.std() / len(a) ** 0.5),
            "This is one standard error, about 68 %. A 95 % interval reaches 1.96 of "
            "them to each side.",
        ),
        Mutant(
            "full_width",
            _interval(lambda a: 2 * _right(a)),
            "This is the width of the whole interval, twice what was asked: the half "
            "width, as in 0.70 ± 0.02.",
        ),
        Mutant(
            "variance",
            _interval(lambda a: 1.96 * a.var() / len(a) ** 0.5),
            "You take the variance. The half width needs its root, the standard "
            "deviation.",
        ),
        Mutant(
            "student",
            _interval(lambda a: _STUDENT[len(a)] * a.std() / len(a) ** 0.5),
            "This is Student's interval. It is the more careful one for few episodes, "
            "and metrics.mean_interval has it; asked for here is the usual 1.96.",
        ),
        Mutant(
            "median",
            _interval(_right, lambda a: a.quantile(0.5)),
            "The first number is a median. Papers report the mean over episodes, and "
            "the interval is about the mean.",
        ),
        Mutant(
            "one_episode_accepted",
            _no_refusal,
            "One episode has no spread: the half width is nan. Raise a ValueError for "
            "fewer than two.",
        ),
    ),
)
