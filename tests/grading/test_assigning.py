"""Assignments from the bank: made as the chapters are, with a seed of their own."""

import shutil
import stat
from pathlib import Path

import nbformat
import pytest
import small_course
from nbgrader.utils import is_grade, is_solution

from tlcourse.authoring import building
from tlcourse.authoring.release import student_version
from tlcourse.course import find_chapter
from tlcourse.exercises import UnknownExercise, get
from tlcourse.grading.assigning.making import NotAssigned, assign, seed_of, seeds_path
from tlcourse.grading.book.masters import load_course

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def course(tmp_path):
    """A course of one chapter, with nbgrader's configuration."""
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    return small_course.make(tmp_path)


@pytest.fixture
def whole(tmp_path):
    """Every chapter's exercises."""
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    shutil.copytree(ROOT / "lessons", tmp_path / "lessons")
    return tmp_path


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def graded(notebook):
    return [c.metadata.nbgrader.grade_id for c in notebook.cells if is_grade(c)]


def run(notebook):
    """Points of every check, by running the cells in their order."""
    space, points = {}, {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and is_grade(cell):
            exercise = get(cell.metadata.nbgrader.grade_id.replace("-", ".", 1))
            points[exercise.id] = eval(cell.source, space).points
        elif cell.cell_type == "code":
            exec(cell.source, space)
    return points


def test_order_is_kept_and_nothing_comes_twice(whole):
    wanted = ["few_shot.ci95", "losses-why", "losses.l2_sp", "few_shot.ci95"]
    path = assign(whole, "hw1", wanted)
    assert path == whole / "solutions" / "hw1" / "exercises.ipynb"
    assert graded(read(path)) == ["few_shot-ci95", "losses-why", "losses-l2_sp"]


def test_a_chapter_with_and_without_its_question(course):
    all_of_it = graded(read(assign(course, "hw1", ["losses"])))
    exercises = graded(read(assign(course, "hw2", ["losses.*"])))
    assert all_of_it == [*exercises, "losses-why"]
    assert exercises == ["losses-cross_entropy", "losses-l2_sp"]


def test_cells_are_the_chapters_own(course):
    made = {c.id: c for c in read(assign(course, "hw1", ["losses"])).cells}
    chapter = course / "solutions" / "02_losses" / "exercises.ipynb"
    for cell in read(chapter).cells:
        if "nbgrader" in cell.metadata:
            assert made[cell.id] == cell


def test_its_own_answers_run_and_earn_everything(whole):
    names = ["few_shot.ci95", "losses.bug_hunt", "maml.inner_step", "few_shot.bug_hunt"]
    points = run(read(assign(whole, "hw1", names)))
    assert points == {name: get(name).points for name in names}


def test_a_helper_is_there_again_after_another_took_its_name(course):
    lesson = course / "lessons" / "02_losses" / "exercises.py"
    helper = "# %% [markdown]\n# ## {}\n\n# %%\n{}\n\n# %% answer"
    text = lesson.read_text()
    text = text.replace(
        "# %% answer", helper.format("One", "def helper():\n    return 1"), 1
    )
    head, tail = text.split('# %% answer="losses.l2_sp"')
    tail = tail.replace("return 0.0", "return 0.0 * helper()")
    two = helper.format("Two", "from math import floor as unused")
    lesson.write_text(f'{head}{two}="losses.l2_sp"{tail}')
    notebook = read(assign(course, "hw1", ["losses.l2_sp", "losses.cross_entropy"]))
    sources = [c.source for c in notebook.cells]
    answer = next(i for i, s in enumerate(sources) if "def l2_sp" in s)
    assert any("def helper" in source for source in sources[:answer])


def test_an_answer_that_uses_another_asks_for_it(whole):
    with pytest.raises(NotAssigned, match=r"rbf_kernel before it"):
        assign(whole, "hw1", ["distribution_shift.mmd2"])
    assert not (whole / "solutions").exists()
    names = ["median_heuristic", "rbf_kernel", "mmd2"]
    assign(whole, "hw1", [f"distribution_shift.{name}" for name in names])


@pytest.mark.parametrize(
    ("name", "exercises", "message"),
    [
        ("losses", ["losses"], "a chapter's name"),
        ("Few-Shot", ["losses"], "a chapter's name"),
        ("02_losses", ["losses"], "is a letter"),
        ("../hw", ["losses"], "is a letter"),
        ("hw 1", ["losses"], "is a letter"),
        ("hw1", [], "at least one"),
        ("hw1", ["nothing"], "Chapters: .*losses"),
        ("hw1", ["losses-nothing"], "Questions: .*losses-why"),
    ],
)
def test_what_cannot_be_assigned_is_said(whole, name, exercises, message):
    with pytest.raises(NotAssigned, match=message):
        assign(whole, name, exercises)
    assert not (whole / "solutions").exists()


def test_an_unknown_exercise_is_named_with_its_neighbours(whole):
    with pytest.raises(UnknownExercise, match=r"losses\.cross_entropy"):
        assign(whole, "hw1", ["losses.cross_entropi"])


def test_an_assignment_is_never_overwritten(course):
    path = assign(course, "hw1", ["losses"])
    before, seed = path.read_bytes(), seed_of(course, "hw1")
    with pytest.raises(NotAssigned, match="exists already"):
        assign(course, "hw1", ["losses.l2_sp"])
    assert (path.read_bytes(), seed_of(course, "hw1")) == (before, seed)


def test_a_name_with_a_seed_is_not_given_again(course):
    path = assign(course, "hw1", ["losses"])
    seed = seed_of(course, "hw1")
    shutil.rmtree(path.parent)
    with pytest.raises(NotAssigned, match="already has a seed"):
        assign(course, "hw1", ["losses"])
    assert seed_of(course, "hw1") == seed and not path.parent.exists()


def test_a_failed_save_leaves_no_folder(course, monkeypatch):
    monkeypatch.setattr("tlcourse.grading.assigning.making.save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        assign(course, "hw1", ["losses"])
    assert not (course / "solutions" / "hw1").exists()
    monkeypatch.undo()
    assert assign(course, "hw1", ["losses"]).is_file()


def test_seeds_are_private_random_and_kept(course):
    assert seed_of(course, "hw1") == (0, False)
    assign(course, "hw1", ["losses"])
    assign(course, "hw2", ["losses"], per_student=True)
    assign(course, "hw3", ["losses"], seed=7)
    (first, alone), (second, each) = (seed_of(course, n) for n in ("hw1", "hw2"))
    assert first != second and first > 0 and second > 0
    assert (alone, each) == (False, True)
    assert seed_of(course, "hw3") == (7, False)
    assert stat.S_IMODE(seeds_path(course).stat().st_mode) == 0o600
    assert str(first) not in (course / "solutions/hw1/exercises.ipynb").read_text()


@pytest.mark.parametrize("seed", [0, -1, 2**53 + 1])
def test_a_seed_must_be_a_private_one(course, seed):
    with pytest.raises(NotAssigned, match="whole number from 1"):
        assign(course, "hw1", ["losses"], seed=seed)


@pytest.mark.parametrize(
    "text", ["[hw1", '[hw1]\nseed = "x"', "hw1 = 3", "[hw1]\nseed = 1", "\xff"]
)
def test_seeds_that_cannot_be_read_are_said(course, text):
    seeds_path(course).parent.mkdir(exist_ok=True)
    seeds_path(course).write_text(text, encoding="latin-1")
    with pytest.raises(NotAssigned, match=r"seeds\.toml"):
        seed_of(course, "hw1")


def test_a_lost_write_leaves_the_old_seeds(course, monkeypatch):
    assign(course, "hw1", ["losses"])
    before = seeds_path(course).read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        assign(course, "hw2", ["losses"])
    monkeypatch.undo()
    assert seeds_path(course).read_bytes() == before
    assert not list(seeds_path(course).parent.glob("*.tmp"))


def test_what_is_handed_out_has_no_answer_and_no_seed(whole):
    path = assign(whole, "hw1", ["few_shot.bug_hunt", "losses"])
    given = nbformat.writes(student_version(read(path)))
    assert "BEGIN SOLUTION" not in given and "MARK SCHEME" not in given
    assert "Four bugs" in given  # the buggy code of the hunt is the stub
    assert str(seed_of(whole, "hw1")[0]) not in given


def test_the_chapters_are_as_before(course):
    assign(course, "hw1", ["losses"])
    made = building.targets(course, find_chapter("losses"))
    assert not [line for target in made for line in building.differences(target)]


def test_the_source_folder_is_nbgraders(course):
    config = course / "nbgrader_config.py"
    config.write_text(config.read_text().replace('"solutions"', '"teaching"'))
    assert assign(course, "hw1", ["losses"]).parent == course / "teaching" / "hw1"
    assert load_course(course).source_directory == "teaching"


def test_title_and_points_stand_on_top(course):
    first = read(assign(course, "hw1", ["losses"], title="Week 1")).cells[0].source
    points = get("losses.cross_entropy").points + get("losses.l2_sp").points + 2
    assert first.startswith("# Week 1\n") and f"Points: {points}." in first


def test_answers_stay_with_their_checks(whole):
    cells = read(assign(whole, "hw1", ["few_shot", "losses"])).cells
    answers = [c for c in cells if c.cell_type == "code" and is_solution(c)]
    for answer in answers:
        check = cells[cells.index(answer) + 1]
        assert f"{check.id}-answer" == answer.id
