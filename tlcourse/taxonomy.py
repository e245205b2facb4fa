"""The names of transfer: two taxonomies, from facts about source and target."""

from __future__ import annotations


def classify_scenario(
    *,
    same_feature_space: bool,
    same_marginal: bool,
    same_label_space: bool,
    same_conditional: bool,
    source_labels: bool,
    target_labels: bool,
) -> dict[str, str]:
    r"""Name a transfer scenario. Chapter 01 asks you to write it.

    With domain :math:`D = \{\mathcal X, P(X)\}` and task
    :math:`T = \{\mathcal Y, P(Y|X)\}` (Pan and Yang, 2010, section 2.2):

    - ``spaces``: "homogeneous", or "heterogeneous" where feature spaces differ
      (Weiss et al., 2016).
    - ``change``: "none", "domain adaptation" (only D differs), "task transfer"
      (only T differs), "domain and task transfer".
    - ``by_task`` (Pan and Yang, 2010, definitions 2 to 4): "traditional" where
      nothing differs; where the tasks differ "inductive" with target labels and
      "unsupervised" with no labels at all; where only the domain differs
      "transductive" with source labels alone; else "no name".
    - ``by_labels`` (Zhuang et al., 2021): "traditional" where nothing
      differs; else "inductive" with target labels, "transductive" with source
      labels alone, "unsupervised" with none.

    Across feature spaces :math:`P(Y|X)` is called the same when the same rule gives
    the labels, as Pan and Yang do for documents in two languages.

    Args:
        same_feature_space: whether :math:`\mathcal X_S = \mathcal X_T`.
        same_marginal: whether :math:`P_S(X) = P_T(X)`.
        same_label_space: whether :math:`\mathcal Y_S = \mathcal Y_T`.
        same_conditional: whether :math:`P_S(Y|X) = P_T(Y|X)`.
        source_labels: whether there are labelled source samples.
        target_labels: whether there are labelled target samples.

    Returns:
        The four names, by the keys above.

    Raises:
        ValueError: equal marginals on different feature spaces, or equal
            conditionals on different label spaces.
    """
    if same_marginal and not same_feature_space:
        raise ValueError(
            "P(X) cannot be the same on different feature spaces; set "
            "same_marginal=False or same_feature_space=True."
        )
    if same_conditional and not same_label_space:
        raise ValueError(
            "P(Y|X) cannot be the same on different label spaces; set "
            "same_conditional=False or same_label_space=True."
        )
    domain, task = not same_marginal, not same_conditional  # which of them differs
    change = {
        (False, False): "none",
        (True, False): "domain adaptation",
        (False, True): "task transfer",
        (True, True): "domain and task transfer",
    }
    return {
        "spaces": "homogeneous" if same_feature_space else "heterogeneous",
        "change": change[domain, task],
        "by_task": _by_task(domain, task, source_labels, target_labels),
        "by_labels": _by_labels(domain or task, source_labels, target_labels),
    }


def _by_task(domain: bool, task: bool, source_labels: bool, target_labels: bool) -> str:
    if not domain and not task:
        return "traditional"
    if task and target_labels:
        return "inductive"
    if task and not source_labels:
        return "unsupervised"
    if not task and source_labels and not target_labels:
        return "transductive"
    return "no name"


def _by_labels(differs: bool, source_labels: bool, target_labels: bool) -> str:
    if not differs:
        return "traditional"
    if target_labels:
        return "inductive"
    return "transductive" if source_labels else "unsupervised"
