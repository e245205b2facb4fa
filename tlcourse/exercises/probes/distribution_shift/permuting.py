"""What is asked about the permutation test."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from tlcourse.exercises.probes.distribution_shift.common import numbered
from tlcourse.exercises.probing import Candidate, Seen, number, tensors
from tlcourse.exercises.spec import Case, Probe

SPLITS, P_VALUE, SEED = "random splits", "p-value", "the seed decides"


def _make_permutation(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, m: int, permutations: int, scores: np.ndarray
    ) -> Case:
        inputs = {
            "x": numbered(0, n, rng),
            "y": numbered(n, m, rng),
            "scores": scores.astype(np.int64),
            "num_permutations": permutations,
            "seed": int(rng.integers(2**31)),
        }
        return Case(group, about, inputs)

    def scores(count: int) -> np.ndarray:
        return rng.integers(0, 1000, count)

    apart = np.repeat([100, 0], 20) + rng.integers(0, 5, 40)
    return [
        case(SPLITS, "6 and 9 samples, 250 permutations", 6, 9, 250, scores(15)),
        case(P_VALUE, "samples with nothing in common", 20, 20, 99, apart),
        case(P_VALUE, "the statistic as small as can be", 20, 20, 99, -apart),
        case(P_VALUE, "a statistic that is always 0", 5, 7, 19, np.zeros(12)),
        case(SEED, "the same seed twice, then another", 8, 7, 40, scores(15)),
    ]


class _Statistic:
    """An exact statistic that writes down which rows it was given."""

    def __init__(self, scores: Tensor) -> None:
        self.scores, self.calls, self.values = scores, [], []

    def __call__(self, a: Tensor, b: Tensor) -> float:
        first, second = (part[:, 0].round().long() for part in (a, b))
        self.calls.append((first.tolist(), second.tolist()))
        sums = self.scores[first].sum(), self.scores[second].sum()
        self.values.append(float(sums[0] * len(second) - sums[1] * len(first)))
        return self.values[-1]


def _random_states() -> tuple[str, str, bytes]:
    """Where the generators that a whole program shares stand."""
    _, keys, place, *_ = np.random.get_state()
    numpy = f"{keys.tobytes().hex()} {place}"
    return repr(random.getstate()), numpy, torch.get_rng_state().numpy().tobytes()


def _observe_permutation(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    x, y = given["x"], given["y"]

    def run(seed: int) -> tuple[_Statistic, float, float, Tensor]:
        spy = _Statistic(given["scores"])
        count = given["num_permutations"]
        found, p, null = candidate(x, y, spy, num_permutations=count, seed=seed)
        return spy, number(found), number(p), torch.as_tensor(null).double().cpu()

    state = _random_states()
    spy, found, p, null = run(given["seed"])
    kept = state == _random_states()
    rows, n = len(x) + len(y), len(x)
    whole = all(sorted(a + b) == list(range(rows)) for a, b in spy.calls)
    splits = [frozenset(a) for a, _ in spy.calls]
    first = torch.tensor([[i in split for i in range(rows)] for split in splits])
    seen = {
        "statistic": found,
        "p": p,
        "null": null,
        "of x and y": spy(x, y),
        "known": bool(torch.isin(null, torch.tensor(spy.values).double()).all()),
        "whole": whole,
        "sizes": all(len(a) == n for a, _ in spy.calls),
        "share": first.double().mean(0),
        "distinct": len(set(splits)),
        "stayed": [sum(row < n for row in split) for split in splits],
    }
    if case.group == SEED:
        seen["again"] = torch.equal(null, run(given["seed"])[3])
        seen["other"] = not torch.equal(null, run(given["seed"] + 1)[3])
        seen["state kept"] = kept
    return seen


permutation_test = Probe(
    id="distribution_shift.permutation_test",
    title="A permutation test for any statistic",
    points=4,
    minutes=25,
    level="medium",
    hints=(
        "If x and y come from one distribution, which other ways of dealing the pooled "
        "rows into n and m were as likely? And is the way they came one of them?",
        "p = (1 + number of null values >= statistic) / (B + 1). Each null value: "
        "shuffle all n + m rows, the first n play x, the rest y.",
        "generator = torch.Generator().manual_seed(seed); z = torch.cat([x, y]); B "
        "times: order = torch.randperm(len(z), generator=generator); "
        "null.append(statistic(z[order[:n]], z[order[n:]])). Then the formula.",
    ),
    make=_make_permutation,
    observe=_observe_permutation,
    kind="property",
    forbid=("tlcourse.shift.permutation_test", "scipy.stats.permutation_test"),
    forgeable=True,
)
