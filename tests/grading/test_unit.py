"""One submission in, one result out: in the real sandbox, with real kernels."""

import json
import os
import signal

import nbformat
import pytest
from nbgrader.utils import determine_grade
from papers import (
    LIMITS,
    OVERFLOWS,
    RIGHT,
    answer,
    assignment,
    changed,
    check_cell,
    essay,
    given,
    marked,
    submission,
)

from tlcourse.exercises import get
from tlcourse.grading import unit
from tlcourse.grading.records import Assignment, Submission
from tlcourse.grading.running import serving
from tlcourse.grading.running.questions import seed_for
from tlcourse.grading.unit import digest, grade_submission
from tlcourse.sandbox.isolation import NoIsolation, find_isolation

SEED = 11
STUB = "def cross_entropy(logits, targets):\n    raise NotImplementedError"
DOUBLE = "def double(x):\n    return 2 * x"
CELLS = [
    given("import torch\nfrom tlcourse import check"),
    answer(STUB, "loss"),
    check_cell(),
    answer("def double(x):\n    raise NotImplementedError", "twice"),
    marked("assert double(2) == 4", "test", 2),
    marked("2.0 * (double(1) == 2)", "value", 3),
    essay("words", 4),
]
PAPER = assignment(*CELLS, seed=SEED)


def isolated():
    try:
        find_isolation()
    except NoIsolation:
        return False
    return True


needs_isolation = pytest.mark.skipif(not isolated(), reason="no isolation here")


@pytest.fixture(scope="module", autouse=True)
def _servers():
    yield
    unit.close_servers()


def graded(paper=PAPER, files=None, **sources):
    """The result of a submission with these answers, and its grades by id."""
    result = grade_submission(
        paper, submission(*changed(CELLS, **sources), **(files or {}))
    )
    grades = {g.grade_id: g for n in result.notebooks for g in n.grades}
    return result, grades


def points(grades):
    return {name: grade.auto for name, grade in grades.items()}


def kinds(result):
    return {flag.kind for flag in result.flags}


@pytest.fixture(scope="module")
def right():
    return graded(loss=RIGHT, twice=DOUBLE)


@needs_isolation
def test_a_right_answer_earns_everything(right):
    result, grades = right
    assert (result.status, result.flags) == ("graded", ())
    assert points(grades) == {
        "losses-cross_entropy": 3,
        "test": 2,
        "value": 2,
        "words": 0,
    }
    assert [g.status for g in grades.values()] == [
        "passed",
        "passed",
        "partial",
        "not attempted",
    ]
    assert result.notebooks[0].no_response == ("words",)


@needs_isolation
def test_nbgrader_reads_the_same_points_from_the_notebook(right):
    result, grades = right
    cells = nbformat.reads(result.notebooks[0].notebook, 4).cells
    nbformat.validate(nbformat.reads(result.notebooks[0].notebook, 4))
    for cell in cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in grades:
            assert determine_grade(cell)[0] == grades[name].auto


@needs_isolation
def test_the_stub_earns_nothing():
    result, grades = graded()
    assert set(points(grades).values()) == {0}
    assert grades["losses-cross_entropy"].status == "not attempted"
    assert result.notebooks[0].no_response == ("loss", "twice", "words")


@needs_isolation
def test_a_known_mistake_is_named():
    report = graded(loss=OVERFLOWS)[1]["losses-cross_entropy"].report
    assert report["misconception"] == "unstable"
    assert report["next_hint"] is None
    assert 0 < report["points"] < 3


HONEST = f"""\
import sys, warnings
import numpy as np
import matplotlib.pyplot as plt
from tqdm.auto import tqdm
%matplotlib inline
warnings.warn("old", DeprecationWarning)
print("a note", file=sys.stderr)
for _ in tqdm(range(3)): pass
plt.plot([1, 2]); plt.show()
!echo from a shell
import asyncio
await asyncio.sleep(0)
{RIGHT}"""
TALKS = """\
def double(x):
    import sys, warnings
    warnings.warn("slow")
    print("double of", x, file=sys.stderr)
    return 2 * x
"""


@needs_isolation
def test_warnings_bars_prints_and_figures_take_nothing():
    result, grades = graded(loss=HONEST, twice=TALKS)
    assert points(grades) | {"words": 0} == {
        "losses-cross_entropy": 3,
        "test": 2,
        "value": 2,
        "words": 0,
    }
    assert kinds(result) <= {"process or thread"}  # the shell is told to the teacher


@needs_isolation
def test_input_and_widgets_that_nobody_answers_cost_their_cell_alone():
    """An error in a cell of one's own is no error in an answer."""
    cells = changed(CELLS, loss=RIGHT, twice=DOUBLE)
    cells[1:1] = [given("input('Name? ')"), given("import ipywidgets_or_not")]
    result = grade_submission(PAPER, submission(*cells))
    assert [g.auto for g in result.notebooks[0].grades] == [3, 2, 2, 0]


