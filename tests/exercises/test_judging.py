import numpy as np
import pytest
import torch
from toys import TOY, doubled, drawing, toy, tripled

from tlcourse.exercises import Case, Exercise, Key, judge
from tlcourse.exercises.judging import verdict
from tlcourse.exercises.observing import Run, observe


def on_numbers(change):
    """The right answer, changed where it is a tensor; text is still refused."""

    def candidate(x):
        return change(doubled(x))

    return candidate


def raising(y):
    raise RuntimeError("boom")


def with_nan(y):
    y[0] = float("nan")
    return y


# From the last step to the first: each wrong answer also has all the later faults.
STEPS = {
    "has a wrong value": on_numbers(lambda y: y * 1.1),
    "is not finite": on_numbers(lambda y: with_nan(y * 1.1)),
    "has the wrong dtype": on_numbers(lambda y: with_nan(y * 1.1).double()),
    "has the wrong shape": on_numbers(lambda y: with_nan(y * 1.1).double()[:-1]),
    "has the wrong type": on_numbers(lambda y: with_nan(y * 1.1).double()[:-1].numpy()),
    "raised an error": on_numbers(raising),
    "is missing": on_numbers(lambda y: None),
}


@pytest.mark.parametrize("sentence", STEPS)
def test_the_first_difference_is_named(sentence):
    report = judge(TOY, STEPS[sentence])
    assert sentence in report.message
    assert "case: 3 numbers" in report.detail
    assert report.points == 0


def test_full_marks_and_the_stub():
    assert judge(TOY, doubled).points == 4

    def stub(x):
        raise NotImplementedError

    report = judge(TOY, stub)
    assert (report.status, report.points) == ("not attempted", 0)


def test_partial_credit_by_group():
    def only_small(x):
        y = doubled(x)
        return y if y.max() < 1e3 else y + 1e6

    report = judge(TOY, only_small)
    assert [g.passed for g in report.groups] == [True, False, True]
    assert report.points == 2.66  # two thirds of four, rounded down
    assert report.status == "partial"


def test_refusing_everything_earns_nothing():
    def refuse(x):
        raise ValueError("x must be numbers")

    assert judge(TOY, refuse).points == 0


def test_another_error_than_the_asked_one_is_wrong():
    def wrong_error(x):
        if isinstance(x, str):
            raise TypeError("x must be numbers")
        return x * 2

    report = judge(TOY, wrong_error)
    assert [g.passed for g in report.groups] == [True, True, False]
    assert "expected: ValueError" in report.detail


def test_a_mutant_is_recognised():
    report = judge(TOY, lambda x: tripled(x) * 1.0)
    assert report.misconception == "tripled"
    assert report.message == TOY.key.mutants[0].message


def test_a_changed_input_is_reported():
    def in_place(x):
        return x.mul_(2) if not isinstance(x, str) else doubled(x)

    report = judge(TOY, in_place)
    assert "changed its input (x)" in report.message
    assert report.points == 0


class Liar:
    def __eq__(self, other):
        return True

    __hash__ = None


class Subclass(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "lie",
    [
        lambda y: Liar(),
        lambda y: y.as_subclass(Subclass),
        lambda y: np.asarray(y).tolist(),
        lambda y: np.ma.masked_array(y.numpy()),
        lambda y: torch.full_like(y, float("nan")),
        lambda y: torch.full_like(y, float("inf")),
        lambda y: y.to(torch.bfloat16),
        lambda y: y.to_sparse(),
    ],
    ids=["eq", "subclass", "list", "masked", "nan", "inf", "bfloat16", "sparse"],
)
def test_impostors_earn_nothing(lie):
    assert judge(TOY, on_numbers(lie)).points == 0


def test_a_lying_input_is_still_seen_as_changed():
    cases = [Case("g", "names", {"names": ["a", "b"], "share": float("nan")})]

    def fools(names, share):
        names[0] = Liar()
        return 1

    def honest(names, share):
        return 1

    exercise = Exercise(
        toy(
            make=lambda seed: cases,
            observe=lambda c, case: {"y": c(**case.inputs)},
        ).probe,
        Key(honest, ()),
    )
    assert judge(exercise, honest).score == 1
    assert "changed its input (names)" in judge(exercise, fools).message


@pytest.mark.parametrize("number", [10**30, 10**400, float("nan"), True, "2.0", 3.0])
def test_numbers_of_any_size_are_compared(number):
    one = [Case("g", "a number", {})]
    exercise = Exercise(
        toy(make=lambda seed: one, observe=lambda c, case: {"y": c()}).probe,
        Key(lambda: 2.0, ()),
    )
    assert judge(exercise, lambda: number).score == 0
    assert judge(exercise, lambda: 2).score == 1  # a whole number is a number


def test_exits_and_broken_errors_do_not_leave_the_check():
    class Unprintable(Exception):
        def __str__(self):
            raise RuntimeError

    def unprintable(x):
        raise Unprintable

    def leaves(x):
        raise SystemExit(3)

    assert "cannot be shown" in judge(TOY, unprintable).detail
    assert "SystemExit" in judge(TOY, leaves).detail


def test_the_learners_line_and_error_are_shown():
    def divides(x):
        return x / (0 if isinstance(x, str) else int(x.numel() * 0))

    def honest_failure(x):
        values = [1, 2]
        return values[7]

    detail = judge(TOY, honest_failure).detail
    assert "return values[7]" in detail
    assert "error: IndexError: list index out of range" in detail
    assert "Traceback" not in detail


def test_properties():
    exercise = drawing()
    assert judge(exercise, exercise.key.reference).score == 1
    assert judge(exercise, lambda n: torch.arange(90, 90 + n)).score == 1

    def one_twice(n):
        return torch.tensor([1, 1, *range(2, n)])

    report = judge(exercise, one_twice)
    assert (report.score, report.misconception) == (0, "replacement")

    def too_large(n):
        return torch.arange(98, 98 + n)

    report = judge(exercise, too_large)
    assert (report.message, report.misconception) == ("Too large.", None)

    def of_another_type(n):
        return "1, 2, 3, 4, 5"

    assert judge(exercise, of_another_type).score == 0


def test_a_key_that_is_slower_than_the_limit_still_finishes():
    import time

    def slow(x):
        time.sleep(0.1)
        return doubled(x)

    limits = type(TOY.probe.limits)(seconds=0.2)
    exercise = Exercise(toy(limits=limits).probe, Key(slow, ()))
    assert judge(exercise, doubled).score == 1


def test_verdict_needs_only_data():
    cases = TOY.probe.make(0)
    run = observe(TOY.probe, doubled, cases)
    assert verdict(TOY, run, cases, 0).score == 1
    late = Run(run.observations[:1], out_of_time=True)
    assert "“5 numbers”" in verdict(TOY, late, cases, 0).message
