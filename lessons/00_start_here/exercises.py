# %% [markdown]
# # Start here: exercises
#
# Two small ones, to learn how checks speak. Replace each `YOUR CODE HERE` and the
# line below it, run the cell, then run the check under it. A wrong answer is worth
# more than none: the check often knows which mistake it is. Stuck?
# `hint("start_here.accuracy")` gives the next of three hints.

# %%
import torch

from tlcourse import check, hint, progress

# %% [markdown]
# ## Accuracy
#
# Write `accuracy(logits, targets)`: the share of rows whose largest logit stands at
# the target.
#
# - `logits`: $(n, k)$, float; `targets`: $(n,)$, int64.
# - Return a plain Python `float` from 0 to 1.
#
# By hand: the logits `[[2., 1.], [0., 3.], [5., 4.]]` choose the classes 0, 1, 0.
# With the targets `[0, 1, 1]` two of three are right: 0.667.


# %% answer="start_here.accuracy"
def accuracy(logits, targets):
    ### BEGIN SOLUTION
    chosen = logits.argmax(dim=1)
    right = (chosen == targets).sum().item()
    return right / len(targets)
    ### END SOLUTION


# %% check="start_here.accuracy"
check("start_here.accuracy", accuracy)

# %% [markdown]
# ## Bug hunt: a split that leaks
#
# `split` should cut data into a training and a test part, at random, by a seed. It
# runs without an error, and it is wrong in three ways. Find and mend them.
#
# - Returns `train_x, train_y, test_x, test_y`.
# - The test part has `round(fraction * n)` samples; the rest is for training.
# - The same seed gives the same split, whatever else drew random numbers before;
#   another seed gives another. `x` and `y` stay as they were.


# %% answer="start_here.bug_hunt"
### BEGIN STUB
def split(x, y, fraction, seed):
    n = len(x)
    num_test = round(fraction * n)
    x = x[torch.randperm(n)]
    y = y[torch.randperm(n)]
    test_x, test_y = x[:num_test], y[:num_test]
    train_x, train_y = x[num_test - 1 :], y[num_test - 1 :]
    return train_x, train_y, test_x, test_y


### END STUB
### BEGIN SOLUTION
def split(x, y, fraction, seed):
    n = len(x)
    num_test = round(fraction * n)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(n, generator=generator)
    test, train = order[:num_test], order[num_test:]
    return x[train], y[train], x[test], y[test]


### END SOLUTION


# %% check="start_here.bug_hunt"
check("start_here.bug_hunt", split)

# %% [markdown] question="start_here-why" points=1
# **In one or two sentences:** a colleague says "my split function is random, so I do
# not need a seed". What can go wrong?
#
# === BEGIN MARK SCHEME ===
#
# One point for either: results cannot be repeated, so a bug cannot be found again; or
# two methods are compared on different splits, so their difference mixes with luck.
#
# === END MARK SCHEME ===
