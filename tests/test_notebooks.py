import json

import nbformat
import pytest
import small_course
from small_course import ANSWER

from tlcourse import notebooks
from tlcourse.course import find_chapter
from tlcourse.exercises import UnknownExercise, store
from tlcourse.notebooks import grade
from tlcourse.restoring import restore


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return small_course.make(tmp_path)


def cell(source):
    return nbformat.v4.new_code_cell(source)


def test_answers_are_graded_where_they_stand(course):
    def learner(cells):
        cells["losses-cross_entropy-answer"].source = ANSWER
        cells["losses-cross_entropy"].source = "0.5"  # an edited check
        cells["losses-l2_sp-answer"].source = (
            'check = lambda *_: 4.0\nhint("losses.l2_sp")\n'
            "def l2_sp(*args, **kwargs):\n    return 0.0"
        )
        del cells["losses-l2_sp"]  # a deleted check

    path = small_course.edit(course, learner)
    before = path.read_bytes()
    graded = grade("2")
    assert path.read_bytes() == before
    assert [r.status for r in graded.reports] == ["passed", "failed"]
    assert (graded.points, graded.max_points, graded.questions) == (3, 7, 2)
    assert [note.split(";")[0] for note in graded.notes] == [
        "losses.cross_entropy: the check cell was edited",
        "losses.l2_sp: the check cell is missing",
    ]
    events = [(e["kind"], e["exercise"], e["score"]) for e in store.events()[0]]
    assert events == [
        ("attempt", "losses.cross_entropy", 1.0),
        ("attempt", "losses.l2_sp", 0.0),
    ]


def test_what_could_not_run_says_why(course):
    def learner(cells):
        cells["losses-cross_entropy-answer"].source = "def cross_entropy(:"
        del cells["losses-l2_sp-answer"]

    small_course.edit(course, learner)
    first, second = grade("losses").reports
    assert (first.status, second.status) == ("not run", "not run")
    assert "Your answer cell raised SyntaxError" in first.message
    assert "`tlcourse reset 02` brings it back" in second.message
    assert "NameError" in second.message
    assert store.events() == ([], 0)


def test_one_exercise_alone_and_the_last_copy_counts(course):
    def learner(cells):
        answer = cells["losses-cross_entropy-answer"]
        copied = nbformat.from_dict({**answer, "id": "copy", "source": ANSWER})
        cells["copy"] = copied

    small_course.edit(course, learner)
    graded = grade("losses.cross_entropy")
    assert graded.notes == (
        "losses.cross_entropy: there are 2 answer cells; the last one counts.",
    )
    assert [r.status for r in graded.reports] == ["passed"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("while True: pass", "took more than 5 s"),
        ("import os; os._exit(1)", "ended Python itself"),
    ],
)
def test_a_cell_that_never_comes_back(course, monkeypatch, source, says):
    monkeypatch.setattr(notebooks, "CELL_SECONDS", 5)

    def learner(cells):
        cells["losses-l2_sp-answer"].source = source

    small_course.edit(course, learner)
    graded = grade("02")
    assert any(says in note for note in graded.notes)
    assert graded.reports[-1].status == "not run"


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        ("77", ValueError, "02_losses"),
        ("losses.cros_entropy", UnknownExercise, "'losses.cross_entropy'"),
        ("03", ValueError, "03_empty has no exercises"),
    ],
)
def test_bad_targets(course, target, error, says):
    with pytest.raises(error, match=says):
        grade(target)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', "\udcff"])
def test_a_broken_file_says_how_to_mend_it(course, text):
    path = course / "chapters" / "02_losses" / "exercises.ipynb"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match="not a notebook .*`tlcourse reset 02`"):
        grade("02")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing. `tlcourse reset 02`"):
        grade("02")


def test_restoring_keeps_the_learners_work(course):
    def learner(cells):
        cells["losses-cross_entropy-answer"].source = ANSWER
        cells["new"] = cell("my own cell")

    path = small_course.edit(course, learner)
    mine = path.read_bytes()
    done = {r.path.name: r.backup for r in restore(find_chapter("02"))}
    assert done["lesson.ipynb"] is None
    assert done["exercises.ipynb"].read_bytes() == mine
    assert "raise NotImplementedError" in path.read_text()
    assert "my own cell" not in path.read_text()
    again = {r.path.name: r.backup for r in restore(find_chapter("02"))}
    assert set(again.values()) == {None}


def test_restoring_a_lesson_keeps_its_outputs(course):
    output = nbformat.v4.new_output("stream", text="shown")

    def ran(cells):
        *_, code = cells.values()
        code.outputs = [output]

    path = small_course.edit(course, ran, "lesson.ipynb")
    restore(find_chapter("02"))
    assert nbformat.read(path, as_version=4).cells[-1].outputs == [output]


def test_a_broken_file_is_kept_too(course):
    path = course / "chapters" / "02_losses" / "exercises.ipynb"
    path.write_text("{ half a notebook")
    backups = [r.backup for r in restore(find_chapter("02")) if r.backup]
    assert [b.read_text() for b in backups] == ["{ half a notebook"]
    assert json.loads(path.read_text())["nbformat"] == 4


def test_nothing_to_restore_from(course):
    with pytest.raises(ValueError, match="lessons/03_empty has no text"):
        restore(find_chapter("03"))
