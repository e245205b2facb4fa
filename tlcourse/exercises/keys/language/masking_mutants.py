"""Maskings that are right but for one point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tlcourse.exercises.spec import Mutant

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Masking:
    """A right masking, but for one point."""

    specials_too: bool = False
    probability: float | None = None
    chosen: str = "each"  # or "column", "text", "number", "not none"
    masked: float = 0.8
    replaced: float = 0.1
    overwrites: bool = False
    fates: str = "each"
    words: str = "each"  # or "text", "one", "all but the last", "all but the first"
    restarts: bool = False
    swaps: bool = False
    per_seed: bool = True
    seeds_the_world: bool = False
    in_place: bool = False
    elsewhere: int = -100
    labels: str = "chosen"  # or "all", "masked", "changed", "late"

    def __call__(
        self, ids: Tensor, special: Tensor, mask_id: int, vocab_size: int,
        probability: float, generator: torch.Generator,
    ) -> Pair:  # fmt: skip
        g = generator if self.per_seed else None
        if self.seeds_the_world:
            torch.manual_seed(generator.initial_seed())
            g = None
        if self.restarts:
            g = torch.Generator().manual_seed(generator.initial_seed())
        draw = torch.rand(_shape(ids, self.chosen), generator=g).expand(ids.shape)
        ordinary = ~special | self.specials_too
        chosen = self._choose(draw, ordinary, self.probability or probability)
        fate = torch.rand(_shape(ids, self.fates), generator=g).expand(ids.shape)
        first = int(self.words == "all but the first")
        last = vocab_size - int(self.words == "all but the last")
        words = torch.randint(first, last, _shape(ids, self.words), generator=g)
        words = words.expand(ids.shape)
        masked = chosen & (fate < self.masked)
        replaced = chosen & ~masked & (fate < self.masked + self.replaced)
        if self.overwrites:
            replaced = chosen & (torch.rand(ids.shape, generator=g) < self.replaced)
        before = ids.clone()
        inputs = ids if self.in_place else ids.clone()
        inputs[masked] = mask_id
        inputs[replaced] = words[replaced]
        source = inputs if self.labels == "late" else before
        changed = masked | replaced
        where = {"all": chosen | True, "masked": masked, "changed": changed}
        kept = where.get(self.labels, chosen)
        labels = torch.where(kept, source, self.elsewhere)
        return (labels, inputs) if self.swaps else (inputs, labels)

    def _choose(self, draw: Tensor, ordinary: Tensor, p: float) -> Tensor:
        chosen = (draw < p) & ordinary
        if self.chosen not in ("number", "not none"):
            return chosen
        rank = draw.masked_fill(~ordinary, 2).argsort(1).argsort(1)
        if self.chosen == "not none":
            return chosen | ((rank == 0) & ~chosen.any(1, keepdim=True))
        number = (p * ordinary.sum(1, keepdim=True)).round().clamp(min=1)
        return (rank < number) & ordinary


def _shape(ids: Tensor, how: str) -> tuple[int, ...]:
    """Of the draws: one for all, for a text, for a column, else for each position."""
    b, t = ids.shape
    return {"one": (1, 1), "text": (b, 1), "column": (1, t)}.get(how, (b, t))


MUTANTS = (
    Mutant(
        "specials_too",
        _Masking(specials_too=True),
        "[CLS], [SEP] and padding are hidden too: the model is asked to guess "
        "padding, and mostly that. Choose only where `special` is False.",
    ),
    Mutant(
        "probability_ignored",
        _Masking(probability=0.15),
        "15 % is fixed in your code. Choose with the `probability` that was given.",
    ),
    Mutant(
        "same_places",
        _Masking(chosen="column"),
        "One draw per column hides the same positions in every text. Draw a number "
        "for each position of each text: torch.rand(ids.shape, ...).",
    ),
    Mutant(
        "whole_texts",
        _Masking(chosen="text"),
        "One draw per text hides all of a text or nothing. Draw a number for each "
        "position of each text: torch.rand(ids.shape, ...).",
    ),
    Mutant(
        "fixed_number",
        _Masking(chosen="number"),
        "Each text loses a fixed number of tokens, round(probability * length) or so. "
        "Each position is chosen by itself, so the number varies.",
    ),
    Mutant(
        "never_none",
        _Masking(chosen="not none"),
        "Where no token was chosen, your code hides one all the same. Then short texts "
        "are hidden more often than `probability` says; none is a right result.",
    ),
    Mutant(
        "always_mask",
        _Masking(masked=1.0, replaced=0.0),
        "Every chosen token becomes [MASK]. The texts that the encoder reads later "
        "have none, so it is also asked about real tokens: keep 10 % and replace "
        "10 %, by a draw for each position.",
    ),
    Mutant(
        "ten_percent_of_the_rest",
        _Masking(masked=0.8, replaced=0.02),
        "Only a tenth of the tokens that were not masked are replaced, which is 2 % "
        "of the chosen. Of the remaining 20 % it must be half.",
    ),
    Mutant(
        "none_kept",
        _Masking(masked=0.8, replaced=0.2),
        "All that is not masked is replaced: 80 / 20 / 0. Half of those, 10 % of "
        "the chosen, stay as they are.",
    ),
    Mutant(
        "overwrites_masked",
        _Masking(overwrites=True),
        "The random tokens are drawn among all chosen ones, so some overwrite [MASK]: "
        "72 / 10 / 18. One draw must decide the fate of a token, or the second must "
        "leave out the masked ones.",
    ),
    Mutant(
        "one_fate_per_text",
        _Masking(fates="text"),
        "One draw decides the fate of all chosen tokens of a text (or column). Draw "
        "one for each position: torch.rand(ids.shape, ...).",
    ),
    Mutant(
        "one_word_per_text",
        _Masking(words="text"),
        "All replaced tokens of a text (or column) become the same word. Draw one "
        "for each position: torch.randint(vocab_size, ids.shape, ...).",
    ),
    Mutant(
        "last_word_never",
        _Masking(words="all but the last"),
        "The last token of the vocabulary is never drawn: torch.randint(n, ...) "
        "already stops at n - 1. Pass vocab_size, not vocab_size - 1.",
    ),
    Mutant(
        "first_word_never",
        _Masking(words="all but the first"),
        "Token 0 is never drawn. The random token comes from the whole vocabulary, 0 "
        "to vocab_size - 1.",
    ),
    Mutant(
        "one_random_word",
        _Masking(words="one"),
        "One random token replaces all: it was drawn once for the whole batch. Draw "
        "torch.randint(vocab_size, ids.shape, ...).",
    ),
    Mutant(
        "labels_everywhere",
        _Masking(labels="all"),
        "Labels stand at every position, so the loss rewards copying what the model "
        "can see. They must be -100 where no token was chosen.",
    ),
    Mutant(
        "labels_of_masked_only",
        _Masking(labels="masked"),
        "Only tokens that became [MASK] have labels. The replaced and the kept ones "
        "were chosen as well: without labels they teach nothing.",
    ),
    Mutant(
        "kept_without_label",
        _Masking(labels="changed"),
        "The chosen tokens that stay as they are have no label, so they teach nothing: "
        "the model never learns that a visible token may be right. Label all that were "
        "chosen.",
    ),
    Mutant(
        "labels_too_late",
        _Masking(labels="late"),
        "Labels are copied after the tokens were hidden: the model is asked to "
        "answer [MASK]. Take them from the original ids.",
    ),
    Mutant(
        "zero_elsewhere",
        _Masking(elsewhere=0),
        "Labels are 0 where nothing was chosen: that is a token of the vocabulary, "
        "and the loss counts it. Cross-entropy leaves out -100.",
    ),
    Mutant(
        "swapped",
        _Masking(swaps=True),
        "The two results are exchanged: first the inputs, then the labels.",
    ),
    Mutant(
        "in_place",
        _Masking(in_place=True),
        "`ids` itself is overwritten: in the next epoch the text is hidden for "
        "ever. Work on ids.clone().",
    ),
    Mutant(
        "global_randomness",
        _Masking(per_seed=False),
        "The generator is not used, so nobody can draw the same masks again. Pass "
        "generator=generator to every draw.",
    ),
    Mutant(
        "restarts",
        _Masking(restarts=True),
        "Your code makes a new generator from the old one's seed, so every batch hides "
        "the same places. Pass the generator itself to the draws.",
    ),
    Mutant(
        "seeds_the_world",
        _Masking(seeds_the_world=True),
        "torch.manual_seed resets the randomness of the whole program: dropout and "
        "batches then repeat themselves. Pass the generator to your draws.",
    ),
)
