"""The bug hunt: a right evaluation, and one with each bug left in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.exercises.probes.few_shot.hunt import CHANCE, INTERVAL, NETWORK, RIGHT
from tlcourse.exercises.spec import Case, Key, Mutant, Property

_SAME = 3 / 7  # INTERVAL: chance that both classes of a task lie in one place


@dataclass(frozen=True)
class _Evaluation:
    """Prototypical accuracy over episodes; each field may hold one mistake."""

    overlap: bool = False
    old_labels: bool = False
    farthest: bool = False
    over_queries: bool = False
    train_mode: bool = False
    same_episode: bool = False
    spread: bool = False

    def __call__(
        self, embed: nn.Module, x: Tensor, y: Tensor, num_ways: int, num_shots: int,
        num_queries: int, episodes: int, seed: int,
    ) -> tuple[float, float]:  # fmt: skip
        generator, classes = torch.Generator().manual_seed(seed), y.unique()
        if not self.train_mode:
            embed.eval()
        results = []
        for _ in range(episodes):
            if self.same_episode:
                generator.manual_seed(seed)
            order = torch.randperm(len(classes), generator=generator)
            chosen, means, queries = classes[order[:num_ways]], [], []
            for label in chosen:
                members = (y == label).nonzero().flatten()
                order = torch.randperm(len(members), generator=generator)
                support = members[order[:num_shots]]
                if self.overlap:
                    order = torch.randperm(len(members), generator=generator)
                    order = torch.cat([order[:num_shots], order])
                queries.append(members[order[num_shots : num_shots + num_queries]])
                means.append(self._embedded(embed, x[support]).mean(0))
            z = self._embedded(embed, x[torch.cat(queries)])
            squared = (z[:, None] - torch.stack(means)).square().sum(2)
            predicted = (squared if self.farthest else -squared).argmax(1)
            names = chosen if self.old_labels else torch.arange(num_ways)
            results.append((predicted == names.repeat_interleave(num_queries)).float())
        return self._summary(torch.stack(results))

    def _embedded(self, embed: nn.Module, x: Tensor) -> Tensor:
        with torch.no_grad():
            return embed(x)

    def _summary(self, right: Tensor) -> tuple[float, float]:
        values = right.flatten() if self.over_queries else right.mean(1)
        n = 1 if self.spread else len(values)
        return float(right.mean()), float(1.96 * values.std() / n**0.5)


def _near(value: Any, wanted: float, off: float) -> bool:
    return math.isfinite(value) and abs(value - wanted) < off


def _at_chance(seen: Mapping[str, Any], case: Case) -> bool:
    """1 in N: every sample is equally far from every other one, so all classes tie."""
    given = case.inputs
    p, n = 1 / given["num_ways"], given["num_ways"] * given["num_queries"]
    off = 9 * math.sqrt(p * (1 - p) / (n * given["episodes"]))
    return _near(seen["mean"], p, off)


def _mixed_mean(seen: Mapping[str, Any], case: Case) -> bool:
    off = 7 * 0.25 / math.sqrt(case.inputs["episodes"])
    return _near(seen["mean"], 1 - _SAME / 2, off)


def _half(case: Case) -> float:
    """What it should be: episodes give about 1/2 or 1, the first 3 times in 7."""
    spread = 0.5 * math.sqrt(_SAME * (1 - _SAME) + 0.025 * _SAME)
    return 1.96 * spread / math.sqrt(case.inputs["episodes"])


bug_hunt = Key(
    reference=_Evaluation(),
    properties=(
        Property(
            "chance",
            _at_chance,
            "With features that mean nothing the accuracy must be 1 in N. Is a query "
            "also in the support, or are right answers not counted?",
            CHANCE,
        ),
        Property(
            "all right",
            lambda seen, case: seen["mean"] > 0.999,
            "With classes far apart every answer is right, and yet the accuracy is not "
            "1. What is compared with what?",
            RIGHT,
        ),
        Property(
            "not the farthest",
            lambda seen, case: seen["mean"] > 0.02,
            "With classes far apart not one answer is right.",
            RIGHT,
        ),
        Property(
            "mean of unequal tasks",
            _mixed_mean,
            "The mean over tasks, half of which are easy, is not what it should be. "
            "Are the episodes drawn anew each time?",
            INTERVAL,
        ),
        Property(
            "half large enough",
            lambda seen, case: seen["half"] > 0.6 * _half(case),
            "The half width is too small for the spread from episode to episode. The "
            "unit is the episode: 1.96 s / sqrt(episodes).",
            INTERVAL,
        ),
        Property(
            "half small enough",
            lambda seen, case: seen["half"] < 1.6 * _half(case),
            "The half width is too large for the mean of so many episodes: "
            "1.96 s / sqrt(episodes).",
            INTERVAL,
        ),
        Property(
            "half above 0",
            lambda seen, case: seen["half"] > 1e-6,
            "The half width is 0: all episodes gave the same.",
            INTERVAL,
        ),
        Property(
            "again",
            lambda seen, case: seen["again"] and seen["other"],
            "The same seed must give the same result, another seed another one.",
            INTERVAL,
        ),
        Property(
            "eval mode",
            lambda seen, case: not seen["ran in train mode"],
            "The network ran in train mode: BatchNorm normalised by the episode.",
            NETWORK,
        ),
        Property(
            "statistics",
            lambda seen, case: seen["statistics kept"],
            "The evaluation changed the network's running statistics.",
            NETWORK,
        ),
        Property(
            "still right",
            lambda seen, case: 0 <= seen["mean"] <= 1,
            "The accuracy is no number between 0 and 1.",
            NETWORK,
        ),
    ),
    mutants=(
        Mutant(
            "support_in_query",
            _Evaluation(overlap=True),
            "The query is drawn again from all samples of the class, so some of it "
            "stood in the support. Shuffle once; the first K are support, the next Q "
            "query.",
        ),
        Mutant(
            "old_labels",
            _Evaluation(old_labels=True),
            "Predictions are places in the list of drawn classes, 0 to N - 1, and they "
            "are compared with the data set's labels. Relabel the query.",
        ),
        Mutant(
            "farthest_class",
            _Evaluation(farthest=True),
            "The class with the largest distance wins. A logit is minus the squared "
            "distance.",
        ),
        Mutant(
            "interval_over_queries",
            _Evaluation(over_queries=True),
            "The interval takes every query for an independent draw. Queries of one "
            "episode share classes and support: take the mean of each episode first, "
            "then the spread of these means.",
        ),
        Mutant(
            "train_mode",
            _Evaluation(train_mode=True),
            "The network is in train mode: its BatchNorm normalises by the episode, "
            "query included, and learns its statistics. Call embed.eval() first.",
        ),
        Mutant(
            "same_episode",
            _Evaluation(same_episode=True),
            "The generator is seeded again in every episode, so that all of them are "
            "the same one. Seed it once, before the loop.",
        ),
        Mutant(
            "no_root_of_n",
            _Evaluation(spread=True),
            "This is the spread of single episodes. The mean of E episodes varies "
            "less: divide by sqrt(E).",
        ),
    ),
)
