"""What travels arrives as it was; what was not written by us does not arrive."""

import copy
import json
import subprocess
import sys

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from solution_answers import stub
from toys import PROBE, TOY, doubled, toy, tripled

from tlcourse.exercises import Case, all_exercises, verdict, wire
from tlcourse.exercises.observing import Observation, Run, observe, plain
from tlcourse.exercises.packing import Budget, pack, unpack
from tlcourse.exercises.wire import (
    WireError,
    decode_cases,
    decode_run,
    encode_cases,
    encode_run,
)

EXERCISES = list(all_exercises())
SAMPLE = EXERCISES[3::9]
REST = [exercise for exercise in EXERCISES if exercise not in SAMPLE]
CASES = PROBE.make(0)

some_exercises = pytest.mark.parametrize(
    "exercise",
    [*SAMPLE, *(pytest.param(e, marks=pytest.mark.slow) for e in REST)],
    ids=lambda exercise: exercise.id,
)
keys = st.text(max_size=5) | st.integers(-(2**40), 2**40)
dtypes = st.sampled_from(
    ["?", "i1", "u2", "<i4", ">i8", "f2", "<f4", ">f8", "c8", "c16"]
).map(np.dtype)
many = arrays.array_shapes(min_dims=0, min_side=0, max_side=3)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=())),
    arrays.arrays(dtypes.map(np.dtype), many),
    arrays.arrays(dtypes.map(np.dtype), ()).map(lambda array: array[()]),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=6,
)


def exact(value):
    """A form in which == means: the same type and the same bits."""
    if isinstance(value, np.ndarray | np.generic):
        return type(value), str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return dict, [(exact(k), exact(v)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [exact(part) for part in value]
    return type(value), value.hex() if isinstance(value, float) else value


def frozen(case):
    return case.group, case.about, exact(dict(case.inputs))


def through(run, cases=CASES):
    return decode_run(encode_run(run), cases)


@settings(deadline=None)
@given(values)
def test_values_arrive_exactly(value):
    node = json.loads(json.dumps(pack(value, Budget())))
    assert exact(unpack(node, Budget())) == exact(value)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_cases_arrive_exactly(exercise):
    cases = exercise.probe.make(1)
    arrived = decode_cases(encode_cases(cases))
    assert list(map(frozen, arrived)) == list(map(frozen, cases))


@some_exercises
def test_the_verdict_on_what_arrives_is_the_same(exercise):
    cases = exercise.probe.make(0)
    mutants = [mutant.fn for mutant in exercise.key.mutants]
    for candidate in (
        exercise.key.reference,
        stub(exercise.id),
        wire.MISSING,
        *mutants,
    ):
        run = observe(exercise.probe, candidate, cases)
        arrived = through(run, cases)
        assert verdict(exercise, arrived, cases, 0) == verdict(exercise, run, cases, 0)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_a_missing_name_is_a_name_error_in_every_case(exercise):
    run = observe(exercise.probe, wire.MISSING, exercise.probe.make(0), guarded=True)
    assert {o.raised and o.raised.type for o in run.observations} == {"NameError"}


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(2, dtype=torch.bfloat16) / 3,
        torch.tensor([[1 + 2j]]),
        torch.zeros(0, 3),
        torch.tensor(True),
        torch.nn.Parameter(torch.ones(2)),
        np.arange(3, dtype=">f8"),
        [torch.ones(1), None, "text", (1.5, 10**50), object()],
        iter([float("nan"), -0.0, float("inf")]),
    ],
)
def test_what_an_answer_returns_arrives(value):
    run = Run((Observation({"y": plain(value)}),), printed="so", out_of_time=True)
    (seen,) = through(run).observations
    assert repr(seen) == repr(run.observations[0])


def test_what_is_too_large_costs_its_own_case_only():
    large = Observation({"y": plain(torch.zeros(2**23))})
    small = Observation({"y": plain(1)}, changed=("x",))
    arrived = through(Run((small, large, small, small)))
    assert [o.raised and o.raised.type for o in arrived.observations] == [
        None,
        "TooLarge",
        None,
        None,
    ]
    assert arrived.observations[0] == small


@pytest.mark.parametrize("deep", [40, 5_000])
def test_what_is_too_deep_costs_its_own_case_only(deep):
    seen = plain([])
    for _ in range(deep):
        seen = type(seen)("list", (seen,), label="list of 1")
    (arrived,) = through(
        Run((Observation({"y": seen}),), out_of_time=True)
    ).observations
    assert arrived.raised.type == "TooLarge"


def observed(*seen):
    return [[["y", list(seen)]], None, []]


