"""Check cells of the kit: which they are, and what a learner hears of hidden cases."""

from dataclasses import replace

import numpy as np
import pytest
from papers import answer, check_cell, given, marked, notebook

from tlcourse.exercises import verdict, wire
from tlcourse.exercises.observing import Observation, Raised, Run, observe, plain
from tlcourse.grading.judging import checking
from tlcourse.grading.judging.concealing import without_cases
from tlcourse.grading.running.questions import (
    Check,
    Question,
    UnusableCheck,
    check_cells,
    seed_for,
)

CHECK = Check("losses.cross_entropy", "cross_entropy")


def question(seed=7):
    return Question.of(CHECK, seed, 60)


def seen_by(asked, candidate):
    """What a kernel would send back, sent back."""
    run = observe(asked.exercise.probe, candidate, asked.cases)
    return wire.decode_run(wire.encode_run(run), asked.cases)


def test_only_the_single_call_is_a_check_cell():
    master = notebook(
        given('check("losses.cross_entropy", f)'),
        answer('check("losses.cross_entropy", f)', "a"),
        check_cell(),
        marked("assert f(1) == 2", "t", 2),
        marked('%%time\ncheck("losses.cross_entropy", f)', "magic", 2),
        marked('check("nobody.knows", f)', "other", 2),
    )
    assert check_cells(master) == {"losses-cross_entropy": CHECK}


@pytest.mark.parametrize(
    "source",
    [
        'print(1)\ncheck("losses.cross_entropy", f)',
        'r = check("losses.cross_entropy", f)',
        'check("losses.cross_entropy", lambda x, y: 0)',
        'tlcourse.check("losses.cross_entropy", f)',
        'check("losses.cross_entropy", f).points',
        'check("losses.cross_entropy", candidate=f)\ncheck("losses.l2_sp", g)',
    ],
)
def test_another_form_is_refused_for_the_whole_assignment(source):
    with pytest.raises(UnusableCheck, match="'t' calls check"):
        check_cells(notebook(marked(source, "t", 3)))


def test_an_exercise_is_checked_once():
    twice = notebook(check_cell(), marked(check_cell().source, "again", 3))
    with pytest.raises(UnusableCheck, match="two graded cells"):
        check_cells(twice)


def test_a_students_seed_is_their_own_and_never_the_public_one():
    seeds = {seed_for(5, True, f"s{i}") for i in range(1_000)}
    assert len(seeds) == 1_000
    assert all(0 < seed < 2**31 for seed in seeds)
    assert seed_for(5, False, "s1") == 5


def leaky(logits, targets):
    print("the case is", logits)
    raise ValueError(f"secret {logits.tolist()}")


def test_hidden_cases_are_not_told():
    asked = question()
    run = seen_by(asked, leaky)
    observations = [
        replace(o, raised=replace(o.raised, type="Stolen11012"))
        for o in run.observations
    ]
    run = replace(run, observations=tuple(observations))
    report = checking.judged(asked, run, "nothing of it")
    text = str(report) + report.to_html() + str(report.to_json())
    assert "secret" not in text
    assert "Stolen" not in text
    assert "the case is" not in text
    assert "raise Value" not in text
    assert "error: Exception: (not shown" in report.detail


def test_published_cases_are_no_secret():
    asked = question(seed=0)
    report = checking.judged(asked, seen_by(asked, leaky), "")
    assert "secret" in report.detail
    assert "the case is" in report.printed


def test_a_line_is_quoted_only_if_the_learner_wrote_it():
    def of(source):
        observed = Observation(raised=Raised("ValueError", "m", "return x[0]", 3))
        return without_cases(Run((observed,)), source, ()).observations[0].raised

    assert of("def f(x):\n    return x[0]\n").line == "return x[0]"
    assert of("def f(x):\n    return x[1]\n").line == ""


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("name 'nn' is not defined", True),
        ("name 'n7' is not defined", False),
        ("'Tensor' object has no attribute 'nn'", True),
        ("nn 7.25", False),
    ],
)
def test_an_error_is_told_if_it_only_names_what_the_learner_wrote(message, told):
    observed = Observation(raised=Raised("NameError", message))
    run = without_cases(Run((observed,)), "nn.Linear(2, 2)", ())
    assert (run.observations[0].raised.message == message) is told


def test_a_text_that_came_out_is_not_quoted():
    value = plain(["stolen", ("stolen", 2)])
    run = without_cases(Run((Observation({"v": value}),)), "", ())
    assert "stolen" not in run.observations[0].values["v"].label
    assert "stolen" not in run.observations[0].values["v"].value[0].label


def test_only_a_forbidden_name_of_the_probe_is_told():
    forged = replace(Run(()), forbidden="stolen 1 2 3")
    told = without_cases(forged, "", ("torch.nn.x",)).forbidden
    assert told == "what it must not call"
    real = replace(forged, forbidden="torch.nn.x")
    assert without_cases(real, "", ("torch.nn.x",)).forbidden == "torch.nn.x"


def test_concealing_changes_no_points():
    """The mistake is still named where all that is known are numbers and types."""
    asked = question()
    for mutant in asked.exercise.key.mutants:
        run = seen_by(asked, mutant.fn)
        hidden = checking.judged(asked, run, "")
        plainly = verdict(asked.exercise, run, asked.cases, asked.seed)
        assert (hidden.points, hidden.misconception) == (
            plainly.points,
            plainly.misconception,
        )
        assert hidden.misconception == mutant.name


def test_a_missing_name_is_known():
    asked = question()
    assert checking.is_missing(seen_by(asked, wire.MISSING))
    assert not checking.is_missing(seen_by(asked, lambda a, b: np.nowhere))


def test_put_makes_the_points_what_nbgrader_reads():
    from nbgrader.utils import determine_grade

    cell = check_cell(points=3)
    checking.put(checking.crashed(question(), "It ended."), cell)
    assert determine_grade(cell) == (0, 3)


def test_a_long_number_is_not_quoted_for_its_digits_could_be_a_text():
    value = plain(int.from_bytes(b"hidden inputs", "big"))
    run = without_cases(Run((Observation({"v": value}),)), "", ())
    (shown,) = run.observations[0].values.values()
    assert shown.label == "a large whole number"
    assert shown.value == value.value


@pytest.mark.parametrize("how", ["told 0.25 0.5", "exit 1 2", "signal 123", 7, None])
def test_the_words_of_an_ending_are_ours(how):
    report = checking.run_of(question(), {"status": "ended", "how": how}, "")
    assert report.message == "Your answer ended Python (no answer)."
