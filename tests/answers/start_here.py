"""A second right answer to each exercise, in another style than solutions/."""

import numpy as np


def accuracy(logits, targets):
    hits = 0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        hits += max(range(len(row)), key=row.__getitem__) == target
    return hits / len(targets)


def bug_hunt(x, y, fraction, seed):
    numbers = np.random.RandomState(seed).permutation(len(x))
    cut = len(x) - round(fraction * len(x))
    train, test = np.split(numbers, [cut])
    return x[train], y[train], x[test], y[test]