@needs_isolation
def test_an_answer_that_ends_python_says_so():
    result, grades = graded(loss=f"import os\nos._exit(3)\n{RIGHT}", twice=DOUBLE)
    report = grades["losses-cross_entropy"].report
    assert report["status"] == "crashed"
    assert report["message"].startswith("Your code cell 2 ended Python (exit 3)")
    assert (grades["test"].auto, grades["value"].auto) == (2, 2)
    assert "kernel ended" in kinds(result)


@needs_isolation
def test_an_answer_that_ends_python_when_called_costs_itself():
    ends = "def cross_entropy(logits, targets):\n    import os; os._exit(4)"
    _, grades = graded(loss=ends, twice=DOUBLE)
    assert grades["losses-cross_entropy"].status == "crashed"
    assert "exit 4" in grades["losses-cross_entropy"].report["message"]
    assert grades["test"].auto == 2


@needs_isolation
def test_an_answer_without_end_is_out_of_time():
    loops = "def cross_entropy(logits, targets):\n    while True: pass"
    paper = PAPER.model_copy(
        update={"limits": LIMITS.model_copy(update={"cell_seconds": 1})}
    )
    _, grades = graded(paper, loss=loops, twice=DOUBLE)
    assert grades["losses-cross_entropy"].status == "out of time"
    assert "after 1 s" in grades["losses-cross_entropy"].report["message"]
    assert grades["test"].auto == 2


@needs_isolation
def test_a_cell_without_end_says_so_at_its_check():
    paper = PAPER.model_copy(
        update={"limits": LIMITS.model_copy(update={"cell_seconds": 1})}
    )
    _, grades = graded(paper, loss="while True: pass", twice=DOUBLE)
    assert grades["losses-cross_entropy"].status == "out of time"
    assert grades["test"].auto == 2


@needs_isolation
@pytest.mark.parametrize("wrong", ["def cross_entropy(a, :", "1 / 0\n" + RIGHT])
def test_a_cell_with_an_error_is_named_where_its_name_is_missing(wrong):
    report = graded(loss=wrong)[1]["losses-cross_entropy"].report
    assert "Your code cell 2 raised an error" in report["message"]


STEALS = """\
def cross_entropy(logits, targets):
    text = repr(logits.flatten().tolist())
    print(text)
    try:
        open("/tmp/stolen", "w").write(text)
    except OSError:
        pass
    kept.append(text)
    raise type(text[:60], (ValueError,), {})(text)
kept = []
kernel = get_ipython().kernel
for kind in ("prepare_request", "observe_request"):
    def watch(stream, ident, parent, honest=kernel.shell_handlers[kind]):
        kept.append(repr(parent["content"]))
        print(kept)
        return honest(stream, ident, parent)
    kernel.shell_handlers[kind] = watch
"""


@needs_isolation
def test_hidden_cases_are_in_nothing_that_comes_back():
    """Not printed, not in a file, not in an error, not by a patched kernel."""
    cells = changed(CELLS, loss=STEALS, twice=DOUBLE)
    cells.append(given("print(kept)\n!cat /tmp/stolen"))
    result = grade_submission(PAPER, submission(*cells))
    text = result.model_dump_json()
    cases = get("losses.cross_entropy").probe.make(SEED)
    numbers = [n for c in cases for n in c.inputs["logits"].flatten().tolist()]
    told = [n for n in numbers if n != int(n) and str(n)[:8] in text]
    assert told == []
    assert "cases" not in "".join(
        json.dumps(cell.get("outputs", []))
        for cell in nbformat.reads(result.notebooks[0].notebook, 4).cells
    )


@needs_isolation
def test_a_forged_observation_earns_nothing_and_is_flagged():
    forged = """\
def cross_entropy(logits, targets):
    import os
    for descriptor in range(3, 256):
        try:
            os.write(descriptor, b'[[["loss"]], "", null, false]')
        except OSError:
            pass
    os._exit(0)
"""
    result, grades = graded(loss=forged)
    assert grades["losses-cross_entropy"].auto == 0
    assert grades["losses-cross_entropy"].status == "crashed"


@pytest.mark.slow  # two fork servers begin
@needs_isolation
def test_what_only_another_exercise_forbids_may_be_used():
    """The view lacks what any exercise forbids; the verdict is check's all the same."""
    smooth = """\
from tlcourse.losses import cross_entropy as plain
def label_smoothing_ce(logits, targets, smoothing):
    plain(logits, targets)
    raise ValueError("used")
"""
    cells = [
        given("import torch\nfrom tlcourse import check"),
        check_cell(),
        answer("", "smooth"),
        check_cell("losses.label_smoothing_ce", "label_smoothing_ce", 4),
    ]
    work = submission(*changed(cells, smooth=smooth))
    result = grade_submission(assignment(*cells, seed=SEED), work)
    last = result.notebooks[0].grades[-1]
    assert last.status == "failed"
    assert "ValueError" in last.report["detail"]


@needs_isolation
def test_every_student_may_have_cases_of_their_own():
    paper = PAPER.model_copy(update={"per_student": True})
    assert seed_for(SEED, True, "ada") != seed_for(SEED, True, "bob") != SEED
    _, grades = graded(paper, loss=RIGHT)
    assert grades["losses-cross_entropy"].auto == 3