ARRAY = ["array", "float32", [1], "AACAPw=="]
FORGED = {
    "nothing": "",
    "not JSON": "[1,",
    "a pickle": "\x80\x04K\x01.",
    "an object": "{}",
    "a float": "[[],1.5,null,true]",
    "nan": "[[],NaN,null,true]",
    "too short": [[], "", None],
    "late is a number": [[], "", None, 1],
    "printed is no text": [[], 5, None, True],
    "forbidden is no text": [[], "", [], True],
    "too few": [[observed("int", None, 1)], "", None, False],
    "too many": [[observed("int", None, 1)] * 9, "", None, True],
    "a type of its own": [[observed("module", None, 1)], "", None, True],
    "a number as a type": [[observed(7, None, 1)], "", None, True],
    "a list as a type": [[observed([], None, 1)], "", None, True],
    "a float that is an int": [[observed("float", None, 1)], "", None, True],
    "a bool that is an int": [[observed("int", None, True)], "", None, True],
    "an input's type": [[observed("dict", None, ["dict"])], "", None, True],
    "a tensor that is a list": [
        [observed("tensor", "float32", ["list"])],
        "",
        None,
        True,
    ],
    "another dtype": [[observed("tensor", "float64", ARRAY)], "", None, True],
    "objects": [
        [observed("array", "object", ["array", "object", [1], "AAAAAAAAAAA="])],
        "",
        None,
        True,
    ],
    "too few bytes": [
        [observed("array", "float32", [*ARRAY[:2], [2], ARRAY[3]])],
        "",
        None,
        True,
    ],
    "a huge shape": [
        [observed("array", "float32", ["array", "float32", [0, 10**30], ""])],
        "",
        None,
        True,
    ],
    "a negative shape": [
        [observed("array", "float32", ["array", "float32", [-1, -1], "AACAPw=="])],
        "",
        None,
        True,
    ],
    "a truth of 2": [
        [observed("array", "bool", ["array", "bool", [1], "Ag=="])],
        "",
        None,
        True,
    ],
    "loose base64": [
        [observed("array", "float32", [*ARRAY[:3], "AAC APw=="])],
        "",
        None,
        True,
    ],
    "one name twice": [
        [[[["y", ["none", None, None]]] * 2, None, []]],
        "",
        None,
        True,
    ],
    "a changed stranger": [[[[], None, ["z"]]], "", None, True],
    "an input changed twice": [[[[], None, ["x", "x"]]], "", None, True],
    "an error and a value": [
        [[[["y", ["none", None, None]]], ["E", "m", "", 0], []]],
        "",
        None,
        True,
    ],
    "a line below 0": [[[[], ["E", "m", "", -1], []]], "", None, True],
    "a message that is no text": [[[[], ["E", 5, "", 0], []]], "", None, True],
    "a long message": [[[[], ["E", "m" * 10**5, "", 0], []]], "", None, True],
    "a long number": [[observed("int", None, 10**4250)], "", None, True],
    "an endless number": "[" + "9" * 10_000 + "]",
    "deep": "[" * 100_000,
    "wide": "[" + "[]," * 3_000_000 + "[]]",
    "long": '"' + "x" * 2**25 + '"',
    "a float of words": [[observed("float", None, ["float", "one"])], "", None, True],
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_forged_run_is_refused_with_a_sentence(forged):
    text = forged if isinstance(forged, str) else json.dumps(forged)
    with pytest.raises(WireError, match=r"\w+ \w+"):
        decode_run(text, CASES)


junk = st.recursive(
    st.sampled_from(["y", "x", "tensor", "array", "float", "list", "", 0, -1, True])
    | st.none()
    | st.just(ARRAY),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_mutated_run_is_refused_or_can_be_judged(data):
    node = json.loads(encode_run(observe(PROBE, tripled, CASES)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = node
        while len(place) and data.draw(st.booleans()):
            inner = [part for part in place if isinstance(part, list) and part]
            if not inner:
                break
            place = data.draw(st.sampled_from(inner))
        place[data.draw(st.integers(0, len(place) - 1))] = copy.deepcopy(
            data.draw(junk)
        )
    try:
        run = decode_run(json.dumps(node), CASES)
    except WireError:
        return
    report = verdict(TOY, run, CASES, 0)
    json.dumps(report.to_json(), allow_nan=False).encode()
    report.to_html().encode()
    assert report.score < 1


def test_text_that_people_read_can_be_saved():
    forged = [
        [[[], ["E\x00", "m\ud800\x1b[31m\nnext", "l\x07", 3], []]],
        "p\x00",
        "f\x85",
    ]
    run = decode_run(json.dumps([*forged, True]), CASES)
    raised = run.observations[0].raised
    shown = (raised.type, raised.message, raised.line, run.printed, run.forbidden)
    assert shown == ("E?", "m??[31m\nnext", "l?", "p?", "f?")


def test_labels_are_worked_out_again():
    honest = json.loads(encode_run(observe(PROBE, doubled, CASES)))
    honest[0][0][0][0][1] = ["float", None, ["float", "0x1.8p+0"]]
    assert (
        decode_run(json.dumps(honest), CASES).observations[0].values["y"].label
        == "float 1.5"
    )


def test_cases_with_what_is_no_data_are_not_sent():
    for odd in (object(), {1, 2}, np.array(["text"]), np.datetime64("2020"), b"bytes"):
        with pytest.raises(WireError):
            encode_cases([Case("group", "about", {"x": odd})])


@pytest.mark.parametrize(
    "forged", [[["g", "a", 5]], [["g", "a", ["dict", [1, 2]]]], [["g", "a"]], 5]
)
def test_forged_cases_are_refused(forged):
    with pytest.raises(WireError):
        decode_cases(json.dumps(forged))


def test_a_refused_or_late_run_arrives_short():
    for run in (Run((), forbidden="torch.sort"), Run((), out_of_time=True)):
        assert through(run) == run
    assert verdict(toy(), through(Run((), forbidden="a.b")), CASES, 0).points == 0


def test_no_key_is_imported_for_a_probe():
    code = (
        "import sys, tlcourse.exercises.wire as w; "
        "from tlcourse.exercises.catalog import all_probes, get_probe; "
        "[w.encode_cases(get_probe(p.id).make(0)) for p in all_probes()]; "
        "sys.exit(any('exercises.keys' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
