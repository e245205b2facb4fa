# %% [markdown]
# # Start here
#
# **You will be able to** check your set-up, answer, check and mend an exercise, and
# see transfer win once.
#
# *Needs:* a little Python, and what a neural network is. *Minutes:* 20. *Timed on
# two CPU cores, no GPU, no network.*
#
# A cell runs with `Shift` + `Enter`. Run this notebook from top to bottom: *Run ›
# Run All Cells* does it at once.

# %%
import dataclasses

import numpy as np
import torch
import torch.nn.functional as F

import tlcourse
from tlcourse import check, data, hint, metrics, models, plots, progress

plots.use_style()
budget = tlcourse.Budget(90)

# %% [markdown]
# ## 1. Is everything in place?
#
# The doctor looks at your set-up line by line: **OK**, **NOTE** (you can go on) or
# **FAIL** (with the way to mend it). In a terminal the same is `tlcourse doctor`,
# which also tries every data set and every network.

# %%
from tlcourse import doctor

findings = list(doctor.examine(doctor.ESSENTIAL))
for finding in findings:
    print(f"{finding.level:4} {finding.what}  {finding.mend}")

# %%
failed = [finding for finding in findings if finding.level == "FAIL"]
assert not failed, "mend the FAIL lines above first"
device = tlcourse.device()
print("computing on", device)

# %% [markdown]
# ## 2. Transfer wins once
#
# **Transfer learning** reuses what was learnt on one task, the *source*, for another
# one, the *target*, that has few labels.
#
# Our source: `glyphnet`, a small network that has learnt to tell apart Latin and
# Cyrillic letters and digits, in many typefaces. Our target: Greek letters. The
# network has never been given Greek as a task, though some Greek letters look like
# letters it knows (ο, ν).

# %%
greek = data.load("glyphs", script="greek", per_class=40)
greek.show(n=24, title="The target: 24 Greek letters, distorted at random");

# %% [markdown]
# ### The task
#
# We get **one labelled picture of each letter**, 24 in all: the *support*. Every
# other picture must be named.
#
# The simplest classifier there is: give a picture the label of the most similar
# support picture. Similar in what? That is the whole question. We try two answers:
#
# - **pixels**: the 1,024 grey values themselves;
# - **features**: the numbers that `glyphnet` computes just before its last layer.
#
# Nothing is trained here. Both answers use the same pictures, the same labels and
# the same rule.


# %%
def nearest_neighbour_accuracy(features, dataset, shots, seed):
    support, query = dataset.few_shot(shots, seed=seed)
    known = F.normalize(features(support.x), dim=1)  # (m, d)
    asked = F.normalize(features(query.x), dim=1)  # (n, d)
    similarity = asked @ known.T  # (n, m), cosines
    named = support.y[similarity.argmax(dim=1)]
    return (named == query.y).float().mean().item()


# %% [markdown]
# ### Predict first
#
# Guess before you look: pure chance names one letter in 24. Which share will be
# right with pixels, and which with features? Change the two numbers, then run the
# next cell and unfold its output.

# %%
my_guess = {"pixels": 0.5, "features": 0.5}

# %%
net = models.load("glyphnet").to(device).eval()


def pixels(x):
    return x.flatten(1)


@torch.no_grad()
def features(x):
    return net.features(x.to(device)).cpu()


# %%
def over_seeds(features, dataset, shots):
    return [
        nearest_neighbour_accuracy(features, dataset, shots, seed)
        for seed in range(5)
    ]


# %% fold=true
one_label = {
    "pixels": over_seeds(pixels, greek, shots=1),
    "features": over_seeds(features, greek, shots=1),
}
for name, values in one_label.items():
    share = metrics.mean_interval(values)
    print(f"{name:9} {share}   you guessed {my_guess[name]:.2f}")

# %% [markdown]
# Each line is a mean over five draws of the support, with its 95 % interval. The
# claim of this lesson is that features win in every draw, by a wide margin. A claim
# in this course is always checked by code, like this:

# %%
gain = metrics.paired_difference(one_label["features"], one_label["pixels"])
assert gain.wins == 5 and gain.low > 0.3
print("features minus pixels:", gain)

# %% [markdown]
# ### How many labels is that worth?
#
# Give the pixels more and more labels per letter until they catch up.

# %%
shots = [1, 2, 5, 10, 20]
curves = {"pixels": [over_seeds(pixels, greek, k) for k in shots]}
curves["features"] = [over_seeds(features, greek, k) for k in shots]

