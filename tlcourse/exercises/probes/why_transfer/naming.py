"""Names of scenarios: what is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tlcourse.exercises.probing import REFUSES
from tlcourse.exercises.spec import Case, Probe

_FACTS = (
    "same_feature_space",
    "same_marginal",
    "same_label_space",
    "same_conditional",
    "source_labels",
    "target_labels",
)
_NAMES = {
    "what changes": ("spaces", "change"),
    "named by task": ("by_task",),
    "named by labels": ("by_labels",),
}


def _make_classify_scenario(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    every = [[bool(number >> bit & 1) for bit in range(6)] for number in range(64)]
    facts = [dict(zip(_FACTS, row, strict=True)) for row in every]
    allowed = [f for f in facts if not _contradiction(f)]
    refused = [f for f in facts if _contradiction(f)]

    def case(group: str, known: dict[str, bool]) -> Case:
        about = ", ".join(f"{name}={value}" for name, value in known.items())
        return Case(group, about, known)

    cases = [
        case(group, allowed[i])
        for group in _NAMES
        for i in rng.permutation(len(allowed))
    ]
    some = rng.permutation(len(refused))[:8]
    return cases + [case(REFUSES, refused[i]) for i in some]


def _contradiction(facts: Mapping[str, bool]) -> bool:
    return (facts["same_marginal"] and not facts["same_feature_space"]) or (
        facts["same_conditional"] and not facts["same_label_space"]
    )


def _observe_classify_scenario(
    candidate: Callable[..., Any], case: Case
) -> Mapping[str, Any]:
    named = candidate(**case.inputs)
    if not isinstance(named, dict):
        return {"names": named}
    wanted = _NAMES.get(case.group, ())
    return {name: named[name] for name in wanted if name in named}


classify_scenario = Probe(
    id="why_transfer.classify_scenario",
    title="Name the scenario",
    points=4,
    minutes=25,
    level="medium",
    hints=(
        "Domain = feature space and P(X); task = label space and P(Y|X). Which two "
        "yes/no facts follow, and which names need nothing but those two and who has "
        "labels?",
        "domain differs = not same_marginal (equal marginals need equal spaces); task "
        "differs = not same_conditional. by_task looks at whether the task differs "
        "first, by_labels only at whether anything differs and then at the labels.",
        "Raise ValueError for the two contradictions. by_task: nothing differs -> "
        "'traditional'; task differs and target_labels -> 'inductive'; task differs "
        "and no labels at all -> 'unsupervised'; only the domain differs, source "
        "labels and no target labels -> 'transductive'; else 'no name'. by_labels: "
        "nothing differs -> 'traditional'; target_labels -> 'inductive'; source_labels "
        "-> 'transductive'; else 'unsupervised'.",
    ),
    make=_make_classify_scenario,
    observe=_observe_classify_scenario,
    forbid=("tlcourse.taxonomy.classify_scenario",),
)
