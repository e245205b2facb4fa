"""A small real course: two quick exercises, and students of known worth."""

import copy
import shutil
from pathlib import Path

import nbformat

from tlcourse.authoring.release import student_version

ROOT = Path(__file__).resolve().parents[2]
NAME = "hw"
_WANTED = ("losses-cross_entropy", "losses-l2_sp")
WRONG = "def l2_sp(params, source, alpha, beta):\n    return alpha"
ENDS = "import os\nos._exit(3)"


def make(folder):
    """A course folder without submissions."""
    source = nbformat.read(ROOT / "solutions" / "02_losses" / "exercises.ipynb", 4)
    first = next(c for c in source.cells if c.cell_type == "code")
    chosen = [c for c in source.cells if c.id.removesuffix("-answer") in _WANTED]
    source.cells = [first, *chosen]
    place = folder / "solutions" / NAME
    place.mkdir(parents=True)
    nbformat.write(source, place / "exercises.ipynb")
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    (folder / "classroom").mkdir()
    return folder


def notebook(folder, **answers):
    """What a student hands in: the stub, or with these answers; ``right`` is right."""
    source = nbformat.read(folder / "solutions" / NAME / "exercises.ipynb", 4)
    given = copy.deepcopy(student_version(source))
    for theirs, ours in zip(given.cells, source.cells, strict=True):
        answer = answers.get(theirs.id.removeprefix("losses-").removesuffix("-answer"))
        if theirs.id.endswith("-answer") and answer == "right":
            lines = ours.source.splitlines()
            theirs.source = "\n".join(line for line in lines if "###" not in line)
        elif theirs.id.endswith("-answer") and answer:
            theirs.source = answer
    return nbformat.writes(given)


def submit(folder, student, text):
    place = folder / "classroom" / "submitted" / student / NAME
    place.mkdir(parents=True, exist_ok=True)
    (place / "exercises.ipynb").write_text(text)


def fill(folder):
    """Five students; returns the points each has earned."""
    right = {"cross_entropy": "right", "l2_sp": "right"}
    submit(folder, "ada", notebook(folder, **right))
    submit(folder, "Bob O'Neil", notebook(folder, **right | {"l2_sp": WRONG}))
    submit(folder, "carl", notebook(folder, **right | {"l2_sp": ENDS}))
    submit(folder, "dora", notebook(folder))
    submit(folder, "eve", "{")
