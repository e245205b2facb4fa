"""What a cell shows, whatever messages come."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.grading.running.outputs import Outputs

JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["name", "text", "data", "ename", "evalue", "traceback", "transient", "wait"]
)
KINDS = st.sampled_from(
    [
        "stream",
        "display_data",
        "execute_result",
        "error",
        "clear_output",
        "update_display_data",
        "comm_open",
        "",
    ]
)


def shown(outputs):
    return [node.get("text") or node.get("data") for node in outputs.nodes()]


def say(outputs, text, name="stdout"):
    outputs.take("stream", {"name": name, "text": text})


def test_a_stream_is_put_together():
    outputs = Outputs(1_000)
    say(outputs, "one ")
    say(outputs, "two\n")
    assert shown(outputs) == ["one two\n"]


@pytest.mark.parametrize(
    ("pieces", "seen"),
    [
        (["\r 10%", "\r 20%", "\r100%", "\n"], "100%\n"),
        (["a\rb"], "b"),
        (["a\r", "\n"], "a\n"),
        (["a\r", "b"], "b"),
        (["a\r\nb"], "a\nb"),
        (["1\n2\r3\n4"], "1\n3\n4"),
    ],
)
def test_a_carriage_return_starts_the_line_anew(pieces, seen):
    outputs = Outputs(10_000)
    for piece in pieces:
        say(outputs, piece)
    assert "".join(shown(outputs)) == seen


def test_a_bar_takes_no_more_room_than_its_last_state():
    outputs = Outputs(500)
    for done in range(1_000):
        say(outputs, f"\r{done:4} of 1000", "stderr")
    assert shown(outputs) == [" 999 of 1000"]
    assert not outputs.cut


def test_too_much_is_cut_and_said():
    outputs = Outputs(1_000)
    say(outputs, "x" * 5_000)
    text = "".join(shown(outputs))
    assert len(text) < 1_200
    assert "4,100 bytes are left out" in text


def test_first_stderr_is_there_even_when_nothing_fits():
    """nbgrader's own rule asks whether there was any."""
    outputs = Outputs(1_000)
    say(outputs, "x" * 5_000)
    say(outputs, "warning", "stderr")
    assert [n.name for n in outputs.nodes()] == ["stdout", "stderr", "stdout"]


def test_errors_and_values_survive_a_cap_and_a_clearing():
    outputs = Outputs(10)
    outputs.take("execute_result", {"data": {"text/plain": "2.5"}})
    outputs.take("error", {"ename": "E", "evalue": "e", "traceback": ["t"] * 1_000})
    assert [n.output_type for n in outputs.nodes()][:2] == ["execute_result", "error"]
    outputs.take("clear_output", {})
    assert outputs.values == ["2.5"]
    assert outputs.failed


def test_a_picture_too_large_leaves_its_text():
    outputs = Outputs(1_000)
    data = {"text/plain": "<Figure>", "image/png": "A" * 5_000}
    outputs.take("display_data", {"data": data})
    assert shown(outputs)[0] == {"text/plain": "<Figure>"}


def test_clear_with_wait_clears_with_the_next_output():
    outputs = Outputs(1_000)
    say(outputs, "old")
    outputs.take("clear_output", {"wait": True})
    assert shown(outputs) == ["old"]
    say(outputs, "new")
    assert shown(outputs) == ["new"]


def test_a_display_is_updated_in_its_place():
    outputs = Outputs(1_000)
    transient = {"display_id": "d"}
    outputs.take("display_data", {"data": {"text/plain": "1"}, "transient": transient})
    say(outputs, "after")
    outputs.take(
        "update_display_data", {"data": {"text/plain": "2"}, "transient": transient}
    )
    assert shown(outputs) == [{"text/plain": "2"}, "after"]


def test_endless_updates_stay_within_the_cap():
    outputs = Outputs(1_000)
    transient = {"display_id": "d"}
    for size in range(0, 5_000, 50):
        data = {"text/html": "x" * size, "text/plain": "y"}
        kind = "update_display_data" if size else "display_data"
        outputs.take(kind, {"data": data, "transient": transient})
    assert len(str(outputs.nodes())) < 2_500


@pytest.mark.parametrize("mime", ["application/javascript", "x/y"])
def test_scripts_and_widgets_are_not_kept(mime):
    outputs = Outputs(1_000)
    outputs.take("display_data", {"data": {mime: "alert(1)"}})
    assert outputs.nodes() == []


def test_half_a_surrogate_pair_can_be_saved():
    outputs = Outputs(1_000)
    say(outputs, "a\ud800b")
    assert shown(outputs)[0].encode()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(KINDS, st.dictionaries(KEYS, JUNK, max_size=4)), max_size=12),
    st.integers(0, 300),
)
def test_no_message_raises(messages, most):
    outputs = Outputs(most)
    for kind, content in messages:
        outputs.take(kind, content)
    assert len(str(outputs.nodes())) < 60_000
