"""A small exercise to judge wrong answers with: double a vector, refuse text."""

from dataclasses import replace

import numpy as np
import torch

from tlcourse.exercises import (
    Case,
    Exercise,
    Key,
    Limits,
    Mutant,
    Probe,
    Property,
)


def doubled(x):
    if isinstance(x, str):
        raise ValueError("x must be numbers")
    return x * 2


def tripled(x):
    return doubled(x) * 1.5


def make(seed):
    rng = np.random.default_rng(seed)
    cases = [Case("values", f"{n} numbers", {"x": _vector(rng, n)}) for n in (3, 5)]
    cases.append(Case("large", "large numbers", {"x": 1e6 * _vector(rng, 4)}))
    return [*cases, Case("refuses", "text", {"x": "text"})]


def _vector(rng, n):
    return rng.normal(1, 0.1, n).astype(np.float32)


def see(candidate, case):
    x = case.inputs["x"]
    y = candidate(torch.from_numpy(x) if isinstance(x, np.ndarray) else x)
    return {} if y is None else {"y": y}


PROBE = Probe(
    id="toys.doubled",
    title="Double it",
    points=4,
    minutes=1,
    level="easy",
    hints=("What is twice?", "y = 2 x", "return x * 2"),
    make=make,
    observe=see,
    limits=Limits(seconds=2.0, items=50),
)
MUTANTS = (Mutant("tripled", tripled, "You multiply by three; multiply by two."),)
TOY = Exercise(PROBE, Key(doubled, MUTANTS))


def toy(**probe_fields):
    return Exercise(replace(PROBE, **probe_fields), TOY.key)


def drawing(message="A sample is drawn twice; draw without replacement."):
    """A property exercise: five different numbers below 100."""

    def draw(n):
        return torch.randperm(100)[:n]

    def with_replacement(n):
        return torch.zeros(n, dtype=torch.int64)

    probe = replace(
        PROBE,
        id="toys.draw",
        kind="property",
        make=lambda seed: [Case("draws", "5 of 100", {"n": 5})],
        observe=lambda candidate, case: {"drawn": candidate(case.inputs["n"])},
    )
    distinct = Property(
        "distinct",
        lambda seen, case: len(set(seen["drawn"].tolist())) == case.inputs["n"],
        message,
    )
    below = Property(
        "below", lambda seen, case: bool((seen["drawn"] < 100).all()), "Too large."
    )
    mutant = Mutant("replacement", with_replacement, "You draw with replacement.")
    return Exercise(probe, Key(draw, (mutant,), properties=(distinct, below)))