# %%
plots.learning_curve(
    shots,
    {name: np.transpose(runs) for name, runs in curves.items()},
    title="One label with features beats twenty with pixels",
    xlabel="labels per letter",
    ylabel="accuracy (share right)",
    log_x=True,
).set_ylim(0, 1)
assert min(curves["features"][0]) > max(curves["pixels"][-1])

# %% [markdown]
# ### And where it does not help
#
# Ask the same pictures something the source task never cared about: is the letter
# **left or right** of the middle? While it learnt letters, `glyphnet` saw each of
# them shifted to and fro, and was rewarded for ignoring the shift.

# %%
columns = greek.x.sum(dim=(1, 2))  # (n, 32), ink in each column
middle = (columns * torch.arange(32)).sum(1) / columns.sum(1)
side = (middle > middle.median()).long()
sides = dataclasses.replace(greek, y=side, classes=("left", "right"))

# %%
scores = {
    "pixels": over_seeds(pixels, sides, 20),
    "features": over_seeds(features, sides, 20),
}
loss = metrics.paired_difference(scores["features"], scores["pixels"])
assert loss.high < 0, "features should do worse here"
for name, values in scores.items():
    print(f"{name:9} {metrics.mean_interval(values)}   (chance: 0.5)")
print("features minus pixels:", loss)

# %% [markdown]
# The same features that name letters best are the worse ones for this question. What
# transfers depends on what the source task made the network keep. Chapter 01 makes
# this precise.
#
# ### What did the choices do?
#
# Every lesson ends with a table of its design choices, each with its effect and
# interval, made by code. A hollow marker means: the data do not tell the sign.

# %%
five_labels = {
    "pixels": over_seeds(pixels, greek, 5),
    "features": over_seeds(features, greek, 5),
}
compare = metrics.paired_difference
effects = {
    "features, not pixels (1 label)": gain,
    "5 labels, not 1 (pixels)": compare(
        five_labels["pixels"], one_label["pixels"]
    ),
    "5 labels, not 1 (features)": compare(
        five_labels["features"], one_label["features"]
    ),
    "features, to tell left from right": loss,
}

# %%
plots.effect_table(
    effects,
    title="Features are worth more than labels, for the right question",
    xlabel="change in accuracy (share)",
);

# %% [markdown]
# ## 3. Exercises that check themselves
#
# Beside each lesson lies `exercises.ipynb`. You write a function, then hand it,
# the function itself, to `check`. Here is a wrong answer on purpose:


# %%
def accuracy(logits, targets):
    chosen = logits.argmax(dim=1)
    return 100 * (chosen == targets).float().mean().item()


report = check("start_here.accuracy", accuracy)
report

# %% [markdown]
# The check did not only say *wrong*. It compared the answer with mistakes that
# people really make, and recognised this one. Its points are what nbgrader would
# give, so you know your mark before your teacher does.

# %%
assert report.points == 0
assert report.misconception == "percent"

# %% [markdown]
# Stuck? A hint comes in three steps: a question, the formula, almost the code. Each
# call gives the next one.

# %%
hint("start_here.accuracy")

# %% [markdown]
# `progress()` shows points, attempts and mistakes that are still open. It is kept in
# a small file on your computer and goes nowhere else.

# %%
standing = progress()
row = next(r for r in standing.rows if r.exercise == "start_here.accuracy")
print(row.standing)

# %% [markdown]
# In a terminal, `tlcourse check 00` grades your whole notebook, `tlcourse reset 00`
# gives you a fresh one and keeps a copy of yours, and `tlcourse --help` tells the
# rest.
#
# ## Recap
#
# - The doctor says what is wrong with a set-up, and how to mend it.
# - Features learnt on a source task can stand for many labels on a target task, and
#   can be useless for a question the source task taught them to ignore.
# - Claims are asserted by code; an interval says how far to trust a number.
# - `check` gives points and names the mistake, `hint` helps in three steps.
#
# Now open `exercises.ipynb` beside this lesson.

# %%
print(f"This lesson took {'less' if budget.left > 0 else 'more'} than 90 s.")

# %% quiz=true

# %% [markdown]
# ## Sources
#
# - S. J. Pan, Q. Yang. *A Survey on Transfer Learning*. IEEE TKDE 22(10), 2010: the
#   words source, target, domain and task.
# - E. B. Wilson. *Probable Inference, the Law of Succession, and Statistical
#   Inference*. JASA 22, 1927; Student. *The Probable Error of a Mean*. Biometrika 6,
#   1908: the intervals.
# - C. M. Petroff. *Accessible Color Sequences for Data Visualization*.
#   arXiv:2107.02270, 2021: the colours of the figures.
