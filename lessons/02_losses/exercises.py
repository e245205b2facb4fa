# %% [markdown]
# # Losses: exercises
#
# Answer each cell that says `YOUR CODE HERE`, run it, then run the check below
# it. Stuck? `hint("losses.cross_entropy")` gives one of three hints.

# %%
import torch

from tlcourse import check, hint, progress

# %% [markdown]
# ## Cross-entropy from logits
#
# Write `cross_entropy(logits, targets)`, the mean over samples of
#
# $$\ell_i = \log\sum_j e^{z_{ij}} - z_{i y_i}.$$
#
# - `logits`: $(n, k)$, float; `targets`: $(n,)$, int64 in $[0, k)$.
# - Returns a scalar tensor in the dtype of `logits`.
# - It must be right for logits near 1,000 and near -1,000, too, whatever the other
#   rows hold.
# - A class index outside $[0, k)$, -1 for example, is a `ValueError`.
#
# Do not call torch's own cross-entropy, log-softmax, logsumexp or `kl_div`.
#
# By hand: logits $(2, 0, 0)$, true class 0. The sum is $e^2 + 1 + 1 = 9.389$, its
# log 2.240, so $\ell = 2.240 - 2 = 0.240$.


# %% answer="losses.cross_entropy"
def cross_entropy(logits, targets):
    ### BEGIN SOLUTION
    num_classes = logits.shape[1]
    if targets.min() < 0 or targets.max() >= num_classes:
        raise ValueError(f"targets must lie in [0, {num_classes - 1}]")
    largest = logits.max(dim=1, keepdim=True).values
    shifted = logits - largest
    rows = torch.arange(len(targets))
    return (shifted.exp().sum(dim=1).log() - shifted[rows, targets]).mean()
    ### END SOLUTION


# %% check="losses.cross_entropy"
check("losses.cross_entropy", cross_entropy)

# %% [markdown]
# ## Cross-entropy with smoothed labels
#
# Write `label_smoothing_ce(logits, targets, smoothing)`, the mean over samples of
# $-\sum_k q_{ik} \log p_{ik}$ with $p = \mathrm{softmax}(z)$ and
#
# $$q_{ik} = (1-\varepsilon)\,[k = y_i] + \frac{\varepsilon}{K}.$$
#
# - $\varepsilon$ is `smoothing`, a float; outside $[0, 1)$ it is a `ValueError`,
#   and so is 1 itself.
# - Returns a scalar tensor in the dtype of `logits`.
# - It must be right for logits near 1,000; `log_softmax` may be used here,
#   torch's cross-entropy may not.
#
# By hand: logits $(2, 0, 0)$, true class 0, $\varepsilon = 0.3$. The $-\log p$ are
# $(0.240, 2.240, 2.240)$ and $q = (0.8, 0.1, 0.1)$: the loss is
# $0.192 + 0.224 + 0.224 = 0.640$.


# %% answer="losses.label_smoothing_ce"
def label_smoothing_ce(logits, targets, smoothing):
    ### BEGIN SOLUTION
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must lie in [0, 1), got {smoothing}")
    log_p = logits.log_softmax(dim=1)
    rows = torch.arange(len(targets))
    true, uniform = -log_p[rows, targets], -log_p.mean(dim=1)
    return ((1 - smoothing) * true + smoothing * uniform).mean()
    ### END SOLUTION


# %% check="losses.label_smoothing_ce"
check("losses.label_smoothing_ce", label_smoothing_ce)

# %% [markdown]
# ## L2-SP: a penalty towards the starting point
#
# Write `l2_sp(params, source, alpha, beta)`:
#
# $$\frac\alpha2 \sum_{S} \lVert w - w^0\rVert^2
#   + \frac\beta2 \sum_{\bar S} \lVert w\rVert^2 .$$
#
# - `params` and `source` are dicts, name to float tensor.
# - $S$: the parameters that `source` has under the same name **and** with the same
#   shape. $\bar S$: all others, for example a new head.
# - No gradient may flow into `source`. Names only in `source` do not count.
# - Names have no meaning of their own: a new part may be called anything.
# - Leave both dicts and their tensors as they were, `requires_grad` included.
# - Returns a scalar tensor in the dtype of the parameters.
#
# By hand: body $w = (1, 3)$, $w^0 = (1, 1)$, new head $(2)$, $\alpha = 0.5$,
# $\beta = 0.1$: $0.25 \cdot 4 + 0.05 \cdot 4 = 1.2$.


