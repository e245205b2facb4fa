"""Drawing an episode: a right answer, and the mistakes that have a name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tlcourse.exercises.keys.few_shot.drawing import PROPERTIES
from tlcourse.exercises.spec import Key, Mutant

_Four = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class _Draw:
    """An episode; each field may hold one mistake."""

    classes: str = "uniform"
    items: str = "uniform"
    query: str = "rest"
    names: str = "new"
    random: str = "generator"
    refuses: bool = True

    def __call__(
        self, labels: Tensor, ways: int, shots: int, queries: int, generator: object
    ) -> _Four:
        if self.random == "global":
            generator = torch.default_generator
        if self.random == "reseeded":
            generator = torch.Generator().manual_seed(generator.initial_seed())
        classes, counts = labels.unique(return_counts=True)
        if self.refuses and (len(classes) < ways or counts.min() < shots + queries):
            raise ValueError("too few classes or samples")
        chosen = self._classes(labels, classes, ways, generator)
        parts: list[list[Tensor]] = [[], [], [], []]
        other = torch.randperm(len(chosen), generator=generator).tolist()
        for new, old in enumerate(chosen.tolist()):
            members = (labels == old).nonzero().flatten()
            support, query = self._items(members, shots, queries, generator)
            asked = other[new] if self.names == "shuffled" else new
            names = (old, old) if self.names == "old" else (new, asked)
            for part, values in zip(
                parts,
                (support, torch.full_like(support, names[0]), query,
                 torch.full_like(query, names[1])),
                strict=True,
            ):  # fmt: skip
                part.append(values)
        return tuple(torch.cat(part) for part in parts)

    def _classes(
        self, labels: Tensor, classes: Tensor, ways: int, generator: object
    ) -> Tensor:
        if self.classes == "first":
            return classes[:ways]
        if self.classes == "neighbours":
            start = int(torch.randint(len(classes), (1,), generator=generator))
            return classes.roll(start)[:ways]
        if self.classes == "replaced":
            return classes[torch.randint(len(classes), (ways,), generator=generator)]
        if self.classes == "by size":
            mixed = labels[torch.randperm(len(labels), generator=generator)].tolist()
            return torch.tensor(list(dict.fromkeys(mixed))[:ways])
        return classes[torch.randperm(len(classes), generator=generator)[:ways]]

    def _items(
        self, members: Tensor, shots: int, queries: int, generator: object
    ) -> tuple[Tensor, Tensor]:
        n = len(members)
        order = torch.randperm(n, generator=generator)
        if self.items == "first":
            order = torch.arange(n)
        if self.items == "replaced":
            order = torch.randint(n, (shots + queries,), generator=generator)
        rest = order[shots : shots + queries]
        if self.query == "any":
            rest = torch.randperm(n, generator=generator)[:queries]
        if self.query == "all":
            rest = order[shots:]
        return members[order[:shots]], members[rest]


sample_episode = Key(
    reference=_Draw(),
    properties=PROPERTIES,
    mutants=(
        Mutant(
            "query_from_all",
            _Draw(query="any"),
            "The query is drawn from all samples of the class, those of the support "
            "included: the test set holds training samples, and the accuracy is too "
            "high. Draw K + Q at once and cut.",
        ),
        Mutant(
            "old_labels",
            _Draw(names="old"),
            "The labels are those of the data set. A head for N classes knows 0 to "
            "N - 1 only: give each drawn class its place in the list.",
        ),
        Mutant(
            "query_named_otherwise",
            _Draw(names="shuffled"),
            "Support and query do not use the same new label for a class. Relabel both "
            "from one list of drawn classes.",
        ),
        Mutant(
            "first_classes",
            _Draw(classes="first"),
            "The same classes come in every episode. Draw them: a random permutation "
            "of the classes, and its first N.",
        ),
        Mutant(
            "classes_replaced",
            _Draw(classes="replaced"),
            "Classes are drawn with replacement: one class may get two new labels in "
            "one task. Take the first N of a random permutation.",
        ),
        Mutant(
            "neighbouring_classes",
            _Draw(classes="neighbours"),
            "The classes of a task, or the samples of a class, are neighbours in a "
            "list, so most sets never come. Take the first of a random permutation.",
        ),
        Mutant(
            "large_classes_first",
            _Draw(classes="by size"),
            "A class with many samples is drawn more often. Draw from the list of "
            "classes, where each stands once, not from the samples' labels.",
        ),
        Mutant(
            "first_samples",
            _Draw(items="first"),
            "Each class always shows the same samples, the first ones. Shuffle the "
            "samples of a class before you cut.",
        ),
        Mutant(
            "samples_replaced",
            _Draw(items="replaced"),
            "Samples are drawn with replacement, so one may come twice, or be support "
            "and query at once. Use a random permutation.",
        ),
        Mutant(
            "whole_rest_as_query",
            _Draw(query="all"),
            "The query holds all the rest of a class. It has Q samples of each class, "
            "or large classes weigh more.",
        ),
        Mutant(
            "generator_ignored",
            _Draw(random="global"),
            "The generator is not used: torch draws from its global state, and the "
            "result cannot be reproduced. Pass generator=generator.",
        ),
        Mutant(
            "generator_restarted",
            _Draw(random="reseeded"),
            "Every call starts the generator anew, so that all episodes are the same "
            "one. Use the generator as it is; it moves on by itself.",
        ),
        Mutant(
            "nothing_refused",
            _Draw(refuses=False),
            "Too few classes or samples give a smaller task without a word. Raise a "
            "ValueError.",
        ),
    ),
)
