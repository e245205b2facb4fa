"""Two views: the reference, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tlcourse.exercises.keys.contrastive.viewing_properties import PROPERTIES
from tlcourse.exercises.spec import Key, Mutant

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class _TwoViews:
    """A right pair of views; each option puts one mistake in."""

    calls: str = "picture"  # or "batch"
    second: str = "fresh"  # or "same", "clean", "of the first", "reseeded"
    order: str = "kept"  # or "shuffled"
    copies: str = "each time"  # or "once", "never"
    draws: str = "given"  # or "global", "restarts", "seeds the world", "numbered"
    joined: bool = False

    def __call__(
        self, x: Tensor, augment: Augment, generator: torch.Generator
    ) -> tuple[Tensor, Tensor] | Tensor:
        g = self._generator(generator)
        x = x.clone() if self.copies == "once" else x
        v1 = self._view(x, augment, g)
        if self.second == "reseeded":
            g.manual_seed(generator.initial_seed())
            v1 = self._view(x, augment, g)
            g.manual_seed(generator.initial_seed())
        v2 = {
            "same": lambda: v1.clone(),
            "clean": lambda: x.clone(),
            "of the first": lambda: self._view(v1, augment, g),
        }.get(self.second, lambda: self._view(x, augment, g))()
        if self.order == "shuffled":
            v2 = v2[torch.randperm(len(x), generator=g)]
        return torch.cat([v1, v2]) if self.joined else (v1, v2)

    def _generator(self, generator: torch.Generator) -> torch.Generator:
        if self.draws == "seeds the world":
            return torch.manual_seed(generator.initial_seed())
        if self.draws == "global":
            return torch.default_generator
        if self.draws == "restarts":
            return torch.Generator().manual_seed(generator.initial_seed())
        return generator

    def _view(self, x: Tensor, augment: Augment, g: torch.Generator) -> Tensor:
        fresh = self.copies == "each time"
        if self.calls == "batch":
            return augment(x.clone() if fresh else x, g)
        parts = []
        for i in range(len(x)):
            picture = x[i : i + 1]
            own = torch.Generator().manual_seed(i) if self.draws == "numbered" else g
            parts.append(augment(picture.clone() if fresh else picture, own))
        return torch.cat(parts)


two_views = Key(
    reference=_TwoViews(),
    properties=PROPERTIES,
    mutants=(
        Mutant(
            "one_view_twice",
            _TwoViews(second="same"),
            "augment runs once, and both views are its result. Their loss is then no "
            "task at all: augment the original picture a second time.",
        ),
        Mutant(
            "one_clean_view",
            _TwoViews(second="clean"),
            "One of the views is x itself. Both go through augment, each with draws of "
            "its own.",
        ),
        Mutant(
            "one_draw_per_batch",
            _TwoViews(calls="batch"),
            "The whole batch goes through augment at once. It draws once per call, so "
            "all pictures are changed alike. Call it for each picture.",
        ),
        Mutant(
            "batch_without_copy",
            _TwoViews(calls="batch", copies="never"),
            "augment gets the whole batch, and x itself. This one draws once per call, "
            "so all pictures are changed alike, and writes into x. Call it for a copy "
            "of each picture.",
        ),
        Mutant(
            "view_of_a_view",
            _TwoViews(second="of the first"),
            "The second view is made from the first, so it is augmented twice. Start "
            "from the original picture both times.",
        ),
        Mutant(
            "input_overwritten",
            _TwoViews(copies="never"),
            "This augment writes into what it is given, so that x changes, and the "
            "second view is augmented twice. Hand it a copy: x[i : i + 1].clone().",
        ),
        Mutant(
            "copied_once",
            _TwoViews(copies="once"),
            "x stays as it is now, but your one copy of it does not: this augment "
            "writes into it, so the second view is augmented twice. Copy each picture "
            "before each call.",
        ),
        Mutant(
            "one_seed_for_both",
            _TwoViews(second="reseeded"),
            "The generator is set back before the second view, so both views get the "
            "same draws. Let it run on.",
        ),
        Mutant(
            "restarts",
            _TwoViews(draws="restarts"),
            "A new generator is made from the old one's seed, so each call gives the "
            "same views again. Pass the generator itself on.",
        ),
        Mutant(
            "numbered_seeds",
            _TwoViews(draws="numbered"),
            "Each picture has a generator seeded with its number: its views are equal, "
            "and the same for ever. Use the generator that is given.",
        ),
        Mutant(
            "global_randomness",
            _TwoViews(draws="global"),
            "The generator is not used, so nobody can draw the same views again. Pass "
            "it to every call of augment.",
        ),
        Mutant(
            "seeds_the_world",
            _TwoViews(draws="seeds the world"),
            "torch.manual_seed resets the randomness of the whole program. Pass the "
            "generator that is given to augment.",
        ),
        Mutant(
            "shuffled",
            _TwoViews(order="shuffled"),
            "The rows of the second view are in another order, so that v1[i] and v2[i] "
            "show two pictures. Keep the order of x in both.",
        ),
        Mutant(
            "joined",
            _TwoViews(joined=True),
            "You return one tensor with 2n rows. Two are asked for, v1 and v2, as a "
            "pair.",
        ),
    ),
)
