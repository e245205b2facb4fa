"""The bug hunt: a right evaluation, and one with each bug left in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlcourse.exercises.keys.few_shot.hunt_properties import PROPERTIES
from tlcourse.exercises.spec import Key, Mutant


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
    ddof_0: bool = False
    rest: bool = False
    one_shot: bool = False

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
                last = len(order) if self.rest else num_shots + num_queries
                queries.append(members[order[num_shots:last]])
                used = support[:1] if self.one_shot else support
                means.append(self._embedded(embed, x[used]).mean(0))
            z = self._embedded(embed, x[torch.cat(queries)])
            squared = (z[:, None] - torch.stack(means)).square().sum(2)
            predicted = (squared if self.farthest else -squared).argmax(1)
            names = chosen if self.old_labels else torch.arange(num_ways)
            results.append(
                (predicted == names.repeat_interleave(len(queries[0]))).float()
            )
        return self._summary(torch.stack(results))

    def _embedded(self, embed: nn.Module, x: Tensor) -> Tensor:
        with torch.no_grad():
            return embed(x)

    def _summary(self, right: Tensor) -> tuple[float, float]:
        values = right.flatten() if self.over_queries else right.mean(1)
        n = 1 if self.spread else len(values)
        spread = values.std(correction=0 if self.ddof_0 else 1)
        return float(right.mean()), float(1.96 * spread / n**0.5)


bug_hunt = Key(
    reference=_Evaluation(),
    properties=PROPERTIES,
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
        Mutant(
            "ddof_0",
            _Evaluation(ddof_0=True),
            "The half width is near, but no 1.96 s / sqrt(episodes): you divide the "
            "squares by the number of episodes (ddof=0, NumPy's default) and not by "
            "episodes - 1, or the factor is not 1.96.",
        ),
        Mutant(
            "whole_rest_asked",
            _Evaluation(rest=True),
            "All the rest of a class is asked. The query has Q samples of each class, "
            "members[num_shots : num_shots + num_queries].",
        ),
        Mutant(
            "one_shot_used",
            _Evaluation(one_shot=True),
            "The prototype is a single support sample, or not the mean of all K, so "
            "more shots are of little use. Take the mean over all K.",
        ),
    ),
)
