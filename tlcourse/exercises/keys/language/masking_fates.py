"""What becomes of the chosen tokens: what every right masking satisfies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tlcourse.exercises.keys.language.masking_counts import (
    MASK,
    SIGMAS,
    chosen,
    excess,
    near,
)
from tlcourse.exercises.spec import Case, Property

FATE = "80 / 10 / 10"


def _fates(seen: Mapping[str, Any], case: Case) -> tuple[np.ndarray, ...]:
    taken = chosen(seen, case) & ~case.inputs["special"]
    if not taken.any():
        raise ValueError("nothing was chosen")  # which breaks the property
    now, before = seen["inputs"][taken], case.inputs["ids"][taken]
    return now, now == MASK, now == before


def _masked_share(seen: Mapping[str, Any], case: Case) -> bool:
    now, masked, _ = _fates(seen, case)
    return near(masked.sum(), len(now), 0.8 + 0.1 / case.inputs["vocab_size"])


def _some_kept(seen: Mapping[str, Any], case: Case) -> bool:
    now, _, kept = _fates(seen, case)
    share = 0.1 + 0.1 / case.inputs["vocab_size"]  # some are drawn again
    return kept.mean() > share or near(kept.sum(), len(now), share)


def _some_replaced(seen: Mapping[str, Any], case: Case) -> bool:
    now, masked, kept = _fates(seen, case)
    other = ~masked & ~kept
    share = 0.1 - 0.2 / case.inputs["vocab_size"]
    return other.mean() > share or near(other.sum(), len(now), share)


def _one_by_one(seen: Mapping[str, Any], case: Case) -> bool:
    """Neither a text nor a column has one fate, nor one random word."""
    taken = chosen(seen, case) & ~case.inputs["special"]
    if not taken.any():
        raise ValueError("nothing was chosen")
    masked = seen["inputs"] == MASK
    p = masked[taken].mean()
    if 0 < p < 1 and max(excess(masked, taken, p, axis) for axis in (0, 1)) > 8:
        return False
    words = _words(seen, case)
    few = case.inputs["vocab_size"] < 100 or len(set(words)) < 2
    return few or len(set(words)) > 0.6 * len(words)


def _words(seen: Mapping[str, Any], case: Case) -> list[int]:
    """The random tokens; none if they are too few to judge them."""
    now, masked, kept = _fates(seen, case)
    words = now[~masked & ~kept].tolist()
    return words if len(words) >= 100 else []


def _many_words(seen: Mapping[str, Any], case: Case) -> bool:
    return len(set(_words(seen, case))) != 1


def _inside(seen: Mapping[str, Any], case: Case) -> bool:
    return all(0 <= v < case.inputs["vocab_size"] for v in _words(seen, case))


def _often(seen: Mapping[str, Any], case: Case, tokens: Iterable[int]) -> bool:
    """Whether each of ``tokens`` is drawn about as often as 1 / vocab_size says."""
    words, size = np.array(_words(seen, case)), case.inputs["vocab_size"]
    if size > 100 or len(set(words.tolist())) < 2:
        return True  # each is too rare, or another property says so
    taken = chosen(seen, case) & ~case.inputs["special"]
    before = case.inputs["ids"][taken]
    weights = {v: (before != v).sum() for v in range(size) if v != MASK}
    each = len(words) / sum(weights.values())  # times a weight: about 80
    return all(0.25 < (words == v).sum() / (each * weights[v]) < 2.5 for v in tokens)


def _evenly(seen: Mapping[str, Any], case: Case) -> bool:
    """In the middle on average, hardly any of many often, each of few as often."""
    words, size = np.array(_words(seen, case)), case.inputs["vocab_size"]
    if len(set(words.tolist())) < 2 or not _inside(seen, case):
        return True  # another property says so
    if size < 100:
        return _often(seen, case, (v for v in range(1, size - 1) if v != MASK))
    middle = abs(words.mean() / size - 0.5) < SIGMAS * 0.29 / np.sqrt(len(words))
    return middle and np.bincount(words).max() < 30


FATES = (
    Property(
        "one by one",
        _one_by_one,
        "One draw decides for several chosen tokens. Draw the fate and the random "
        "token for each position.",
        FATE,
    ),
    Property(
        "80 % masked",
        _masked_share,
        "Of the chosen tokens 80 % must become mask_id.",
        FATE,
    ),
    Property(
        "10 % kept",
        _some_kept,
        "Of the chosen tokens 10 % must stay what they are, with a label.",
        FATE,
    ),
    Property(
        "10 % replaced",
        _some_replaced,
        "Of the chosen tokens 10 % must become another token, drawn at random.",
        FATE,
    ),
    Property(
        "many words",
        _many_words,
        "All random tokens are the same one. Draw one for each position.",
        FATE,
    ),
    Property(
        "inside the vocabulary",
        _inside,
        "A random token is vocab_size or larger, or negative. torch.randint(n, ...) "
        "draws from 0 to n - 1.",
        FATE,
    ),
    Property(
        "first word",
        lambda seen, case: _often(seen, case, [0]),
        "Token 0 is hardly ever drawn: the random tokens come from 0 to "
        "vocab_size - 1.",
        FATE,
    ),
    Property(
        "last word",
        lambda seen, case: _often(seen, case, [case.inputs["vocab_size"] - 1]),
        "Token vocab_size - 1 is hardly ever drawn, or far too often.",
        FATE,
    ),
    Property(
        "evenly",
        _evenly,
        "The random tokens must be drawn evenly from 0 to vocab_size - 1.",
        FATE,
    ),
)
