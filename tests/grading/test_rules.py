"""The points of foreign test cells: nbgrader's rule, and the corrected one."""

import pytest
from nbformat.v4 import new_markdown_cell, new_output
from nbgrader.utils import determine_grade
from papers import answer, marked

from tlcourse.grading.judging.rules import points
from tlcourse.grading.running.planning import CellRun


def graded(*outputs, most=4):
    cell = marked("assert double(2) == 4", "t", most)
    cell.outputs = list(outputs)
    return cell


def value(text):
    return new_output("execute_result", data={"text/plain": text})


def corrected(*values, failed=False, outputs=(), **fields):
    run = CellRun("run", failed=failed, values=values, **fields)
    return points(graded(*outputs), run, "corrected")


def kinds(found):
    return [kind for kind, _ in found.flags]


ERROR = new_output("error", ename="E", evalue="", traceback=[])
WARNING = new_output("stream", name="stderr", text="DeprecationWarning")


@pytest.mark.parametrize(
    ("values", "auto", "flags"),
    [
        ((), 4, []),
        (("2.5",), 2.5, []),
        (("0",), 0, []),
        (("4",), 4, []),
        (("7",), 4, ["value clamped"]),
        (("-1",), 0, ["value clamped"]),
        (("nan",), 0, ["value clamped"]),
        (("inf",), 0, ["value clamped"]),
        (("-inf",), 0, ["value clamped"]),
        (("np.float64(1.5)",), 1.5, []),
        (("np.int64(3)",), 3, []),
        (("tensor(2.)",), 2, []),
        (("tensor(2., dtype=torch.float64)",), 2, []),
        (("True",), 4, ["value is no number"]),
        (("tensor([1., 2.])",), 4, ["value is no number"]),
        (("1", "4"), 1, ["several results"]),
        (("1", "text"), 1, ["several results", "value is no number"]),
        (("2", "nan"), 0, ["several results", "value clamped"]),
    ],
)
def test_a_value_is_partial_credit_if_it_is_a_finite_number(values, auto, flags):
    found = corrected(*values)
    assert (found.auto, kinds(found)) == (auto, flags)


def test_an_error_gives_nothing_even_after_a_value():
    assert corrected("4", failed=True, outputs=[value("4"), ERROR]).auto == 0


def test_a_warning_takes_nothing():
    assert corrected(outputs=[WARNING]).auto == 4


def test_a_subverted_kernel_gives_nothing_and_is_flagged():
    found = corrected("4", subverted=True)
    assert (found.auto, kinds(found)) == (0, ["subverted kernel"])


@pytest.mark.parametrize(
    ("status", "said"),
    [("ended", "crashed"), ("late", "out of time"), ("not run", "not run")],
)
def test_what_did_not_run_to_its_end_says_so(status, said):
    run = CellRun(status, failed=True)
    found = points(graded(ERROR), run, "corrected")
    assert (found.auto, found.status) == (0, said)


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [ERROR],
        [WARNING],
        [value("1.5")],
        [value("nan")],
        [value("-3")],
        [value("True")],
        [value("1"), value("2")],
        [value("2"), ERROR],
        [ERROR, value("2")],
        [new_output("stream", name="stdout", text="4")],
    ],
)
def test_stock_is_what_nbgrader_says(outputs):
    run = CellRun("run", failed=ERROR in outputs, subverted=True)
    cell = graded(*outputs)
    found = points(cell, run, "stock")
    assert (found.auto, found.flags) == (float(determine_grade(cell)[0]), ())


def test_where_stock_stops_there_are_no_points_but_a_flag():
    found = points(graded(value("9")), CellRun("run", values=("9",)), "stock")
    assert (found.auto, kinds(found)) == (0, ["stock stops"])


@pytest.mark.parametrize("rule", ["corrected", "stock"])
def test_what_a_person_grades(rule):
    untouched = answer("", "essay")
    untouched.metadata.nbgrader |= {"grade": True, "points": 3}
    changed = new_markdown_cell("my words", metadata=untouched.metadata)
    assert points(changed, None, rule).auto is None
    from nbgrader.utils import compute_checksum

    untouched.metadata.nbgrader.checksum = compute_checksum(untouched)
    found = points(untouched, None, rule)
    assert (found.auto, found.status) == (0, "not attempted")


def test_status_follows_the_points():
    assert [corrected(v).status for v in ("0", "1", "4")] == [
        "failed",
        "partial",
        "passed",
    ]
