# %% [markdown]
# # Feature extraction: exercises
#
# Answer each cell that says `YOUR CODE HERE`, run it, then run the check below
# it. A check names the likely mistake. Stuck? `hint("feature_extraction.freeze")`
# gives one of three hints.
#
# Seven exercises, 25 points, and one question that a person marks.

# %%
import torch
import torch.nn.functional as F
from torch import nn

from tlcourse import check, hint, progress

# %% [markdown]
# ## 1. Freeze a network so that it stays frozen
#
# Write `freeze(model, except_for=())`. It changes the model in place and returns
# it. `except_for` lists names as in `model.named_modules()`, for example
# `["head"]` or `["body.3", "head"]`.
#
# - No parameter outside the named parts moves in training.
# - Every module outside them stays in eval mode (`training` is `False`), **also
#   after** `model.train()`.
# - The named parts are left alone: their parameters learn, unless their owner had
#   frozen them; their modules keep their mode now, and follow `model.train()` and
#   `model.eval()` as before. Both still return the model.
# - `"body"` names that part, not another one called `body2`. A name that the
#   model does not have is a `ValueError`.
#
# By hand: a BatchNorm with running mean $0$ and momentum $0.1$ sees one batch of
# mean $4$ in train mode. Its running mean becomes $0.9\cdot 0+0.1\cdot 4=0.4$,
# with `requires_grad=False` as much as without. Frozen, it must still be $0$.


# %% answer="feature_extraction.freeze"
def freeze(model, except_for=()):
    ### BEGIN SOLUTION
    names = [name for name, _ in model.named_modules()]
    kept = set()
    for name in except_for:
        if name not in names:
            raise ValueError(f"the model has no part {name!r}")
        kept.update(model.get_submodule(name).modules())

    def keep_eval(module):
        def train(mode=True):
            for child in module.children():
                child.train(mode)
            return module

        return train

    for module in model.modules():
        if module in kept:
            continue
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = False
        module.training = False
        module.train = keep_eval(module)
    return model
    ### END SOLUTION


# %% check="feature_extraction.freeze"
check("feature_extraction.freeze", freeze)

# %% [markdown]
# ## 2. Read the features of a layer
#
# Write `extract_features(model, x, layer, batch_size)`, the outputs of the module
# called `layer` for all samples of `x`, by a forward hook.
#
# - `x`: $(n, \dots)$. At most `batch_size` samples per forward pass, and every
#   sample, also when `batch_size` does not divide $n$.
# - A vector layer gives $(n, d)$. A map $(b, c, h, w)$ is averaged over $h$ and
#   $w$: $(n, c)$.
# - Eval mode, and no graph is recorded.
# - Afterwards all is as before: your hook is gone, the owner's hooks are still
#   there, **each module** has the mode it had, each parameter its `requires_grad`,
#   and torch records gradients again. This holds when the model raises an error,
#   too, and the error comes out.
#
# By hand: the map $\begin{pmatrix}1&3\\5&7\end{pmatrix}$ of one channel becomes
# the single number $4$.


# %% answer="feature_extraction.extract_features"
def extract_features(model, x, layer, batch_size):
    ### BEGIN SOLUTION
    parts = []

    def keep(module, args, output):
        if output.ndim == 4:
            output = output.mean(dim=(2, 3))
        parts.append(output)

    modes = [(module, module.training) for module in model.modules()]
    handle = model.get_submodule(layer).register_forward_hook(keep)
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(x), batch_size):
                model(x[start : start + batch_size])
    finally:
        handle.remove()
        for module, mode in modes:
            module.training = mode
    return torch.cat(parts)
    ### END SOLUTION


# %% check="feature_extraction.extract_features"
check("feature_extraction.extract_features", extract_features)

# %% [markdown]
# ## 3. A ridge probe in closed form
#
# Write `ridge_probe(z, y, num_classes, penalty)`, the solution of
#
# $$\min_{W,\,b}\ \sum_{i=1}^{n}\lVert W z_i+b-t_i\rVert^2
#   +\lambda\lVert W\rVert_F^2 ,$$
#
# where $t_i$ is the one-hot vector of class $y_i$. The bias is **not** penalised.
#
# - `z`: $(n, d)$ float32; `y`: $(n,)$ int64; `penalty`: $\lambda>0$, otherwise a
#   `ValueError`. There may be fewer samples than features.
# - Return the pair `weight` $(c, d)$ and `bias` $(c,)$, float32. A class without a
#   sample has its row, too.
#
# By hand, with $d=1$: $z=(1,3)$, classes $(0,1)$, $\lambda=2$. Centred: $z=(-1,1)$
# and, for class 1, $t=(-\tfrac12,\tfrac12)$. So
# $w=\frac{1}{2+2}=\tfrac14$ and $b=\tfrac12-\tfrac14\cdot2=0$.