# %% answer="losses.l2_sp"
def l2_sp(params, source, alpha, beta):
    ### BEGIN SOLUTION
    total = 0
    for name, w in params.items():
        if name in source and source[name].shape == w.shape:
            total = total + alpha / 2 * ((w - source[name].detach()) ** 2).sum()
        else:
            total = total + beta / 2 * (w**2).sum()
    return total
    ### END SOLUTION


# %% check="losses.l2_sp"
check("losses.l2_sp", l2_sp)

# %% [markdown]
# ## Distillation with a temperature
#
# Write `distillation_loss(student, teacher, temperature)`:
#
# $$T^2 \cdot \frac1n\sum_i \mathrm{KL}\big(p_i \,\|\, q_i\big), \quad
#   p = \mathrm{softmax}(\text{teacher}/T),\;
#   q = \mathrm{softmax}(\text{student}/T).$$
#
# - Both logits are $(n, k)$ float. $T \le 0$ is a `ValueError`.
# - No gradient may flow into the teacher, and its tensor stays as it was,
#   `requires_grad` included.
# - It must be right for logits near 500, whatever $T$ is.
# - Returns a scalar tensor in the dtype of `student`.
# - `log_softmax` may be used, `kl_div` may not.
#
# By hand: teacher $(2, 0)$, student $(0, 0)$, $T = 2$. Then $p = (0.731, 0.269)$,
# $q = (\frac12, \frac12)$,
# $\mathrm{KL} = 0.731 \log 1.462 + 0.269 \log 0.538 = 0.111$, times 4: 0.444.


# %% answer="losses.distillation_loss"
def distillation_loss(student, teacher, temperature):
    ### BEGIN SOLUTION
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    log_q = (student / temperature).log_softmax(dim=1)
    log_p = (teacher.detach() / temperature).log_softmax(dim=1)
    kl = (log_p.exp() * (log_p - log_q)).sum(dim=1)
    return temperature**2 * kl.mean()
    ### END SOLUTION


# %% check="losses.distillation_loss"
check("losses.distillation_loss", distillation_loss)

# %% [markdown]
# ## Triplet loss on semi-hard triplets
#
# Write `triplet_loss(z, labels, margin)`. With $d_{ij} = \lVert z_i - z_j\rVert^2$
# (squared), a triplet is an anchor $a$, a positive $p \ne a$ of the same class and a
# negative $n$ of another class. Average
#
# $$d_{ap} - d_{an} + m \quad\text{over all triplets with}\quad
#   d_{ap} < d_{an} < d_{ap} + m.$$
#
# - `z`: $(n, d)$ float; `labels`: $(n,)$ int64.
# - Returns a scalar tensor in the dtype of `z`.
# - Both bounds are strict: equal distances are not semi-hard.
# - Without any such triplet the loss is 0, and `backward()` works and gives 0.
# - Two equal embeddings must not make the gradient `nan`.
#
# By hand: $z = 0, 1, 1.2$ on a line, classes A, A, B, $m = 1$. Anchor 0: $d_{ap} = 1$,
# $d_{an} = 1.44$, semi-hard, $0.56$. Anchor 1: $d_{ap} = 1$, $d_{an} = 0.04$, hard,
# not counted. The loss is 0.56.


# %% answer="losses.triplet_loss"
def triplet_loss(z, labels, margin):
    ### BEGIN SOLUTION
    d = ((z.unsqueeze(1) - z.unsqueeze(0)) ** 2).sum(dim=2)
    same = labels.unsqueeze(1) == labels.unsqueeze(0)
    positive = same & ~torch.eye(len(z), dtype=torch.bool)
    d_ap, d_an = d.unsqueeze(2), d.unsqueeze(1)  # axes: anchor, positive, negative
    keep = positive.unsqueeze(2) & ~same.unsqueeze(1)
    keep = keep & (d_ap < d_an) & (d_an < d_ap + margin)
    return ((d_ap - d_an + margin) * keep).sum() / keep.sum().clamp(min=1)
    ### END SOLUTION


# %% check="losses.triplet_loss"
check("losses.triplet_loss", triplet_loss)

# %% [markdown]
# ## An evaluation that is right
#
# Write `evaluate(model, batches)`. It returns two numbers (floats, or tensors with
# one value): the mean cross-entropy and the accuracy in $[0, 1]$, in this order, both
# over **samples**.
#
# - `batches` is an iterable of `(x, y)`, perhaps a generator, so it can be gone
#   through only once; batches differ in size.
# - Dropout is off, BatchNorm uses its stored statistics and does not change them.
# - No graph is built.
# - Afterwards every submodule is in the mode it had before. A BatchNorm that
#   was frozen in eval mode inside a training model stays in eval mode.
# - Gradients are switched on again, and the same parameters require them as before.
#
# By hand: a batch of 3 with loss 0.2 each and a batch of 1 with loss 1.0 give
# $1.6 / 4 = 0.4$, not $(0.2 + 1.0)/2 = 0.6$.


