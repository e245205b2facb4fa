"""From lesson text to notebooks, and that a learner's work is never lost."""

import nbformat
import pytest
import small_course

from tlcourse.authoring import building
from tlcourse.authoring.quiz import QuizError, read_quiz
from tlcourse.authoring.reading import LessonError, read_lesson
from tlcourse.authoring.release import is_answered, student_version
from tlcourse.course import find_chapter
from tlcourse.exercises import get

HUNT = """# %% answer="start_here.bug_hunt"
### BEGIN STUB
def split():
    return "buggy"


### END STUB
### BEGIN SOLUTION
def split():
    return "mended"
### END SOLUTION

# %% check="start_here.bug_hunt"
check("start_here.bug_hunt", split)
"""
QUIZ = """
[[question]]
id = "q"
text = "What?"
[[question.choice]]
text = "This"
right = true
why = "because it is"
[[question.choice]]
text = "That"
right = {right}
why = "no"
[[question.choice]]
text = "Neither"
right = false
why = "no"
"""


def lesson(tmp_path, text, quiz=None):
    path = tmp_path / "lesson.py"
    path.write_text(text)
    if quiz:
        (tmp_path / "quiz.toml").write_text(quiz)
    return read_lesson(path)


def test_the_same_text_makes_the_same_bytes(tmp_path):
    text = small_course.EXERCISES
    assert nbformat.writes(lesson(tmp_path, text)) == nbformat.writes(
        lesson(tmp_path, text)
    )


def test_points_come_from_the_exercise_and_keys_are_nbgraders(tmp_path):
    cells = {c.id: c for c in lesson(tmp_path, small_course.EXERCISES).cells}
    check = cells["losses-cross_entropy"].metadata.nbgrader
    answer = cells["losses-cross_entropy-answer"].metadata.nbgrader
    question = cells["losses-why"].metadata.nbgrader
    assert check.points == get("losses.cross_entropy").points
    assert (check.grade, check.solution, check.locked) == (True, False, True)
    assert (answer.grade, answer.solution, answer.locked) == (False, True, False)
    assert (question.grade, question.solution, question.points) == (True, True, 2)
    assert len(check) == 7 and "points" not in answer


def test_equal_cells_get_different_ids(tmp_path):
    cells = lesson(tmp_path, "# %%\n1 + 1\n\n# %%\n1 + 1\n").cells
    assert len({c.id for c in cells}) == 2


def test_folded_output(tmp_path):
    (cell,) = lesson(tmp_path, "# %% fold=true\n1 + 1\n").cells
    assert cell.metadata == {"jupyter": {"outputs_hidden": True}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# %% wrong=1\n1\n", "unknown cell keys"),
        ('# %% answer="losses.cross_entropy"\n1\n', "BEGIN SOLUTION"),
        ('# %% [markdown] question="why"\n# Why?\n', "points"),
        ('# %% check="losses.cross_entropy"\n1\n' * 2, "used twice"),
    ],
)
def test_what_is_wrong_in_a_lesson_is_said(tmp_path, text, message):
    with pytest.raises(LessonError, match=message):
        lesson(tmp_path, text)


def test_a_bug_hunt_gets_its_bugs_back(tmp_path):
    teacher = lesson(tmp_path, HUNT)
    learner = student_version(teacher)
    assert "mended" in teacher.cells[0].source
    assert "buggy" not in teacher.cells[0].source
    assert learner.cells[0].source == 'def split():\n    return "buggy"'
    assert "mended" not in nbformat.writes(learner)


def test_a_question_stays_and_its_mark_scheme_goes(tmp_path):
    learner = student_version(lesson(tmp_path, small_course.EXERCISES))
    texts = [c.source for c in learner.cells]
    assert "Why?" in texts[-2] and texts[-1] == "YOUR ANSWER HERE"
    assert "Because" not in nbformat.writes(learner)


def test_quiz_shows_choices_and_hides_reasons(tmp_path):
    text = lesson(tmp_path, "# %% quiz=true\n", QUIZ.format(right="false")).cells
    assert [c.source.split("\n")[0] for c in text] == ["## Quiz", "**1. What?**"]
    shown, hidden = text[1].source.split("<details>")
    assert "- **A.** This" in shown and "because" not in shown
    assert "**A** is right: because it is" in hidden


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (QUIZ.format(right="true"), "exactly one right"),
        (QUIZ.format(right="false").replace("why", "reason", 1), "'q'"),
        (QUIZ.format(right="false") * 2, "same id"),
        ("[[question", "cannot be read"),
    ],
)
def test_a_broken_quiz_names_its_question(tmp_path, text, message):
    path = tmp_path / "quiz.toml"
    path.write_text(text)
    with pytest.raises(QuizError, match=message):
        read_quiz(path)


@pytest.fixture
def course(tmp_path):
    from tlcourse.course import root

    small_course.make(tmp_path)
    assert root() != tmp_path
    return tmp_path


def made(course):
    chapter = find_chapter("losses")
    return building.targets(course, chapter)


def test_building_again_changes_nothing(course):
    before = {t.path: t.path.read_bytes() for t in made(course)}
    for target in made(course):
        assert not building.differences(target)
        assert building.write(target) is None
        assert target.path.read_bytes() == before[target.path]


def test_a_hand_made_change_is_found(course):
    def change(cells):
        next(iter(cells.values())).source += "!"

    small_course.edit(course, change, "lesson.ipynb")
    found = [d for t in made(course) for d in building.differences(t)]
    assert len(found) == 1 and "lesson.ipynb" in found[0]


def test_answers_are_kept_aside_before_a_build(course):
    def answer(cells):
        cells["losses-cross_entropy-answer"].source = "mine = 1"

    path = small_course.edit(course, answer)
    assert not [d for t in made(course) for d in building.differences(t)]
    backups = [building.write(target) for target in made(course)]
    (backup,) = filter(None, backups)
    kept = nbformat.read(backup, 4)
    assert any(is_answered(c) for c in kept.cells)
    assert "mine = 1" not in path.read_text()
    assert "mine = 1" in backup.read_text()


@pytest.mark.parametrize("name", ["exercises.ipynb", "lesson.ipynb"])
def test_a_learners_own_cells_are_kept_aside_before_a_build(course, name):
    path = course / "chapters" / "02_losses" / name
    notebook = nbformat.read(path, 4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("my own note"))
    nbformat.write(notebook, path)
    (backup,) = filter(None, [building.write(target) for target in made(course)])
    assert "my own note" in backup.read_text()
    assert "my own note" not in path.read_text()


def test_outputs_of_unchanged_cells_are_kept(course):
    output = nbformat.v4.new_output("stream", text="kept")

    def run(cells):
        for cell in cells.values():
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [output], 1

    path = small_course.edit(course, run, "lesson.ipynb")
    for target in made(course):
        building.write(target)
    assert "kept" in path.read_text()


def test_a_failed_save_leaves_the_old_file(course, monkeypatch):
    target = made(course)[0]
    before = target.path.read_bytes()
    monkeypatch.setattr("tlcourse.files.os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        building.save(target.notebook, target.path)
    assert target.path.read_bytes() == before
    assert not list(target.path.parent.glob("*.tmp"))
