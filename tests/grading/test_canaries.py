"""Canary cells: every one fails in an honest Python, for the reason it gives."""

import ast

import numpy as np
import pytest
import torch

from tlcourse.grading.running.canaries import (
    asserting,
    bound_names,
    turned_round,
    value,
)

TEST = """\
import math
import numpy as np, torch
from numpy.testing import assert_allclose
assert double(2) == 4 and all(double(x) == 2 * x for x in range(3))
assert isinstance(double(1), int), len([1]) == abs(-1)
assert_allclose(double(1.5), 3.0)
np.testing.assert_array_equal(double(np.ones(2)), 2)
assert torch.allclose(double(torch.ones(1)), torch.tensor(2.0))
assert torch.equal(double(torch.ones(1)), 2) and math.isclose(double(0.5), 1)
torch.testing.assert_close(double(1.0), 2.0)
assert np.allclose(double(1), 2) and round(1.2) == 1 and any([True])
assert sorted([2, 1]) == [1, 2] and type(double(1)) is int and sum([1]) == 1
2.0
"""


def test_every_canary_fails_with_its_own_words():
    found = asserting(TEST, frozenset())
    assert len(found) == 5  # plain, claims, and three functions that raise
    for canary in found:
        with pytest.raises(AssertionError) as error:
            exec(canary.source, {"np": np, "torch": torch})
        assert canary.token in str(error.value)


def test_each_claim_alone_is_false():
    """One that held would hide the others in their disjunction."""
    claims = asserting(TEST, frozenset())[1].source
    test = next(n for n in ast.parse(claims).body if isinstance(n, ast.Assert)).test
    space = {"np": np, "torch": torch, "math": __import__("math")}
    assert len(test.values) == 13
    for claim in test.values:
        assert eval(ast.unparse(claim), space) is False, ast.unparse(claim)


def test_canaries_are_never_the_same():
    texts = {c.source for _ in range(20) for c in asserting(TEST, frozenset())}
    assert len(texts) == 100


def test_a_name_of_the_teachers_own_is_no_helper():
    test = "assert isclose(double(1), 2)"
    own = bound_names(["def isclose(a, b):\n    return abs(a - b) < 1"])
    assert len(asserting(test, frozenset())) == 2
    assert len(asserting(test, own)) == 1


@pytest.mark.parametrize(
    "test", ["%%time\nassert 1 == 2", "from __future__ import annotations\n1", "if"]
)
def test_what_cannot_stand_behind_an_assert_is_left_out(test):
    (canary,) = asserting(test, frozenset())
    with pytest.raises(AssertionError, match=canary.token):
        exec(canary.source)


def test_only_a_test_that_ends_in_a_value_gets_a_value_canary():
    assert value("assert f()") is None
    canary = value("f()\n1.5")
    assert repr(eval(canary.source)) == canary.token


class Everything:
    """What a cheat returns."""

    def __eq__(self, other):
        return True


def double(x):
    return 2 * x


@pytest.mark.parametrize(
    "test",
    [
        "assert double(2) == 4",
        "assert 4 == double(2), 'why'",
        "np.testing.assert_equal(double(2), 4)",
        "assert np.allclose(double(2), 4.0)",
    ],
)
def test_a_claim_turned_round_fails_for_a_right_answer(test):
    space = {"np": np, "double": double}
    exec(test, space)
    canary = turned_round(test)
    with pytest.raises(AssertionError):
        exec(canary.source, space)


def test_a_claim_turned_round_holds_for_what_equals_everything():
    canary = turned_round("assert double(2) == 4")
    with pytest.raises(ValueError, match=canary.beyond):
        exec(canary.source, {"double": lambda x: Everything()})


@pytest.mark.parametrize(
    "test",
    [
        "assert stack.pop() == 3",
        "assert next(items) == 3",
        "assert double(2) == double(1) + 2",
        "assert 2 == 2",
        "assert double(2) != 5",
        "assert double(2) == True",
        "assert double(1) == x == 2",
        "for n in (1, 2): assert double(n) == 2",
    ],
)
def test_what_might_change_something_or_has_no_number_is_not_turned(test):
    assert turned_round(test) is None
