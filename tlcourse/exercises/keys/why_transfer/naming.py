"""Names of scenarios: what is right, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Callable

from tlcourse import taxonomy
from tlcourse.exercises.spec import Key, Mutant

_right = taxonomy.classify_scenario
_COARSE = {
    "same_marginal": "same_feature_space",
    "same_conditional": "same_label_space",
}


def _looks_only_at_spaces(fact: str) -> Callable[..., dict[str, str]]:
    """Takes the spaces for the whole: equal spaces, equal distributions."""

    def named(**facts: bool) -> dict[str, str]:
        _right(**facts)  # keeps the checks
        return _right(**{**facts, fact: facts[_COARSE[fact]]})

    return named


def _by_task_from_labels(**facts: bool) -> dict[str, str]:
    names = _right(**facts)
    return {**names, "by_task": names["by_labels"]}


def _by_labels_from_task(**facts: bool) -> dict[str, str]:
    names = _right(**facts)
    return {**names, "by_labels": names["by_task"]}


def _needs_both_labels(**facts: bool) -> dict[str, str]:
    names = _right(**facts)
    if names["by_task"] == "inductive" and not facts["source_labels"]:
        names["by_task"] = "no name"
    return names


def _heterogeneous_by_distribution(**facts: bool) -> dict[str, str]:
    spaces = "homogeneous" if facts["same_marginal"] else "heterogeneous"
    return {**_right(**facts), "spaces": spaces}


def _believes_everything(**facts: bool) -> dict[str, str]:
    possible = {fact: facts[fact] and facts[space] for fact, space in _COARSE.items()}
    return _right(**{**facts, **possible})


classify_scenario = Key(
    reference=_right,
    mutants=(
        Mutant(
            "domain_is_space",
            _looks_only_at_spaces("same_marginal"),
            "A domain is a feature space and a distribution on it. Sans and serif "
            "letters are both 32 x 32 pictures, yet P(X) differs: two domains.",
        ),
        Mutant(
            "task_is_label_space",
            _looks_only_at_spaces("same_conditional"),
            "A task is a label space and P(Y|X). The same classes under another "
            "labelling rule (concept shift) are another task.",
        ),
        Mutant(
            "by_task_from_labels",
            _by_task_from_labels,
            "Your `by_task` is the answer to `by_labels`. Pan and Yang ask first "
            "whether the tasks differ, and some cells of their table have no name.",
        ),
        Mutant(
            "by_labels_from_task",
            _by_labels_from_task,
            "Your `by_labels` is the answer to `by_task`. Zhuang et al. ask only who "
            "has labels, once anything differs at all.",
        ),
        Mutant(
            "needs_both_labels",
            _needs_both_labels,
            "Inductive transfer needs labels in the target only. With an unlabelled "
            "source it is called self-taught learning and is inductive all the same.",
        ),
        Mutant(
            "heterogeneous_by_distribution",
            _heterogeneous_by_distribution,
            "Heterogeneous means different feature spaces. Another distribution on the "
            "same space is homogeneous transfer.",
        ),
        Mutant(
            "believes_everything",
            _believes_everything,
            "Contradictory facts were accepted. Distributions on different spaces "
            "cannot be equal: raise a ValueError.",
        ),
    ),
)
