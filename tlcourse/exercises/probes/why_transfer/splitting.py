"""k-shot splits: what is asked."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probing import REFUSES
from tlcourse.exercises.spec import Case, Probe

_DRAWS = 200  # repeated draws; a sample picked with p >= 1/4 is missed once in 1e24


def _make_kshot_split(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, sizes: dict[int, int], k: int) -> Case:
        y = np.repeat(list(sizes), list(sizes.values())).astype(np.int64)
        return Case(group, about, {"y": rng.permutation(y), "k": k})

    tens = {c: int(m) for c, m in enumerate(rng.integers(8, 20, 10))}
    tens[int(rng.integers(10))] = 5  # exactly k
    gaps = {
        int(c): int(m)
        for c, m in zip((2, 3, 7, 11), rng.integers(7, 15, 4), strict=True)
    }
    even = dict.fromkeys(range(8), 12)
    return [
        case("k of every class", "10 classes of unequal size, k = 5", tens, 5),
        case("k of every class", "classes named 2, 3, 7 and 11, k = 3", gaps, 3),
        case(
            "k of every class", "every class has k = 4", dict.fromkeys(range(3), 4), 4
        ),
        case("seeded draws", "8 classes of 12 samples, k = 4", even, 4),
        case(REFUSES, "one class has 3 samples, k = 4", {0: 9, 1: 3, 2: 8}, 4),
        case(REFUSES, "k = 0", {0: 5, 1: 6}, 0),
        case(REFUSES, "k = -1", {0: 5, 1: 6}, -1),
    ]


def _observe_kshot_split(
    candidate: Callable[..., Any], case: Case
) -> Mapping[str, Any]:
    y, k = torch.from_numpy(case.inputs["y"]), case.inputs["k"]
    if case.group == REFUSES:
        try:
            candidate(y, k, 0)
        except ValueError:
            candidate(y, 2, 0)  # it must not refuse everything
            return {"refused": True}
        except NotImplementedError:  # the stub
            raise
        except Exception:  # an error, but not the one that was asked for
            return {"refused": False}
        return {"refused": False}
    support, rest = candidate(y, k, 7)
    tensors = type(support) is type(rest) is torch.Tensor
    seen = {"support": support, "rest": rest, "tensors": tensors}
    if case.group == "seeded draws":
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        before = _random_state()
        seen["again"] = candidate(y, k, 7)[0]
        seen["untouched"] = all(map(np.array_equal, before, _random_state()))
        seen["draws"] = [candidate(y, k, seed)[0] for seed in range(_DRAWS)]
    return seen


def _random_state() -> tuple[Any, ...]:
    numpy = np.random.get_state()
    python = random.getstate()
    return torch.get_rng_state().clone(), numpy[1].copy(), numpy[2], python[1]


kshot_split = Probe(
    id="why_transfer.kshot_split",
    title="k labels per class, the rest apart",
    points=3,
    minutes=15,
    level="easy",
    hints=(
        "Which indices belong to class c, and how do you pick k of them at random so "
        "that a seed alone decides which?",
        "A generator of your own, g = torch.Generator().manual_seed(seed), feeds "
        "torch.randperm(m, generator=g) for each class of m samples; the support is "
        "the first k of each shuffled class, the rest everything else.",
        "chosen = torch.zeros(len(y), dtype=torch.bool); for c in y.unique(): members "
        "= (y == c).nonzero().flatten(); raise ValueError if len(members) < k; mark "
        "chosen[members[torch.randperm(len(members), generator=g)[:k]]] = True. Return "
        "chosen.nonzero().flatten() and (~chosen).nonzero().flatten().",
    ),
    make=_make_kshot_split,
    observe=_observe_kshot_split,
    forbid=(
        "tlcourse.data.splitting.pick_few_shot",
        "tlcourse.data.Dataset.few_shot",
        "tlcourse.data.Dataset.split",
    ),
    kind="property",
    forgeable=True,
)