@needs_isolation
def test_the_teachers_files_come_before_a_students():
    cells = [
        answer("", "a"),
        check_cell(),
        marked("assert open('data.txt').read() == 'teacher'", "t", 1),
        marked("assert open('deep/own.txt').read() == 'student'", "u", 1),
    ]
    paper = assignment(*cells, files={"data.txt": b"teacher"})
    files = {"data.txt": b"student", "deep/own.txt": b"student"}
    result = grade_submission(paper, submission(*cells, **files))
    assert [g.auto for g in result.notebooks[0].grades] == [0, 1, 1]


@needs_isolation
def test_stock_gives_what_nbgrader_gives(right):
    """A warning is no mark, and the kit's checks have their published cases."""
    paper = PAPER.model_copy(update={"rule": "stock"})
    _, grades = graded(paper, loss=RIGHT, twice=TALKS)
    assert points(grades) == {
        "losses-cross_entropy": 3,
        "test": 0,
        "value": 0,
        "words": 0,
    }


@pytest.mark.slow  # a fork server begins
@needs_isolation
def test_a_dead_server_is_begun_anew():
    graded(loss=RIGHT)
    room = serving._rooms[-1]
    os.kill(room.server.pid, signal.SIGKILL)
    result, grades = graded(loss=RIGHT)
    assert (result.status, grades["losses-cross_entropy"].auto) == ("graded", 3)


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({}, "missing"),
        ({"other.ipynb": b"{}"}, "missing"),
        ({"work.ipynb": b""}, "unreadable"),
        ({"work.ipynb": b"{"}, "unreadable"),
        ({"work.ipynb": b"[" * 100_000}, "unreadable"),
        ({"work.ipynb": b'{"cells": 5}'}, "unreadable"),
    ],
)
def test_what_cannot_be_read_has_a_status_and_a_sentence(files, status):
    result = grade_submission(PAPER, Submission(student="ada", files=files))
    assert result.status == result.notebooks[0].status == status
    assert result.notebooks[0].message.endswith(".")
    assert {g.auto for g in result.notebooks[0].grades} == {0}


def test_the_graders_own_failure_is_tried_again_and_then_an_error(monkeypatch):
    tried = []

    def fails(*_):
        tried.append(1)
        raise OSError("no disk")

    monkeypatch.setattr(unit, "kernels", fails)
    result = graded()[0]
    assert (result.status, result.notebooks, len(tried)) == ("error", (), 2)
    assert "no disk" in result.message


def test_no_isolation_is_for_the_whole_run(monkeypatch):
    def refuses(*_):
        raise NoIsolation("nothing here")

    monkeypatch.setattr(unit, "kernels", refuses)
    with pytest.raises(NoIsolation):
        graded()


def test_an_assignment_that_cannot_be_graded_is_an_error():
    cells = [marked('print(check("losses.cross_entropy", f))', "t", 1)]
    result = grade_submission(assignment(*cells), submission(*cells))
    assert result.status == "error"
    assert "calls check()" in result.message


def _others(paper: Assignment):
    """Assignments that differ from this one in one thing each."""
    yield paper.model_copy(update={"seed": 99})
    yield paper.model_copy(update={"per_student": True})
    yield paper.model_copy(update={"rule": "stock"})
    yield paper.model_copy(update={"isolated": False})
    yield paper.model_copy(update={"files": {"a": b"1"}})
    yield paper.model_copy(update={"files": {"a1": b""}})
    yield paper.model_copy(
        update={"limits": LIMITS.model_copy(update={"cell_seconds": 1})}
    )
    yield assignment(*CELLS[:-1], seed=SEED)


def test_digests_differ_where_results_could():
    work = submission(*CELLS)
    one = digest(PAPER, work)
    assert one == digest(PAPER.model_copy(), work.model_copy())
    others = [digest(other, work) for other in _others(PAPER)]
    others += [
        digest(PAPER, submission(*CELLS, student="bob")),
        digest(PAPER, submission(*CELLS, **{"x.csv": b""})),
        digest(PAPER, work.model_copy(update={"timestamp": "2026-01-01"})),
    ]
    assert len({one, *others}) == len(others) + 1


def test_digests_see_the_kits_own_code(monkeypatch):
    from tlcourse.grading import digests

    work = submission(*CELLS)
    one = digest(PAPER.model_copy(), work)
    monkeypatch.setattr(digests, "_of_kit", lambda: "another version")
    assert digest(PAPER.model_copy(), work) != one


def test_a_file_in_the_place_of_the_teachers_folder_is_left_out():
    ours = {"data/x.csv": b"1", "table.csv": b"2"}
    theirs = {"data": b"", "table.csv/y": b"", "data/z.csv": b"3", "table.csv": b""}
    assignment = Assignment(name="hw", masters=(), files=ours)
    found = unit._files(assignment, Submission(student="ann", files=theirs))
    assert found == {**ours, "data/z.csv": b"3"}
