"""A course of one chapter in a folder of its own: two exercises, quickly built."""

import nbformat

from tlcourse.authoring import building
from tlcourse.course import find_chapter

MANIFEST = """
[[part]]
title = "Part"
[[part.chapter]]
number = 2
slug = "losses"
title = "Losses"
goals = ["one"]
minutes = 10
[[part.chapter]]
number = 3
slug = "empty"
title = "Nothing yet"
goals = ["none"]
minutes = 1
"""
LESSON = """# %% [markdown]
# # Losses

# %%
1 + 1
"""
EXERCISES = """# %%
from tlcourse import check, hint

# %% answer="losses.cross_entropy"
def cross_entropy(logits, targets):
    ### BEGIN SOLUTION
    if targets.min() < 0 or targets.max() >= logits.shape[1]:
        raise ValueError("class index out of range")
    shifted = logits - logits.max(dim=1, keepdim=True).values
    true = shifted.gather(1, targets[:, None]).squeeze(1)
    return (shifted.exp().sum(dim=1).log() - true).mean()
    ### END SOLUTION

# %% check="losses.cross_entropy"
check("losses.cross_entropy", cross_entropy)

# %% answer="losses.l2_sp"
def l2_sp(*args, **kwargs):
    ### BEGIN SOLUTION
    return 0.0
    ### END SOLUTION

# %% check="losses.l2_sp"
check("losses.l2_sp", l2_sp)

# %% [markdown] question="losses-why" points=2
# Why?
#
# === BEGIN MARK SCHEME ===
# Because.
# === END MARK SCHEME ===
"""
ANSWER = EXERCISES[EXERCISES.index("def cross") : EXERCISES.index("# %% check")]


def make(folder):
    """Write the course and build it; returns the folder."""
    (folder / "course.toml").write_text(MANIFEST)
    lessons = folder / "lessons" / "02_losses"
    lessons.mkdir(parents=True)
    (lessons / "lesson.py").write_text(LESSON)
    (lessons / "exercises.py").write_text(EXERCISES)
    (folder / "lessons" / "03_empty").mkdir()
    for target in building.targets(folder, find_chapter("losses")):
        building.write(target)
    return folder


def edit(folder, change, name="exercises.ipynb"):
    """Change a learner's notebook: ``change`` gets the cells by id, in order."""
    path = folder / "chapters" / "02_losses" / name
    notebook = nbformat.read(path, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    change(cells)
    notebook.cells = list(cells.values())
    nbformat.write(notebook, path)
    return path
