"""What is asked about the proxy A-distance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlcourse.exercises.probes.distribution_shift.common import numbered
from tlcourse.exercises.probing import Candidate, Seen, number, tensors
from tlcourse.exercises.spec import Case, Probe

HELD_OUT, VALUE, RANDOM = "held-out error", "value", "random parts"


def _make_proxy(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, m: int, wrong: Any, **more: Any) -> Case:
        inputs = {
            "source": numbered(0, n, rng),
            "target": numbered(n, m, rng),
            "wrong": np.broadcast_to(wrong, n + m).copy(),
            "by_heart": False,
            "seed": int(rng.integers(2**31)),
        }
        return Case(group, about, inputs | more)

    learned = np.repeat([False, True], 20)
    small = np.repeat([False, True], [30, 10])
    noise = rng.random(60) < 0.2
    return [
        case(
            HELD_OUT,
            "a classifier that knows its training samples by heart",
            20,
            20,
            learned,
            by_heart=True,
        ),
        case(VALUE, "a classifier that is always right", 15, 15, False),
        case(VALUE, "one that errs on about every fifth sample", 30, 30, noise),
        case(
            "unequal sizes", "30 and 10 samples, the answer is “source”", 30, 10, small
        ),
        case("worse than chance", "a classifier that is always wrong", 12, 12, True),
        case(RANDOM, "which samples each classifier is trained on", 30, 30, noise),
    ]


class _Classifier:
    """A ``fit`` that learns nothing and whose every answer is known."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given, self.n = given, len(given["source"])
        self.trained, self.leaked, self.labels_right = [], False, True
        self.whole_numbers = True
        self.answers: list[Tensor] = []

    def __call__(self, x: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
        seen = x[:, 0].round().long()
        self.trained.append(frozenset(seen.tolist()))
        is_target = (seen >= self.n).long()
        labels = torch.as_tensor(labels)
        self.whole_numbers &= labels.dtype == torch.int64 and labels.ndim == 1
        right = torch.equal(labels.long().reshape(-1), is_target)
        self.labels_right &= right and 0 < int(is_target.sum()) < len(seen)

        def predict(x: Tensor) -> Tensor:
            rows = x[:, 0].round().long()
            known = torch.isin(rows, seen)
            self.leaked |= bool(known.any())
            wrong = self.given["wrong"][rows].bool()
            if self.given["by_heart"]:
                wrong = wrong & ~known
            self.answers.append(torch.stack([(rows >= self.n).long(), wrong.long()]))
            return ((rows >= self.n) ^ wrong).long()

        return predict

    def errors(self) -> tuple[float, float]:
        """Mean error of the two domains, and share of wrong answers; nan if none."""
        if not self.answers:
            return math.nan, math.nan
        target, wrong = torch.cat(self.answers, 1)
        wrong = wrong.double()
        errors = [wrong[target == side].mean() for side in (0, 1)]
        return float(sum(errors)) / 2, float(wrong.mean())

    def parts(self, target: bool) -> list[list[int]]:
        """Rows of one domain that each classifier was not trained on."""
        first, end = (self.n, len(self.given["wrong"])) if target else (0, self.n)
        return [[r for r in range(first, end) if r not in t] for t in self.trained]


def _observe_proxy(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)

    def run(seed: int) -> tuple[_Classifier, Any]:
        fit = _Classifier(given)
        distance = candidate(given["source"], given["target"], fit, seed=seed)
        return fit, number(distance)

    fit, distance = run(given["seed"])
    seen = {
        "distance": distance,
        "errors": fit.errors(),
        "leaked": fit.leaked,
        "labels right": fit.labels_right,
        "int64 labels": fit.whole_numbers,
        "classifiers": len(fit.trained),
    }
    if case.group == RANDOM:
        again, other = (run(given["seed"] + more)[0] for more in (0, 1))
        domains = (False, True)
        # Every part of a domain is one run of neighbours.
        seen["in order"] = any(
            all(len(p) == 0 or p[-1] - p[0] == len(p) - 1 for p in fit.parts(domain))
            for domain in domains
        )
        seen["again"] = again.trained == fit.trained
        seen["other"] = all(fit.parts(d) != other.parts(d) for d in domains)
    return seen


proxy_a_distance = Probe(
    id="distribution_shift.proxy_a_distance",
    title="Proxy A-distance",
    points=3,
    minutes=20,
    level="medium",
    hints=(
        "A classifier with many parameters separates any two sets it was trained on. "
        "On which samples does its error say something about the domains? And what "
        "does it reach by always naming the larger domain?",
        "error = (error on held-out source + error on held-out target) / 2; distance = "
        "max(0, 2 (1 - 2 error)).",
        "Shuffle each domain with a generator and cut it in halves; predict = "
        "fit(torch.cat([s_train, t_train]), zeros and ones); error_s = (predict(s_test)"
        " != 0).float().mean(), error_t = (predict(t_test) != 1).float().mean(); then "
        "the formula.",
    ),
    make=_make_proxy,
    observe=_observe_proxy,
    kind="property",
    forbid=("tlcourse.shift.proxy_a_distance",),
    forgeable=True,
)
