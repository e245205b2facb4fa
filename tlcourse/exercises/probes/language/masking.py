"""What is asked about BERT's masking."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probing import Candidate, Seen, tensors
from tlcourse.exercises.spec import Case, Probe

# The groups; the key's properties name them, too.
CHOSEN, FATE, LABELS, DRAWS = (
    "which tokens",
    "80 / 10 / 10",
    "labels",
    "the generator decides",
)
CLS, SEP, MASK, FIRST_WORD = 1, 2, 3, 5
_TEXTS, _LONGEST = 300, 80


def _make_mask_tokens(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, probability: float, n: int = _TEXTS, t: int = _LONGEST,
        size: int = 0, one_by_one: bool = False,
    ) -> Case:  # fmt: skip
        size = size or int(rng.integers(900, 1200))
        ends = rng.integers(t - t // 3, t, n)  # where [SEP] stands
        ends[:2] = t - t // 3, t - 1
        places = np.arange(t)
        ids = rng.integers(FIRST_WORD, size, (n, t))
        ids[places > ends[:, None]] = 0
        ids[places == ends[:, None]] = SEP
        ids[:, 0] = CLS
        return Case(group, about, {
            "ids": ids,
            "special": ids < FIRST_WORD,
            "vocab_size": size,
            "probability": probability,
            "one_by_one": one_by_one,
            "seed": int(rng.integers(2**31)),
        })  # fmt: skip

    return [
        case(CHOSEN, "300 texts, probability 0.15", 0.15),
        case(CHOSEN, "300 texts, probability 0.4", 0.4),
        case(CHOSEN, "two texts, probability 1", 1.0, n=2),
        case(CHOSEN, "short texts, one per call", 0.12, n=150, t=10, one_by_one=True),
        case(FATE, "300 texts, probability 0.3", 0.3),
        case(FATE, "a vocabulary of 12 tokens", 0.8, n=200, size=12),
        case(LABELS, "300 texts, probability 0.2", 0.2),
        case(DRAWS, "equal and other seeds", 0.15, n=20),
    ]


def _observe_mask_tokens(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)

    def call(generator: torch.Generator, rows: slice = slice(None)) -> Any:
        ids, special = given["ids"][rows], given["special"][rows]
        size, probability = given["vocab_size"], given["probability"]
        return candidate(ids, special, MASK, size, probability, generator)

    def seeded(number: int) -> torch.Generator:
        return torch.Generator().manual_seed(given["seed"] + number)

    generator = seeded(0)
    if given["one_by_one"]:
        n = len(given["ids"])
        rows = [call(seeded(i), slice(i, i + 1)) for i in range(n)]
        inputs, labels = (torch.cat(parts) for parts in zip(*rows, strict=True))
    else:
        inputs, labels = call(generator)
    if case.group != DRAWS:
        return {"inputs": inputs, "labels": labels}
    state = torch.get_rng_state()
    later = call(generator)
    again, other = call(seeded(0)), call(seeded(1))
    return {
        "inputs": inputs,
        "labels": labels,
        "a later call, another result": not torch.equal(inputs, later[0]),
        "equal seeds, equal results": torch.equal(inputs, again[0])
        and torch.equal(labels, again[1]),
        "another seed, another result": not torch.equal(inputs, other[0]),
        "the global state stays": torch.equal(state, torch.get_rng_state()),
    }


mask_tokens = Probe(
    id="language.mask_tokens",
    title="Hide tokens as BERT does",
    points=5,
    minutes=25,
    level="medium",
    hints=(
        "Two decisions are made for each token: is it chosen, and, if so, what happens "
        "to it? Which of the two do the labels know about?",
        "chosen = (u < probability) and not special, with u uniform in [0, 1), one for "
        "each position; a second uniform v decides the fate of a chosen token: v < 0.8 "
        "is [MASK], 0.8 <= v < 0.9 a random token, else it stays. Labels are the "
        "original token where chosen, -100 elsewhere.",
        "u, v = (torch.rand(ids.shape, generator=generator) for _ in range(2)); words "
        "= torch.randint(vocab_size, ids.shape, generator=generator); labels = "
        "torch.where(chosen, ids, -100); inputs = ids.clone(); inputs[chosen & (v < "
        "0.8)] = mask_id; r = chosen & (v >= 0.8) & (v < 0.9); inputs[r] = words[r].",
    ),
    make=_make_mask_tokens,
    observe=_observe_mask_tokens,
    forbid=(
        "tlcourse.language.mask_tokens",
        "transformers.DataCollatorForLanguageModeling",
    ),
    kind="property",
)
