"""The gate: every exercise is proven before a learner meets it."""

import ast
import importlib
import time

import numpy as np
import pytest
from solution_answers import (
    answer_sources,
    learner_cells,
    other_answer,
    printed_answer,
    stub,
)

import tlcourse
from tlcourse.exercises import all_exercises, get, judge
from tlcourse.exercises.catalog import chapters
from tlcourse.exercises.forbidding import watch
from tlcourse.exercises.observing import observe

EXERCISES = list(all_exercises())
MUTANTS = [(e, m) for e in EXERCISES for m in e.key.mutants]
FEW, MANY = range(3), range(3, 20)


def by_id(values):
    return [v.id if hasattr(v, "id") else f"{v[0].id}-{v[1].name}" for v in values]


def each(values):
    return pytest.mark.parametrize("item", values, ids=by_id(values))


seeds = pytest.mark.parametrize(
    "seeds", [FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["few", "many"]
)


def test_counts(record_property):
    cases = sum(len(e.probe.make(0)) for e in EXERCISES)
    line = f"{len(EXERCISES)} exercises, {len(MUTANTS)} mutants, {cases} cases"
    record_property("gate", line)
    print(line)
    assert EXERCISES and MUTANTS


@each(EXERCISES)
def test_is_complete(item):
    names = [m.name for m in item.key.mutants]
    messages = [m.message for m in item.key.mutants]
    assert len(names) >= 4
    assert len(set(names)) == len(names) and len(set(messages)) == len(messages)
    assert all(len(text.split()) >= 5 for text in [*item.hints, *messages])
    assert len(set(item.hints)) == 3
    assert (item.kind == "value") == (not item.key.properties)


@each(EXERCISES)
def test_same_seed_same_cases(item):
    first, again, other = (item.probe.make(seed) for seed in (5, 5, 6))
    assert [_frozen(c) for c in first] == [_frozen(c) for c in again]
    assert [_frozen(c) for c in first] != [_frozen(c) for c in other]


def _frozen(case):
    return (
        case.group,
        case.about,
        repr(
            {
                k: v.tobytes() if isinstance(v, np.ndarray) else v
                for k, v in case.inputs.items()
            }
        ),
    )


@seeds
@each(EXERCISES)
def test_right_answers_earn_full_marks(item, seeds):
    for seed in seeds:
        for answer in (
            item.key.reference,
            printed_answer(item.id),
            other_answer(item.id),
        ):
            report = judge(item, answer, seed)
            assert report.score == 1, f"seed {seed}\n{report}"


@each(EXERCISES)
def test_printed_answers_pass_the_check_itself(item):
    """The guard against forbidden calls must not hit an honest answer."""
    for answer in (printed_answer(item.id), other_answer(item.id)):
        report = tlcourse.check(item.id, answer)
        assert report.status == "passed", str(report)


@each(EXERCISES)
def test_the_stub_earns_nothing(item):
    report = judge(item, stub(item.id))
    assert report.points == 0, str(report)


@seeds
@each(MUTANTS)
def test_a_mutant_loses_points_and_hears_its_own_name(item, seeds):
    exercise, mutant = item
    for seed in seeds:
        report = judge(exercise, mutant.fn, seed)
        assert report.score < 1
        assert report.misconception == mutant.name, f"seed {seed}\n{report}"
        assert report.message == mutant.message


@each(EXERCISES)
def test_calling_the_reference_is_refused(item):
    def cheat(*args, **kwargs):
        return item.key.reference(*args, **kwargs)

    for candidate in (item.key.reference, cheat):
        report = tlcourse.check(item.id, candidate)
        assert report.status == "refused", str(report)
        assert report.points == 0


def test_forbidden_names_exist():
    """Also those of packages that a check itself never imports."""
    for name in {name for e in EXERCISES for name in e.probe.forbid}:
        importlib.import_module(name.split(".")[0])
        with watch([name]):
            pass


@each(EXERCISES)
def test_limits_hold_with_room(item):
    start = time.perf_counter()
    observe(item.probe, printed_answer(item.id), item.probe.make(0), guarded=True)
    assert time.perf_counter() - start < item.probe.limits.seconds / 2


@pytest.mark.parametrize("slug", chapters())
def test_no_answer_is_in_the_learners_notebooks(slug):
    given = {_normal(node) for source in learner_cells(slug) for node in _defs(source)}
    for exercise_id, source in answer_sources(slug).items():
        assert get(exercise_id)
        for node in _defs(source):
            assert _normal(node) not in given, (
                f"the answer to {exercise_id} is given away"
            )


def _defs(source):
    lines = [ln for ln in source.split("\n") if not ln.lstrip().startswith(("%", "!"))]
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [n for n in ast.walk(ast.parse("\n".join(lines))) if isinstance(n, kinds)]


def _normal(node):
    """The syntax tree with its names replaced in order, docstrings dropped."""
    tree = ast.parse(ast.unparse(node))
    order: dict[str, str] = {}
    for part in ast.walk(tree):
        body = getattr(part, "body", None)
        if isinstance(body, list) and len(body) > 1 and _is_text(body[0]):
            part.body = body[1:]
        for key in ("id", "arg", "name"):
            value = getattr(part, key, None)
            if isinstance(value, str):
                setattr(part, key, order.setdefault(value, f"v{len(order)}"))
    return ast.dump(tree)


def _is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
