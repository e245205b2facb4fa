"""The names of well-known problems, and rules that hold for all combinations."""

from itertools import product

import pytest

from tlcourse.taxonomy import classify_scenario

FACTS = ("same_feature_space", "same_marginal", "same_label_space", "same_conditional",
         "source_labels", "target_labels")  # fmt: skip


def named(*values):
    return classify_scenario(**dict(zip(FACTS, map(bool, values), strict=True)))


def allowed():
    rows = product((False, True), repeat=6)
    return [row for row in rows if row[0] >= row[1] and row[2] >= row[3]]


# space, P(X), label space, P(Y|X), source labels, target labels
KNOWN = {
    "one data set, split": ((1, 1, 1, 1, 1, 1),
        ("homogeneous", "none", "traditional", "traditional")),
    "sans to unlabelled serif": ((1, 0, 1, 1, 1, 0),
        ("homogeneous", "domain adaptation", "transductive", "transductive")),
    "sans to labelled serif": ((1, 0, 1, 1, 1, 1),
        ("homogeneous", "domain adaptation", "no name", "inductive")),
    "latin to greek, few labels": ((1, 0, 0, 0, 1, 1),
        ("homogeneous", "domain and task transfer", "inductive", "inductive")),
    "self-taught learning": ((1, 0, 0, 0, 0, 1),
        ("homogeneous", "domain and task transfer", "inductive", "inductive")),
    "same pictures, new question": ((1, 1, 0, 0, 1, 1),
        ("homogeneous", "task transfer", "inductive", "inductive")),
    "concept shift, no new labels": ((1, 1, 1, 0, 1, 0),
        ("homogeneous", "task transfer", "no name", "transductive")),
    "clustering with an auxiliary set": ((1, 0, 0, 0, 0, 0),
        ("homogeneous", "domain and task transfer", "unsupervised", "unsupervised")),
    "topics in another language": ((0, 0, 1, 1, 1, 0),
        ("heterogeneous", "domain adaptation", "transductive", "transductive")),
}  # fmt: skip


@pytest.mark.parametrize("facts, names", KNOWN.values(), ids=KNOWN)
def test_known_problems(facts, names):
    assert tuple(named(*facts).values()) == names


def test_thirty_six_combinations_are_possible():
    assert len(allowed()) == 36
    assert all(list(named(*row)) == ["spaces", "change", "by_task", "by_labels"]
               for row in allowed())  # fmt: skip


def test_where_both_taxonomies_give_a_name_it_is_the_same():
    for row in allowed():
        names = named(*row)
        assert names["by_task"] in ("no name", names["by_labels"])


def test_which_combinations_have_no_name_by_task():
    nameless = [row for row in allowed() if named(*row)["by_task"] == "no name"]
    for _, marginal, _, conditional, source, target in nameless:
        if conditional:  # one task: transductive needs source labels alone
            assert not marginal and (target or not source)
        else:  # two tasks: labels in the source alone lead to no box
            assert source and not target
    assert 0 < len(nameless) < 36


IMPOSSIBLE = sorted(set(product((False, True), repeat=6)) - set(allowed()))


@pytest.mark.parametrize("row", IMPOSSIBLE)
def test_contradictions_are_refused(row):
    with pytest.raises(ValueError, match="cannot be the same"):
        named(*row)