# %% answer="feature_extraction.ridge_probe"
def ridge_probe(z, y, num_classes, penalty):
    ### BEGIN SOLUTION
    if penalty <= 0:
        raise ValueError(f"penalty must be > 0, got {penalty}")
    targets = F.one_hot(y, num_classes).to(z.dtype)
    z_mean, t_mean = z.mean(dim=0), targets.mean(dim=0)
    z_c, t_c = z - z_mean, targets - t_mean
    gram = z_c.T @ z_c + penalty * torch.eye(z.shape[1])
    weight = torch.linalg.solve(gram, z_c.T @ t_c).T
    return weight, t_mean - weight @ z_mean
    ### END SOLUTION


# %% check="feature_extraction.ridge_probe"
check("feature_extraction.ridge_probe", ridge_probe)

# %% [markdown]
# ## 4. Classify by nearest neighbours
#
# Write `knn_predict(z_train, y_train, z_test=None, k=5)`, classes $(m,)$ int64.
#
# - The $k$ samples with the largest cosine
#   $\frac{\langle u, v\rangle}{\lVert u\rVert\,\lVert v\rVert}$ vote, one vote
#   each. Among classes with equally many votes, the one with the nearest neighbour
#   wins.
# - Without `z_test` classify the training samples, each by the **others**; another
#   sample with equal features is one of them. Queries are compared with all samples.
# - $1\le k\le n$, and without `z_test` $k\le n-1$; otherwise a `ValueError`.
#
# By hand: neighbours from the nearest on have the classes $2, 0, 0, 2$. With $k=4$
# classes $0$ and $2$ tie, and $2$ wins; with $k=3$ class $0$ wins.


# %% answer="feature_extraction.knn_predict"
def knn_predict(z_train, y_train, z_test=None, k=5):
    ### BEGIN SOLUTION
    alone = z_test is None
    if not 1 <= k <= len(z_train) - alone:
        raise ValueError(f"k must lie in [1, {len(z_train) - alone}], got {k}")
    train = z_train / z_train.norm(dim=1, keepdim=True).clamp(min=1e-12)
    test = z_train if alone else z_test
    test = test / test.norm(dim=1, keepdim=True).clamp(min=1e-12)
    similarity = test @ train.T
    if alone:
        similarity.fill_diagonal_(-torch.inf)
    votes = y_train[similarity.topk(k, dim=1).indices]
    winners = []
    for row in votes.tolist():
        most = max(row.count(label) for label in row)
        winners.append(next(label for label in row if row.count(label) == most))
    return torch.tensor(winners)
    ### END SOLUTION


# %% check="feature_extraction.knn_predict"
check("feature_extraction.knn_predict", knn_predict)

# %% [markdown]
# ## 5. Linear CKA
#
# Write `linear_cka(a, b)`, a scalar float32 tensor:
#
# $$\frac{\lVert \bar B^{\top}\bar A\rVert_F^2}
#   {\lVert \bar A^{\top}\bar A\rVert_F\,\lVert \bar B^{\top}\bar B\rVert_F},$$
#
# where a bar means that the mean over samples is subtracted from every column.
#
# - `a`: $(n, d_1)$, `b`: $(n, d_2)$ float32; row $i$ of both is the same sample.
# - Unequal numbers of samples, or a side of which no feature varies, are a
#   `ValueError`. Some constant features among others are fine.
#
# By hand, with one feature each it is the squared correlation:
# $a=(1,2,3)$, $b=(1,3,2)$ give $\bar a=(-1,0,1)$, $\bar b=(-1,1,0)$,
# $\langle\bar a,\bar b\rangle=1$, and $\frac{1^2}{2\cdot2}=\tfrac14$.


# %% answer="feature_extraction.linear_cka"
def linear_cka(a, b):
    ### BEGIN SOLUTION
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} samples cannot be compared")
    for features in (a, b):
        if (features == features[0]).all():
            raise ValueError("features do not vary over the samples")
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    shared = torch.linalg.matrix_norm(b.T @ a) ** 2
    own_a = torch.linalg.matrix_norm(a.T @ a)
    own_b = torch.linalg.matrix_norm(b.T @ b)
    return shared / (own_a * own_b)
    ### END SOLUTION


# %% check="feature_extraction.linear_cka"
check("feature_extraction.linear_cka", linear_cka)

