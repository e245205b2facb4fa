"""Which samples go where: stratified splits that keep groups whole, k-shot picks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlcourse.arguments import whole


def split_indices(
    fractions: Sequence[float],
    labels: np.ndarray | None,
    groups: np.ndarray | None,
    n: int,
    seed: int,
) -> list[np.ndarray]:
    """Cut n samples into parts of the given fractions.

    Args:
        fractions: sizes of the parts, each > 0, sum <= 1; a sum below 1 gives one
            more part with what is left.
        labels: ``(n,)`` whole numbers to stratify by, or None.
        groups: ``(n,)`` whole numbers; samples of one group stay together.
        n: number of samples.
        seed: the same seed gives the same parts.

    Returns:
        One sorted index array per part; together they hold every sample once.

    Raises:
        ValueError: bad fractions, or a part would be empty.
    """
    shares = _checked(fractions)
    rng = np.random.default_rng(seed)
    strata = np.zeros(n, dtype=np.int64) if labels is None else labels
    if groups is None:
        part = _deal_samples(shares, strata, rng)
    else:
        part = _deal_groups(shares, strata, groups, rng)
    parts = [np.flatnonzero(part == j) for j in range(len(shares))]
    if any(len(indices) == 0 for indices in parts):
        whole = f"{n} samples" if groups is None else f"{len(set(groups))} groups"
        raise ValueError(
            f"A split of {whole} into {_shown(shares)} leaves a part empty; "
            "use larger fractions, fewer parts or more data."
        )
    return parts


def pick_few_shot(
    k: int, labels: np.ndarray, groups: np.ndarray | None, num_classes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pick k samples of every class, and say which samples are left.

    With groups, whole groups are used up one after the other, and every sample
    that shares a group with the support is kept out of the rest.

    Returns:
        ``(support, rest)``, sorted index arrays.

    Raises:
        ValueError: k is not a positive whole number, a class has fewer than k
            samples, or nothing is left.
    """
    whole("k", k, 1)
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < k:
        raise ValueError(
            f"few_shot({k}) needs {k} samples in every class, class "
            f"{int(counts.argmin())} has {int(counts.min())}; use a smaller k."
        )
    rng = np.random.default_rng(seed)
    support = np.zeros(len(labels), dtype=bool)
    for label in range(num_classes):
        members = rng.permutation(np.flatnonzero(labels == label))
        if groups is not None:
            # Stable sort by a random rank per group: whole groups, random order.
            _, inverse = np.unique(groups[members], return_inverse=True)
            members = members[np.argsort(rng.permutation(inverse.max() + 1)[inverse])]
        support[members[:k]] = True
    used = support if groups is None else np.isin(groups, groups[support])
    if used.all():
        raise ValueError(
            f"few_shot({k}) leaves no sample for the rest; use a smaller k."
        )
    return np.flatnonzero(support), np.flatnonzero(~used)


def _checked(fractions: Sequence[float]) -> np.ndarray:
    """The fractions as an array that sums to exactly 1."""
    try:
        shares = np.asarray(fractions, dtype=np.float64)
    except (TypeError, ValueError):
        shares = np.array([np.nan])
    if shares.ndim != 1 or not len(shares) or not (shares > 0).all():
        raise ValueError(
            f"split needs fractions above 0, got {tuple(fractions)!r}; "
            "for example split(0.8, 0.2)."
        )
    total = shares.sum()
    if total > 1 + 1e-9:
        raise ValueError(
            f"The fractions {_shown(shares)} sum to {total:.4g}; "
            "they must sum to at most 1."
        )
    if total < 1 - 1e-9:
        return np.append(shares, 1 - total)
    return shares / total


def _shown(shares: np.ndarray) -> str:
    return "(" + ", ".join(f"{share:.3g}" for share in shares) + ")"


def _deal_samples(
    shares: np.ndarray, strata: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Part number of every sample: each class divided as evenly as rounding allows.

    What rounding takes from a part in one class is owed to it in the next, so that
    small classes do not all favour the same part.
    """
    part = np.empty(len(strata), dtype=np.int64)
    owed = np.zeros(len(shares))
    for label in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == label))
        wanted = shares * len(members) + owed
        counts = np.floor(np.maximum(wanted, 0)).astype(np.int64)
        while counts.sum() > len(members):  # debts of other parts: give back
            counts[(counts - wanted).argmax()] -= 1
        while counts.sum() < len(members):
            counts[(wanted - counts).argmax()] += 1
        owed = wanted - counts
        part[members] = np.repeat(np.arange(len(shares)), counts)
    return part


def _deal_groups(
    shares: np.ndarray,
    strata: np.ndarray,
    groups: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Part number of every sample, groups whole.

    Class by class (a group's class is that of its first sample), big groups first,
    each group goes to the part that lacks most samples.
    """
    _, first, inverse, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    labels = strata[first]
    part_of_group = np.empty(len(sizes), dtype=np.int64)
    owed = np.zeros(len(shares))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        members = members[np.argsort(-sizes[members], kind="stable")]
        owed += shares * sizes[members].sum()
        for group in members:
            part_of_group[group] = owed.argmax()
            owed[part_of_group[group]] -= sizes[group]
    return part_of_group[inverse]
