"""Which points do not depend on hidden cases: those exercises say ``forgeable``.

The forger here knows what a right answer does on the published cases, all of it, and
claims the same on the hidden ones. What this earns could be stated by code that never
solved the hidden cases.
"""

from dataclasses import replace

import pytest

from tlcourse.exercises import all_exercises
from tlcourse.exercises.judging import verdict
from tlcourse.exercises.observing import Run, observe

PUBLISHED, HIDDEN = 0, (77_777, 123_456, 99)
EXERCISES = list(all_exercises())


def replayed(exercise, hidden):
    """Points for the published cases' observations, claimed for hidden ones."""
    judged = replace(exercise, key=replace(exercise.key, mutants=()))
    published, cases = (exercise.probe.make(seed) for seed in (PUBLISHED, hidden))
    run = observe(exercise.probe, exercise.key.reference, published)
    by_group = {}
    for case, seen in zip(published, run.observations, strict=True):
        by_group.setdefault(case.group, []).append(replace(seen, changed=()))
    claimed = []
    for case in cases:
        known = by_group.get(case.group, run.observations)
        turn = sum(case.group == other.group for other in cases[: len(claimed)])
        claimed.append(known[turn % len(known)])
    return verdict(judged, Run(tuple(claimed)), cases, hidden).points


def cost(exercise):
    return [pytest.mark.slow] if exercise.kind == "program" else []


@pytest.mark.parametrize(
    "exercise", [pytest.param(e, id=e.id, marks=cost(e)) for e in EXERCISES]
)
def test_what_can_be_replayed_is_listed(exercise):
    assert exercise.probe.forgeable or not replayed(exercise, HIDDEN[0])


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_what_is_listed_can_be_replayed(exercise):
    earned = [replayed(exercise, seed) for seed in HIDDEN]
    assert exercise.probe.forgeable == (max(earned) > 0)