# %% [markdown]
# ## 6. Replace the head
#
# Write `replace_head(model, num_classes)`. It puts a fresh `nn.Linear` in the place
# of the **last** linear layer, whatever its name and however deep it sits, and
# returns the same model.
#
# - The new layer takes as many features as the old one and gives `num_classes`
#   logits. It has the old one's device and dtype.
# - The new layer trains, even in a frozen network. Nothing else changes: no other
#   parameter or buffer, and no other module's mode.
# - A model without a linear layer is a `ValueError`.
#
# By hand: a classifier `Sequential(Linear(6, 7), ReLU(), Linear(7, 4))` becomes,
# for 10 classes, `Sequential(Linear(6, 7), ReLU(), Linear(7, 10))`.


# %% answer="feature_extraction.replace_head"
def replace_head(model, num_classes):
    ### BEGIN SOLUTION
    last = None
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            last = name
    if last is None:
        raise ValueError("the model has no linear layer")
    *path, child = last.split(".")
    parent = model
    for part in path:
        parent = getattr(parent, part)
    old = getattr(parent, child)
    weight = old.weight
    new = nn.Linear(old.in_features, num_classes)
    setattr(parent, child, new.to(device=weight.device, dtype=weight.dtype))
    return model
    ### END SOLUTION


# %% check="feature_extraction.replace_head"
check("feature_extraction.replace_head", replace_head)

# %% [markdown]
# ## 7. Bug hunt: a probe on cached features
#
# The code below runs without an error. It has **five mistakes**, each of them common.
# Find and mend them.
#
# What it should do: `bug_hunt(backbone, x_train, y_train, x_test, num_classes)`
# returns logits $(m, c)$ for the test pictures, in their order.
#
# - The backbone is a feature extractor: it is used as it is, records no graph, and
#   is **as before** afterwards: statistics, `requires_grad`, and each module's mode.
# - A prediction depends on the picture and on the training set alone, not on which
#   other test pictures were given.
# - Features are scaled by the mean and standard deviation of the training features
#   (plus `1e-6`).
#
# The head comes first. It is right; use it as it is.


# %%
def head_logits(z_train, y_train, z_test, num_classes):
    targets = F.one_hot(y_train, num_classes).float()
    gram = z_train.T @ z_train + torch.eye(z_train.shape[1])
    centred = targets - targets.mean(0)
    weight = torch.linalg.solve(gram, z_train.T @ centred)
    return z_test @ weight + targets.mean(0)


# %% answer="feature_extraction.bug_hunt"
### BEGIN STUB
def cache(backbone, x):
    order = torch.randperm(len(x))
    parts = []
    for batch in x[order].split(8):
        batch = batch + 0.1 * torch.randn_like(batch)
        parts.append(backbone(batch))
    return torch.cat(parts)


def scale(z):
    return (z - z.mean(0)) / (z.std(0) + 1e-6)


def bug_hunt(backbone, x_train, y_train, x_test, num_classes):
    z_train = scale(cache(backbone, x_train))
    z_test = scale(cache(backbone, x_test))
    return head_logits(z_train, y_train, z_test, num_classes)


### END STUB
### BEGIN SOLUTION
@torch.no_grad()
def cache(backbone, x):
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    parts = [backbone(batch) for batch in x.split(8)]
    for module, mode in modes:
        module.training = mode
    return torch.cat(parts)


def bug_hunt(backbone, x_train, y_train, x_test, num_classes):
    z_train, z_test = cache(backbone, x_train), cache(backbone, x_test)
    mean, std = z_train.mean(0), z_train.std(0) + 1e-6
    z_train, z_test = (z_train - mean) / std, (z_test - mean) / std
    return head_logits(z_train, y_train, z_test, num_classes)


### END SOLUTION


# %% check="feature_extraction.bug_hunt"
check("feature_extraction.bug_hunt", bug_hunt)

# %% [markdown] question="feature_extraction-why" points=2
# ## 8. A plan for a clinic (marked by a person)
#
# A clinic has 300 labelled retina pictures from two cameras, and no GPU. You may use
# a network pretrained on photographs of everyday things. In at most 150 words: which
# layer would you read, which head would you fit, how would you split the data and
# choose the penalty, and which result would make you give up frozen features?
#
# === BEGIN MARK SCHEME ===
# 1 point for the plan: eval mode, cached features; more than one layer is compared,
# a middle one named as a candidate because the domain is far; a closed-form or kNN
# head; penalty by cross-validation on training data; no picture (better, no patient)
# on both sides of the split.
# 1 point for the reasoning: test on the camera that was held out, not a random
# split; a baseline (pixels, random network); frozen features are given up if the
# best layer stays near the baseline, or the training error of the probe stays high
# however small the penalty (the features lack the information).
# === END MARK SCHEME ===
