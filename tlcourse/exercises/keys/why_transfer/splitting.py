"""k-shot splits: what is right, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlcourse.data.splitting import pick_few_shot
from tlcourse.exercises.spec import Case, Key, Mutant, Property

_PICKS, _SEEDED, _REFUSES = "k of every class", "seeded draws", "refuses bad input"
Pair = tuple[Tensor, Tensor]


def _reference(y: Tensor, k: int, seed: int) -> Pair:
    _, numbers = np.unique(y.numpy(), return_inverse=True)
    num_classes = int(numbers.max()) + 1
    if k >= 1 and (np.bincount(numbers) == k).all():  # the package refuses this
        return torch.arange(len(y)), torch.arange(0)
    support, rest = pick_few_shot(k, numbers, None, num_classes, seed)
    return torch.from_numpy(support), torch.from_numpy(rest)


def _members(y: Tensor, k: int) -> list[Tensor]:
    """The indices of each class."""
    found = [(y == c).nonzero().flatten() for c in y.unique()]
    if k < 1 or min(map(len, found)) < k:
        raise ValueError(f"every class needs at least {k} samples, and k >= 1")
    return found


def _split(y: Tensor, chosen: list[Tensor]) -> Pair:
    """The chosen samples, and all others."""
    support = torch.cat(chosen)
    rest = torch.ones(len(y), dtype=torch.bool)
    rest[support] = False
    return support, rest.nonzero().flatten()


def _own(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _not_stratified(y: Tensor, k: int, seed: int) -> Pair:
    wanted = k * len(_members(y, k))
    return _split(y, [torch.randperm(len(y), generator=_own(seed))[:wanted]])


def _with_replacement(y: Tensor, k: int, seed: int) -> Pair:
    g = _own(seed)
    return _split(
        y, [m[torch.randint(len(m), (k,), generator=g)] for m in _members(y, k)]
    )


def _leaky_rest(y: Tensor, k: int, seed: int) -> Pair:
    return _reference(y, k, seed)[0], torch.arange(len(y))


def _first_k(y: Tensor, k: int, seed: int) -> Pair:
    return _split(y, [m[:k] for m in _members(y, k)])


def _seeds_the_world(y: Tensor, k: int, seed: int) -> Pair:
    torch.manual_seed(seed)
    return _split(y, [m[torch.randperm(len(m))[:k]] for m in _members(y, k)])


def _no_seed(y: Tensor, k: int, seed: int) -> Pair:
    return _split(y, [m[torch.randperm(len(m))[:k]] for m in _members(y, k)])


def _takes_what_is_there(y: Tensor, k: int, seed: int) -> Pair:
    g = _own(seed)
    members = _members(y, 1)
    return _split(y, [m[torch.randperm(len(m), generator=g)[:k]] for m in members])


def _counts_classes(y: Tensor, k: int, seed: int) -> Pair:
    _members(y, k)
    g = _own(seed)
    found = [(y == c).nonzero().flatten() for c in range(len(y.unique()))]
    return _split(y, [m[torch.randperm(len(m), generator=g)[:k]] for m in found])


def _is_pair(seen: Mapping[str, Any], case: Case) -> bool:
    arrays = seen["support"], seen["rest"]
    return seen["tensors"] and all(a.dtype == np.int64 and a.ndim == 1 for a in arrays)


def _k_per_class(seen: Mapping[str, Any], case: Case) -> bool:
    y = case.inputs["y"]
    classes, counts = np.unique(y[seen["support"]], return_counts=True)
    return np.array_equal(classes, np.unique(y)) and (counts == case.inputs["k"]).all()


def _complete(seen: Mapping[str, Any], case: Case) -> bool:
    found = np.union1d(seen["support"], seen["rest"])
    return np.array_equal(found, np.arange(len(case.inputs["y"])))


def _every_sample_comes_up(seen: Mapping[str, Any], case: Case) -> bool:
    drawn = np.unique(np.concatenate(seen["draws"]))
    return np.array_equal(drawn, np.arange(len(case.inputs["y"])))


def _same_chance(seen: Mapping[str, Any], case: Case) -> bool:
    """How often the first, second, ... sample of a class is drawn, over all classes.

    A right answer may draw the same places in every class, so that only the draws
    are independent: with 200 of them and p = 1/3 the deviation is 1/30, and one of
    12 places lies outside 0.18 with probability under 1e-6.
    """
    y, k = case.inputs["y"], case.inputs["k"]
    place = np.empty(len(y), dtype=np.int64)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        place[members] = np.arange(len(members))
    share = np.bincount(place[np.concatenate(seen["draws"])], minlength=len(members))
    share = share / len(seen["draws"]) / len(np.unique(y))
    return bool((np.abs(share - k / len(members)) < 0.18).all())


kshot_split = Key(
    reference=_reference,
    properties=(
        Property(
            "pair of indices",
            _is_pair,
            "Return two one-dimensional int64 tensors of indices: support and rest.",
            _PICKS,
        ),
        Property(
            "no sample twice",
            lambda seen, case: len(set(seen["support"])) == len(seen["support"]),
            "A sample is in the support more than once.",
            _PICKS,
        ),
        Property(
            "k per class",
            _k_per_class,
            "The support must hold exactly k samples of every class that occurs in y.",
            _PICKS,
        ),
        Property(
            "disjoint",
            lambda seen, case: not np.intersect1d(seen["support"], seen["rest"]).size,
            "A sample is in the support and in the rest.",
            _PICKS,
        ),
        Property(
            "complete",
            _complete,
            "Support and rest together must hold every sample.",
            _PICKS,
        ),
        Property(
            "the seed decides",
            lambda seen, case: np.array_equal(seen["support"], seen["again"]),
            "The same seed must give the same support.",
            _SEEDED,
        ),
        Property(
            "leaves the global state",
            lambda seen, case: seen["untouched"],
            "The global random state of torch, NumPy or Python was changed; use a "
            "generator of your own.",
            _SEEDED,
        ),
        Property(
            "another seed, another support",
            lambda seen, case: len({tuple(sorted(d)) for d in seen["draws"]}) > 1,
            "Another seed must give another support.",
            _SEEDED,
        ),
        Property(
            "every sample comes up",
            _every_sample_comes_up,
            "Over many seeds every sample must have a chance to be drawn; some never "
            "are. Shuffle all members of a class, the last one too.",
            _SEEDED,
        ),
        Property(
            "same chance",
            _same_chance,
            "Over many seeds some samples of a class are drawn far more often than "
            "others. Shuffle all its members, then take k.",
            _SEEDED,
        ),
        Property(
            "refuses",
            lambda seen, case: seen["refused"],
            "A k that is too large for a class, or below 1, must be a ValueError.",
            _REFUSES,
        ),
    ),
    mutants=(
        Mutant(
            "not_stratified",
            _not_stratified,
            "You draw from all samples at once, so some classes get more than k and "
            "others none. Draw k within each class.",
        ),
        Mutant(
            "with_replacement",
            _with_replacement,
            "You draw with replacement: a sample can come twice, and the model sees "
            "fewer than k. Shuffle the class's indices and take the first k.",
        ),
        Mutant(
            "leaky_rest",
            _leaky_rest,
            "The support is still in the rest, so the test set holds training samples "
            "and every accuracy is too good. Take the support out.",
        ),
        Mutant(
            "first_k",
            _first_k,
            "You take the first k of each class, whatever the seed. Repetitions would "
            "then all use one support, and its luck would look like the truth. "
            "Shuffle first.",
        ),
        Mutant(
            "seeds_the_world",
            _seeds_the_world,
            "A global seed (torch.manual_seed, random.seed) resets the random state of "
            "the whole program: weights drawn later depend on this split. Use "
            "torch.Generator().",
        ),
        Mutant(
            "no_seed",
            _no_seed,
            "The seed is not used, so nobody can draw the same support again, and two "
            "methods cannot be compared on it. Feed a generator with the seed.",
        ),
        Mutant(
            "takes_what_is_there",
            _takes_what_is_there,
            "A class with fewer than k samples passes silently, and your “k-shot” "
            "result is none. Raise a ValueError, and for k < 1 too.",
        ),
        Mutant(
            "counts_classes",
            _counts_classes,
            "You loop over 0, 1, 2, ... but labels need not be numbered without gaps. "
            "Loop over y.unique().",
        ),
    ),
)