# %% answer="losses.evaluate"
def evaluate(model, batches):
    ### BEGIN SOLUTION
    modes = {module: module.training for module in model.modules()}
    model.eval()
    total, right, n = 0.0, 0, 0
    with torch.no_grad():
        for x, y in batches:
            logits = model(x)
            batch_mean = torch.nn.functional.cross_entropy(logits, y).item()
            total += batch_mean * len(y)
            right += (logits.argmax(dim=1) == y).sum().item()
            n += len(y)
    for module, mode in modes.items():
        module.training = mode
    return total / n, right / n
    ### END SOLUTION


# %% check="losses.evaluate"
check("losses.evaluate", evaluate)

# %% [markdown]
# ## Bug hunt: pretrain, then train a new head
#
# The script below pretrains a small network on 12 × 12 pictures of 4 source classes,
# computes the features of the target pictures once, trains a new head for 2 classes
# on them, and returns body, old head, new head, and the mean cross-entropy of the new
# head over the target pictures. The body learns from the source alone. The script has
# **four bugs**. Two of them do not raise an error where they are made.
#
# `train` is right; use it as it is.


# %%
def train(model, x, y, epochs, lr):
    """Plain gradient descent on batches of 16 in random order."""
    weights = list(model.parameters())
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(16):
            loss = torch.nn.functional.cross_entropy(model(x[index]), y[index])
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for w, gradient in zip(weights, gradients, strict=True):
                    w -= lr * gradient


# %% answer="losses.bug_hunt"
### BEGIN STUB
def bug_hunt(source, target):
    """Four bugs: source and target are pairs (x, y), x is (n, 1, 12, 12)."""
    body = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 12 * 12, 32), nn.ReLU()),
    )
    old_head = nn.Linear(32, 4)
    train(nn.Sequential(body, old_head), *source, epochs=20, lr=0.1)

    x, y = target
    with torch.no_grad():
        z = body(x).reshape(-1, 64)
    head = nn.Linear(64, 2)
    train(head, z, y, epochs=40, lr=0.01)

    losses = []
    with torch.no_grad():
        for i in range(0, len(y), 16):
            loss = nn.CrossEntropyLoss()(head(z[i : i + 16]), y[i : i + 16])
            losses.append(loss.item())
    return body, old_head, head, sum(losses) / len(losses)
### END STUB
### BEGIN SOLUTION
from torch import nn


def bug_hunt(source, target):
    """Mended: source and target are pairs (x, y), x is (n, 1, 12, 12)."""
    body = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 3 * 3, 32), nn.ReLU()),
    )
    old_head = nn.Linear(32, 4)
    train(nn.Sequential(body, old_head), *source, epochs=20, lr=0.1)

    x, y = target
    with torch.no_grad():
        z = body(x)  # (n, 32)
    head = nn.Linear(32, 2)
    train(head, z, y, epochs=40, lr=0.01)

    total = 0.0
    with torch.no_grad():
        for i in range(0, len(y), 16):
            loss = nn.CrossEntropyLoss()(head(z[i : i + 16]), y[i : i + 16])
            total += loss.item() * len(y[i : i + 16])
    return body, old_head, head, total / len(y)
### END SOLUTION


# %% check="losses.bug_hunt"
check("losses.bug_hunt", bug_hunt)

# %% [markdown] question="losses-why" points=3
# ## In your own words (graded by a person)
#
# You have 5 labels per class on the target, a source model, and 2,000 unlabelled
# target pictures. A colleague proposes: fine-tune with L2-SP, choose its
# $\alpha$ by accuracy on the target's test set, and stop early where that accuracy is
# highest. Say what is wrong with the plan, what the reported accuracy would
# mean, and how you would choose $\alpha$ and the stopping point instead. When
# would a large $\alpha$ hurt? At most 150 words.
#
# === BEGIN MARK SCHEME ===
#
# 1 point: the test set chooses alpha and the epoch, so its accuracy is biased upwards
# (selection on the test set); it no longer estimates the accuracy on new data.
#
# 1 point: a sound way: hold out part of the few labels (cross-validation over them),
# or choose on a source validation set, or with a criterion that needs no labels; fix
# the number of epochs beforehand; touch the test set once. Says that few labels make
# any such choice noisy.
#
# 1 point: a large alpha hurts where the source solution is far from a good target
# solution (another task or domain; negative transfer), because it keeps the weights
# at values that are wrong for the target.
#
# === END MARK SCHEME ===
