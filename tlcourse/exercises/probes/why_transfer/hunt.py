"""The bug hunt's world: arms whose every answer is known, and what was done to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tlcourse.data.dataset import Card, Dataset
from tlcourse.exercises.spec import Case, Probe

TEST, RATE, PAIR, ERROR = "test set", "learning rate", "same support", "error bar"
_ARMS = ("scratch", "transfer")
_CLASSES, _POOL, _VALIDATION = 4, 60, 20
_CARD = Card("numbered rows", "simulated", "this exercise", "none", "small", "none")


def make(seed: int) -> list[Case]:
    """One case per group; ``right[arm, rate, seed, row]`` says who is right where."""
    rng = np.random.default_rng(seed)
    abouts = {
        TEST: "arms that know their training samples by heart",
        RATE: "the rate that is best on validation is not best on test",
        PAIR: "which samples each arm is trained on",
        ERROR: "seeds that are easy or hard for both arms alike",
    }
    return [Case(group, about, _inputs(group, rng)) for group, about in abouts.items()]


def _inputs(group: str, rng: np.random.Generator) -> dict[str, Any]:
    rates, seeds, rows = 3, 6, _POOL + _VALIDATION
    shape = (len(_ARMS), rates, seeds, rows)
    ease = rng.uniform(0.3, 0.8, (1, 1, seeds, 1))  # shared by the arms of a seed
    right = rng.random(shape) < ease
    best = rng.integers(0, rates, (len(_ARMS), 1, seeds, 1))  # on validation
    is_best = np.arange(rates)[None, :, None, None] == best
    right[..., _POOL:] = is_best
    if group == TEST:  # on test all rates are alike, so that only a leak shows
        right[..., :_POOL] = right[:, :1, :, :_POOL]
    if group == RATE:
        even = (np.arange(seeds) % 2 == 0)[None, None, :, None]
        right[..., :_POOL] = np.where(even, ~is_best, is_best)
    if group == ERROR:  # a gain that is far from 0, so that its sign shows
        right[1, ..., :_POOL] |= rng.random(shape[1:-1] + (_POOL,)) < 0.5
    return {
        "y": rng.permutation(np.arange(rows) % _CLASSES).astype(np.int64),
        "right": right,
        "by_heart": group == TEST,
        "k": 3,
        "seeds": [int(s) for s in rng.choice(1000, seeds, replace=False)],
        "rates": [0.1, 0.01, 0.001],
    }


class _World:
    """Trains nothing, knows everything: what was fitted on what, and how it scores."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.inputs, self.calls = inputs, []
        self.scored_on_support = False
        self.y = torch.from_numpy(inputs["y"])
        self.right = torch.from_numpy(inputs["right"])

    def rows(self, part: slice) -> Dataset:
        """Samples whose only feature is their own number."""
        x = torch.arange(len(self.y), dtype=torch.float32)[part, None]
        names = tuple("abcd")
        return Dataset(x, self.y[part], names, "rows", "rows", (), _CARD)

    def arm(self, name: str) -> Callable[..., Any]:
        """A ``fit(x, y, lr, seed)`` that gives a ``predict(x)``."""

        def fit(x: torch.Tensor, y: torch.Tensor, lr: float, seed: int) -> Any:
            support = x[:, 0].long()
            self.calls.append((name, lr, seed, frozenset(support.tolist())))
            right = self._table(name, lr, seed).clone()
            if self.inputs["by_heart"]:
                right[support] = True

            def predict(x: torch.Tensor) -> torch.Tensor:
                row = x[:, 0].long()
                asked = set(row.tolist())
                self.scored_on_support |= asked <= set(support.tolist())
                return (self.y[row] + (~right[row]).long()) % _CLASSES

            return predict

        return fit

    def _table(self, name: str, lr: float, seed: int) -> torch.Tensor:
        rates, seeds = self.inputs["rates"], self.inputs["seeds"]
        if lr not in rates or seed not in seeds:
            raise ValueError(
                "fit must get one of `rates` as lr and one of `seeds` as seed, got "
                f"lr={lr} and seed={seed}."
            )
        return self.right[_ARMS.index(name), rates.index(lr), seeds.index(seed)]

    def honest(self, name: str, seed: int) -> float:
        """Test accuracy without leaks at the rate that validation chooses."""
        lr = max(
            self.inputs["rates"],
            key=lambda lr: self._table(name, lr, seed)[_POOL:].float().mean(),
        )
        wanted = (name, lr, seed)  # never trained: "all runs" says so
        used = next((s for *run, s in self.calls if tuple(run) == wanted), frozenset())
        free = [i for i in range(_POOL) if i not in used]
        return self._table(name, lr, seed)[free].double().mean().item()


def observe(candidate: Callable[..., Any], case: Case) -> Mapping[str, Any]:
    """Run the comparison; report its numbers and what the arms saw."""
    world, given = _World(case.inputs), case.inputs
    seeds, rates = given["seeds"], given["rates"]
    result = candidate(
        {name: world.arm(name) for name in _ARMS},
        world.rows(slice(0, _POOL)),
        world.rows(slice(_POOL, None)),
        given["k"],
        list(seeds),
        list(rates),
    )
    runs = {(arm, lr, seed) for arm, lr, seed, _ in world.calls}
    supports = {(s, rows) for _, _, s, rows in world.calls}
    scores = [torch.as_tensor(result["accuracy"][arm]).double() for arm in _ARMS]
    return {
        "accuracy": torch.stack(scores),
        "honest": torch.tensor(
            [[world.honest(arm, s) for s in seeds] for arm in _ARMS]
        ).double(),
        "gain": float(result["gain"]),
        "error": float(result["error"]),
        "all runs": runs == {(a, r, s) for a in _ARMS for r in rates for s in seeds},
        "one support per seed": len(supports) == len(seeds),
        "scored on support": world.scored_on_support,
        "new support per seed": len({rows for _, rows in supports}) >= len(seeds),
    }


bug_hunt = Probe(
    id="why_transfer.bug_hunt",
    title="Bug hunt: does transfer help?",
    points=4,
    minutes=25,
    level="medium",
    hints=(
        "Follow one test sample: could the model have trained on it? Could its label "
        "have chosen the learning rate? Then follow one seed: what is the same for "
        "both arms?",
        "Test on what few_shot leaves over; choose the rate by validation accuracy "
        "alone; one seed means one support for both arms; the standard error of a mean "
        "paired difference is std(transfer - scratch) / sqrt(number of seeds).",
        "support, test = pool.few_shot(k, seed=seed) once per seed, before the loop "
        "over arms. For each arm train with every rate, keep the predictor with the "
        "best accuracy on `validation`, and score that one on `test`. At the end d = "
        "transfer - scratch, gain = d.mean(), error = d.std() / len(seeds) ** 0.5.",
    ),
    make=make,
    observe=observe,
    kind="property",
    forgeable=True,
)
