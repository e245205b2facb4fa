"""Drawing an episode: what is true of every right answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tlcourse.exercises.probes.few_shot.sampling import FAIR, GENERATOR, TASK
from tlcourse.exercises.probing import REFUSES
from tlcourse.exercises.spec import Case, Property

Observed = Mapping[str, Any]
_SMALL = 6  # samples of a class, few enough that most of their sets are drawn


def _shapes(seen: Observed, case: Case) -> bool:
    given = case.inputs
    n, draws = given["num_ways"], given["draws"]
    sizes = {"support": n * given["num_shots"], "query": n * given["num_queries"]}
    right = (
        seen[part + end].shape == (draws, size)
        for part, size in sizes.items()
        for end in ("", "_y")
    )
    return all(right) and seen["dtypes"] == ["torch.int64"]


def _apart(seen: Observed, case: Case) -> bool:
    pairs = zip(seen["support"], seen["query"], strict=True)
    return not any(np.isin(s, q).any() for s, q in pairs)


def _no_repeats(seen: Observed, case: Case) -> bool:
    rows = (row for part in ("support", "query") for row in seen[part])
    return all(len(np.unique(row)) == len(row) for row in rows)


def _relabelled(seen: Observed, case: Case) -> bool:
    new = np.arange(case.inputs["num_ways"])
    return all(
        np.array_equal(np.unique(row), new)
        for part in ("support_y", "query_y")
        for row in seen[part]
    )


def _per_class(seen: Observed, case: Case) -> bool:
    given = case.inputs
    wanted = {"support_y": given["num_shots"], "query_y": given["num_queries"]}
    return all(
        (np.unique(row, return_counts=True)[1] == count).all()
        for part, count in wanted.items()
        for row in seen[part]
    )


def _one_class_each(seen: Observed, case: Case) -> bool:
    """New and old labels fit one to one, over support and query together."""
    labels = case.inputs["labels"]
    for s, s_y, q, q_y in zip(
        *(seen[name] for name in ("support", "support_y", "query", "query_y")),
        strict=True,
    ):
        pairs = set(
            zip(labels[np.r_[s, q]].tolist(), np.r_[s_y, q_y].tolist(), strict=True)
        )
        if len(pairs) != len({a for a, _ in pairs}) or len(pairs) != len(
            {b for _, b in pairs}
        ):
            return False
    return True


def _far(counts: np.ndarray, n: np.ndarray | int, p: float) -> bool:
    """Whether a binomial count is 7 standard deviations off: 1e-9 for right ones."""
    return bool((np.abs(counts - n * p) > 7 * np.sqrt(n * p * (1 - p)) + 2).any())


def _classes_fair(seen: Observed, case: Case) -> bool:
    labels = case.inputs["labels"]
    names = np.unique(labels)
    drawn = [np.unique(labels[row]) for row in seen["query"]]
    counts = np.array([sum(name in row for row in drawn) for name in names])
    return not _far(counts, len(drawn), case.inputs["num_ways"] / len(names))


def _classes_change(seen: Observed, case: Case) -> bool:
    labels = case.inputs["labels"]
    return len({tuple(np.unique(labels[row])) for row in seen["query"]}) > 1


def _samples_fair(seen: Observed, case: Case) -> bool:
    labels = case.inputs["labels"]
    for part, each in (("support", "num_shots"), ("query", "num_queries")):
        counts = np.bincount(seen[part].ravel(), minlength=len(labels))
        for name in np.unique(labels):
            members = counts[labels == name]
            times = members.sum() / case.inputs[each]  # how often its class was drawn
            if _far(members, times, case.inputs[each] / len(members)):
                return False
    return True


def _sets_vary(seen: Observed, case: Case) -> bool:
    """Of 20 sets of 3 in 6 classes, and 15 pairs in 6 samples, most are drawn.

    A right answer misses half of them less than once in 1e9 checks.
    """
    labels, shots = case.inputs["labels"], case.inputs["num_shots"]
    names = np.unique(labels)
    sets = {tuple(np.unique(labels[row])) for row in seen["query"]}
    enough = [2 * len(sets) > math.comb(len(names), case.inputs["num_ways"])]
    for name in names:
        size = int((labels == name).sum())
        drawn = {tuple(sorted(row[labels[row] == name])) for row in seen["support"]}
        if size == _SMALL:
            enough.append(2 * len(drawn - {()}) > math.comb(size, shots))
    return all(enough)


def _asked(name: str, message: str, group: str) -> Property:
    return Property(name, lambda seen, case: bool(seen[name]), message, group)


PROPERTIES = tuple(
    Property(name, holds, message, group)
    for group in (TASK, FAIR)
    for name, holds, message in (
        (
            f"{group}: shapes",
            _shapes,
            "Return four int64 tensors: support (N*K,), support_y (N*K,), query "
            "(N*Q,), query_y (N*Q,).",
        ),
        (f"{group}: apart", _apart, "A sample is in the support and in the query."),
        (f"{group}: no repeats", _no_repeats, "A sample occurs twice in one set."),
        (
            f"{group}: relabelled",
            _relabelled,
            "The labels of the task are not 0 to N - 1.",
        ),
        (
            f"{group}: per class",
            _per_class,
            "Not every class has K support and Q query samples.",
        ),
        (
            f"{group}: one class each",
            _one_class_each,
            "A new label stands for two classes, or a class has two new labels: "
            "support and query must agree.",
        ),
    )
) + (
    Property(
        "classes fair",
        _classes_fair,
        "Some classes are drawn more often than others.",
        FAIR,
    ),
    Property(
        "classes change",
        _classes_change,
        "All episodes have the same classes.",
        FAIR,
    ),
    Property(
        "samples fair",
        _samples_fair,
        "Some samples of a class are drawn more often than others.",
        FAIR,
    ),
    Property(
        "sets vary",
        _sets_vary,
        "Some sets of classes or samples never come, neighbours for instance. Take "
        "the first of a random permutation.",
        FAIR,
    ),
    Property(
        f"{GENERATOR}: shapes",
        _shapes,
        "Return four int64 tensors: support (N*K,), support_y (N*K,), query (N*Q,), "
        "query_y (N*Q,).",
        GENERATOR,
    ),
    _asked(
        "again",
        "Two generators with one seed give different episodes.",
        GENERATOR,
    ),
    _asked(
        "goes on",
        "A second draw from the same generator gives the same episode again.",
        GENERATOR,
    ),
    _asked("other", "Another seed gives the same episode.", GENERATOR),
    _asked(
        "global state kept",
        "Drawing uses or changes the random state of the whole program.",
        GENERATOR,
    ),
    _asked(
        "refused",
        "Too few classes, or a class with too few samples, must be a ValueError.",
        REFUSES,
    ),
)
