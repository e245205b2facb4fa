"""Proxy A-distance: what every right answer satisfies, and named mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from tlcourse import shift
from tlcourse.exercises.probes.distribution_shift.proxy import RANDOM
from tlcourse.exercises.spec import Key, Mutant, Property


def _right(seen: Any) -> float:
    return max(0.0, 2 - 4 * seen["errors"][0])


def _near(a: float, b: float) -> bool:
    return abs(a - b) < 1e-5


def _is_not(wrong: Callable[[Any], float]) -> Callable[[Any, Any], bool]:
    """Whether the distance is right, or wrong in another way than this."""
    return lambda seen, case: (
        _near(seen["distance"], _right(seen))
        or not _near(seen["distance"], wrong(seen))
    )


_PROXY = (
    Property(
        "held out",
        lambda seen, case: not seen["leaked"],
        "A sample was classified by a classifier that was trained on it.",
    ),
    Property(
        "labels",
        lambda seen, case: seen["classifiers"] > 0 and seen["labels right"],
        "fit must get samples of both domains, with 0 for source and 1 for target.",
    ),
    Property(
        "int64 labels",
        lambda seen, case: seen["int64 labels"],
        "The labels given to fit must be int64, of shape (k,).",
    ),
    Property(
        "distance",
        lambda seen, case: _near(seen["distance"], _right(seen)),
        "The distance does not follow from what the classifiers answered.",
    ),
    Property(
        "balanced",
        _is_not(lambda seen: max(0.0, 2 - 4 * seen["errors"][1])),
        "All samples count alike; the mean of the two domains' errors is asked.",
    ),
    Property(
        "guessing",
        _is_not(lambda seen: 2 - 2 * seen["errors"][0]),
        "An error of 1/2 must give 0.",
    ),
    Property(
        "factor two",
        _is_not(lambda seen: _right(seen) / 2),
        "An error of 0 must give 2.",
    ),
    Property(
        "error or accuracy",
        _is_not(lambda seen: max(0.0, 4 * seen["errors"][0] - 2)),
        "A small error must give a large distance.",
    ),
    Property(
        "at most 2",
        lambda seen, case: seen["distance"] <= 2 + 1e-6,
        "The distance is larger than 2.",
    ),
    Property(
        "not below 0",
        lambda seen, case: seen["distance"] >= 0,
        "The distance is negative.",
    ),
    Property(
        "shuffled",
        lambda seen, case: not seen["in order"],
        "The training samples are the first or the last of each domain.",
        RANDOM,
    ),
    Property(
        "same seed",
        lambda seen, case: seen["again"],
        "The same seed must give the same parts.",
        RANDOM,
    ),
    Property(
        "other seed",
        lambda seen, case: seen["other"],
        "Another seed must give other parts.",
        RANDOM,
    ),
)


def _halves(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(n, generator=g)
    return order[: n // 2], order[n // 2 :]


def _in_order(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.arange(n // 2), torch.arange(n // 2, n)


def _folds_averaged(source: Tensor, target: Tensor, fit: Any, seed: int) -> float:
    g, found = torch.Generator().manual_seed(seed), []
    parts = [
        torch.randperm(len(z), generator=g).tensor_split(4) for z in (source, target)
    ]
    for i in range(4):
        own = [
            z[torch.cat(p[:i] + p[i + 1 :])]
            for z, p in zip((source, target), parts, strict=True)
        ]
        labels = torch.tensor([0] * len(own[0]) + [1] * len(own[1]))
        predict = fit(torch.cat(own), labels)
        wrong = (predict(source[parts[0][i]]) != 0).double().mean()
        wrong = wrong + (predict(target[parts[1][i]]) != 1).double().mean()
        found.append(max(0.0, 2 - 2 * float(wrong)))
    return sum(found) / 4


def _everything(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.arange(n), torch.arange(n)


def _proxy(
    formula: Callable[[float], float] = lambda e: max(0.0, 2 * (1 - 2 * e)),
    cut: Callable[[int, torch.Generator], tuple[Tensor, Tensor]] = _halves,
    balanced: bool = True,
    generator: Callable[[int], torch.Generator] = lambda s: (
        torch.Generator().manual_seed(s)
    ),
    swapped: bool = False,
    dtype: torch.dtype = torch.int64,
) -> Callable[..., float]:
    """A proxy A-distance with a flaw to choose."""

    def distance(source: Tensor, target: Tensor, fit: Any, seed: int) -> float:
        g = generator(seed)
        parts: Iterator[tuple[Tensor, Tensor]] = (
            cut(len(z), g) for z in (source, target)
        )
        (s_train, s_test), (t_train, t_test) = parts
        labels = torch.arange(2).repeat_interleave(
            torch.tensor([len(s_train), len(t_train)])
        )
        x = torch.cat([source[s_train], target[t_train]])
        predict = fit(x, (1 - labels if swapped else labels).to(dtype))
        wrong_s = (predict(source[s_test]) != 0).double()
        wrong_t = (predict(target[t_test]) != 1).double()
        if balanced:
            return formula(float(wrong_s.mean() + wrong_t.mean()) / 2)
        return formula(float(torch.cat([wrong_s, wrong_t]).mean()))

    return distance


proxy_a_distance = Key(
    reference=shift.proxy_a_distance,
    properties=_PROXY,
    mutants=(
        Mutant(
            "training_error",
            _proxy(cut=_everything, generator=lambda s: torch.Generator()),
            "The error is taken on samples the classifier was trained on. One that "
            "learns them by heart then gives 2 for any two samples; hold some out.",
        ),
        Mutant(
            "larger_domain_wins",
            _proxy(balanced=False),
            "The error counts all samples alike, so that naming the larger domain "
            "every time passes for a difference. Average the two domains' errors.",
        ),
        Mutant(
            "one_minus_error",
            _proxy(lambda e: 2 * (1 - e)),
            "2 (1 - error) is 1 for a classifier that guesses. The formula is "
            "2 (1 - 2 error): 0 for guessing, 2 for no error.",
        ),
        Mutant(
            "factor_two_missing",
            _proxy(lambda e: max(0.0, 1 - 2 * e)),
            "The factor 2 in front is missing: an error of 0 gives 2, not 1.",
        ),
        Mutant(
            "accuracy_for_error",
            _proxy(lambda e: max(0.0, 2 * (2 * e - 1))),
            "You put the accuracy where the error belongs: domains that are easy to "
            "tell apart are far apart.",
        ),
        Mutant(
            "not_cut_off",
            _proxy(lambda e: 2 * (1 - 2 * e)),
            "An error above 1/2 gives a negative distance. It comes by chance when the "
            "domains are alike: return 0 then.",
        ),
        Mutant(
            "answers_flipped",
            _proxy(lambda e: abs(2 * (1 - 2 * e))),
            "An error of 1 counts as a perfect classifier turned round. On held-out "
            "samples it is chance, and turning it round looks at the test labels: "
            "return 0.",
        ),
        Mutant(
            "labels_exchanged",
            _proxy(swapped=True),
            "fit was told 1 for source samples and 0 for target samples. Source is 0.",
        ),
        Mutant(
            "float_labels",
            _proxy(dtype=torch.float32),
            "fit was given labels that are not int64 of shape (k,); cross-entropy "
            "takes class numbers. Make them with dtype=torch.int64.",
        ),
        Mutant(
            "parts_averaged",
            _folds_averaged,
            "You take a distance per part and average them. Parts differ in size, and "
            "each is cut off at 0 by itself: count the errors of all parts first.",
        ),
        Mutant(
            "not_shuffled",
            _proxy(cut=_in_order),
            "The first half of each domain trains, the last half tests. Data often "
            "come in an order; shuffle with the seed first.",
        ),
        Mutant(
            "seed_ignored",
            _proxy(generator=lambda s: torch.default_generator),
            "The seed is not used, so that the distance cannot be reproduced.",
        ),
    ),
)
