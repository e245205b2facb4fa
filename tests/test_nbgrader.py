"""Real round trips: what a teacher does with nbgrader, with our notebooks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tlcourse.course import all_chapters
from tlcourse.exercises import get

ROOT = Path(__file__).resolve().parents[1]
# Every chapter takes the same road: one by default, all in the full run.
CHAPTERS = [
    pytest.param(c, marks=[pytest.mark.slow] * (c.slug != "losses"), id=c.folder)
    for c in all_chapters()
    if (ROOT / "solutions" / c.folder).is_dir()
]


# nbgrader calls `alembic` by name: the environment's own commands come first.
BIN = str(Path(sys.executable).parent)
ENVIRONMENT = {**os.environ, "PATH": BIN + os.pathsep + os.environ["PATH"]}


def nbgrader(course: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=course,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module", params=CHAPTERS)
def course(request, tmp_path_factory):
    """A course folder with one released assignment, and its name."""
    folder = tmp_path_factory.mktemp("course")
    name = request.param.folder
    for item in ("course.toml", "nbgrader_config.py"):
        shutil.copy(ROOT / item, folder)
    for room in ("solutions", "chapters"):
        shutil.copytree(ROOT / room / name, folder / room / name)
    (folder / "classroom").mkdir()
    nbgrader(folder, "generate_assignment", name)
    return folder, name


def submit(course: Path, name: str, student: str, room: str) -> Path:
    place = course / "classroom" / "submitted" / student / name
    place.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(course / room / name / "exercises.ipynb", place))


def scores(course: Path, student: str) -> dict[str, float]:
    """Automatic points by exercise, as they stand in nbgrader's gradebook."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'classroom' / 'gradebook.db'}") as book:
        found = {}
        for submission in book.student_submissions(student):
            for notebook in submission.notebooks:
                for grade in notebook.grades:
                    found[grade.name] = grade.auto_score
        return found


def exercises_of(course: Path, name: str) -> dict[str, int]:
    cells = nbformat.read(course / "solutions" / name / "exercises.ipynb", 4).cells
    checks = [c for c in cells if c.metadata.get("nbgrader", {}).get("locked")]
    ids = [c.id.replace("-", ".", 1) for c in checks]
    return {i.replace(".", "-"): get(i).points for i in ids}


def test_release_is_what_learners_have(course):
    folder, name = course
    released = nbformat.read(
        folder / "classroom" / "release" / name / "exercises.ipynb", 4
    )
    given = nbformat.read(ROOT / "chapters" / name / "exercises.ipynb", 4)
    assert [c.source for c in released.cells] == [c.source for c in given.cells]


def test_generate_leaves_the_learners_folder_alone(course):
    folder, name = course
    for path in sorted((folder / "chapters").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (ROOT / path.relative_to(folder)).read_bytes()


def test_stub_earns_nothing_and_solution_everything(course):
    folder, name = course
    submit(folder, name, "stub", "chapters")
    submit(folder, name, "reference", "solutions")
    nbgrader(folder, "autograde", name)
    wanted = exercises_of(folder, name)
    stub, reference = scores(folder, "stub"), scores(folder, "reference")
    assert {n: stub[n] for n in wanted} == dict.fromkeys(wanted, 0)
    assert {n: reference[n] for n in wanted} == wanted
    nbgrader(folder, "generate_feedback", name)
    for student in ("stub", "reference"):
        assert (folder / "classroom" / "feedback" / student / name).is_dir()
    nbgrader(folder, "export")
    assert "reference" in (folder / "grades.csv").read_text()


def test_wrong_answer_earns_what_check_said(course):
    """A mutant's points in nbgrader are the points of its report."""
    folder, name = course
    if name != "02_losses":
        pytest.skip("one chapter is enough: the rule is the same")
    path = submit(folder, name, "mutant", "chapters")
    notebook = nbformat.read(path, 4)
    wrong = (
        "def cross_entropy(logits, targets):\n"
        "    if targets.min() < 0 or targets.max() >= logits.shape[1]:\n"
        "        raise ValueError('class index')\n"
        "    p = logits.exp() / logits.exp().sum(1, keepdim=True)\n"
        "    return -p[torch.arange(len(p)), targets].log().mean()"
    )
    for cell in notebook.cells:
        if cell.id == "losses-cross_entropy-answer":
            cell.source = wrong
    nbformat.write(notebook, path)
    nbgrader(folder, "autograde", name, "--student", "mutant")
    import torch

    space = {"torch": torch}
    exec(wrong, space)
    from tlcourse.exercises import judge

    report = judge(get("losses.cross_entropy"), space["cross_entropy"])
    assert report.misconception == "unstable"
    assert 0 < report.points < report.max_points
    assert scores(folder, "mutant")["losses-cross_entropy"] == report.points
