# %% [markdown]
# # Contrastive learning: exercises
#
# Answer each cell that says `YOUR CODE HERE`, run it, then run the check below
# it. A check names the likely mistake. Stuck? `hint("contrastive.nt_xent")`
# gives one of three hints.
#
# Eight exercises, 29 points, and one question that a person marks. Throughout,
# embeddings are float32, `z` is $(n, d)$, $u=z/\lVert z\rVert$ row by row, and no row
# is a zero vector. A loss is a scalar tensor.

# %%
import math

import torch
import torch.nn.functional as F

from tlcourse import check, hint, progress

# %% [markdown]
# ## 1. NT-Xent
#
# Write `nt_xent(z1, z2, temperature=0.5)`. The $2n$ rows $u$ of `torch.cat([z1, z2])`,
# normalised, are anchors in turn. Row $i$ must find its other view $p(i)$ among the
# $2n-1$ **other** rows, those of its own view included:
#
# $$\frac1{2n}\sum_{i=1}^{2n}-\ln
#   \frac{\exp(u_i^{\top}u_{p(i)}/\tau)}{\sum_{k\ne i}\exp(u_i^{\top}u_k/\tau)} .$$
#
# - `z1`, `z2`: $(n, d)$; row $i$ of both is a view of sample $i$. Gradients flow
#   through both.
# - The result is finite at $\tau=0.01$, too, where $e^{1/\tau}$ is too large for
#   float32.
# - $\tau\le0$, views of different shapes, or $n<2$ (nothing to be told apart from)
#   are a `ValueError`.
#
# By hand, $d=1$: `z1` $=(1,-1)$, `z2` $=(2,-3)$ give $u=(1,-1,1,-1)$. With $\tau=1$
# each anchor has similarity $1$ to its positive and $-1$ to two others: the loss is
# $\ln(1+2e^{-2})=0.240$. With $\tau=0.5$ it is $\ln(1+2e^{-4})=0.036$.


# %% answer="contrastive.nt_xent"
def nt_xent(z1, z2, temperature=0.5):
    ### BEGIN SOLUTION
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    if z1.shape != z2.shape or len(z1) < 2:
        raise ValueError("two views of at least two samples are needed")
    n = len(z1)
    u = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = u @ u.T / temperature
    itself = torch.eye(2 * n, dtype=torch.bool)
    logits = logits.masked_fill(itself, -torch.inf)
    targets = torch.arange(2 * n).roll(n)  # n, n + 1, ..., 0, 1, ...
    return F.cross_entropy(logits, targets)
    ### END SOLUTION


# %% check="contrastive.nt_xent"
check("contrastive.nt_xent", nt_xent)

# %% [markdown]
# ## 2. Supervised contrast
#
# Write `sup_con(z, labels, temperature=0.1)`. The positives of row $i$ are the
# **other** rows of its class, $P(i)$; the softmax runs over all other rows:
#
# $$\ell_i=-\frac1{|P(i)|}\sum_{p\in P(i)}\ln
#   \frac{\exp(u_i^{\top}u_p/\tau)}{\sum_{k\ne i}\exp(u_i^{\top}u_k/\tau)} .$$
#
# Return the mean of $\ell_i$ over the rows that **have** a positive. Mind the order:
# the logarithm for each positive, then the mean (the paper's $L_{out}$). There is no
# other factor.
#
# - `labels`: $(n,)$ int64, any numbers, also negative. Gradients flow through all
#   rows, and stay finite when some have no positive. So does the value at $\tau=0.01$.
# - $\tau\le0$, no row with a positive, or only one class are a `ValueError`.
#
# By hand, $d=1$: `z` $=(1, 2, -5)$ with labels $(0, 0, 1)$, $\tau=1$. $u=(1,1,-1)$.
# Rows 0 and 1 have $\ell=-\ln\frac{e}{e+e^{-1}}=0.127$; row 2 has no positive. The
# loss is $0.127$, not two thirds of it.


# %% answer="contrastive.sup_con"
def sup_con(z, labels, temperature=0.1):
    ### BEGIN SOLUTION
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    itself = torch.eye(len(z), dtype=torch.bool)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    count = positive.sum(dim=1)
    if not positive.any() or (labels == labels[0]).all():
        raise ValueError("no positives, or nothing to tell apart")
    u = F.normalize(z, dim=1)
    logits = (u @ u.T / temperature).masked_fill(itself, -torch.inf)
    log_p = F.log_softmax(logits, dim=1)
    total = -log_p.masked_fill(~positive, 0).sum(dim=1)
    has = count > 0
    return (total[has] / count[has]).mean()
    ### END SOLUTION


# %% check="contrastive.sup_con"
check("contrastive.sup_con", sup_con)

# %% [markdown]
# ## 3. VICReg
#
# Write `vicreg(z1, z2, invariance=25.0, variance=25.0, covariance=1.0)`, the loss
#
# $$\lambda\,s+\mu\,\tfrac12\,[v(Z_1)+v(Z_2)]+\nu\,[c(Z_1)+c(Z_2)]$$
#
# with the three weights in this order, and **no** normalised rows:
#
# - $s$: the mean of $(Z_1-Z_2)^2$ over all $n\cdot d$ entries;
# - $v(Z)$: the mean over features $j$ of $\max(0,\,1-\sqrt{\mathrm{Var}_j+10^{-4}})$;
# - $c(Z)=\frac1d\sum_{j\ne k}C_{jk}^2$, $C$ the covariance matrix of the features,
#   $(d, d)$. $\mathrm{Var}$ and $C$ divide by $n-1$.
#
# `z1`, `z2`: $(n, d)$. Gradients are finite, for a constant feature too. Different
# shapes, or $n<2$, are a `ValueError`. (This is the authors' code; the paper's formula
# has other factors.)
#
# By hand, $d=1$: `z1` $=(0, 2)$, `z2` $=(0, 1)$. $s=\frac{0+1}2=0.5$. Variances $2$
# and $0.5$: $v=0$ and $1-0.707=0.293$, half their sum $0.146$. One feature has
# nothing to share: $c=0$. The loss is $25\cdot0.5+25\cdot0.146=16.16$.


# %% answer="contrastive.vicreg"
def vicreg(z1, z2, invariance=25.0, variance=25.0, covariance=1.0):
    ### BEGIN SOLUTION
    if z1.shape != z2.shape or len(z1) < 2:
        raise ValueError("two views of at least two samples are needed")
    n, d = z1.shape
    loss = invariance * (z1 - z2).square().mean()
    for z in (z1, z2):
        spread = (z.var(dim=0) + 1e-4).sqrt()
        loss = loss + variance * F.relu(1 - spread).mean() / 2
        centred = z - z.mean(dim=0)
        c = centred.T @ centred / (n - 1)
        off = c[~torch.eye(d, dtype=torch.bool)]
        loss = loss + covariance * off.square().sum() / d
    return loss
    ### END SOLUTION


# %% check="contrastive.vicreg"
check("contrastive.vicreg", vicreg)

# %% [markdown]
# ## 4. Alignment
#
# Write `alignment(z1, z2, alpha=2)`:
#
# $$\frac1n\sum_i\lVert u^{(1)}_i-u^{(2)}_i\rVert_2^{\alpha}.$$
#
# - `z1`, `z2`: $(n, d)$, $n\ge1$; $\alpha\ge1$, not always a whole number.
# - Gradients are finite, also where two views are equal and $\alpha=1$; the gradient
#   of such a pair is 0.
# - Different shapes are a `ValueError`.
#
# By hand: the pair $(3, 0)$ and $(0, 2)$ becomes $(1, 0)$ and $(0, 1)$, at distance
# $\sqrt2$: $2$ for $\alpha=2$ and $1.414$ for $\alpha=1$.


# %% answer="contrastive.alignment"
def alignment(z1, z2, alpha=2):
    ### BEGIN SOLUTION
    if z1.shape != z2.shape:
        raise ValueError(f"shapes {tuple(z1.shape)} and {tuple(z2.shape)} differ")
    apart = F.normalize(z1, dim=1) - F.normalize(z2, dim=1)
    return apart.norm(dim=1).pow(alpha).mean()
    ### END SOLUTION


# %% check="contrastive.alignment"
check("contrastive.alignment", alignment)

# %% [markdown]
# ## 5. Uniformity
#
# Write `uniformity(z, t=2)`:
#
# $$\ln\Big[\frac{2}{n(n-1)}\sum_{i<j}e^{-t\lVert u_i-u_j\rVert_2^2}\Big].$$
#
# - The result is finite at $t=100$, too, where $e^{-2t}$ is rounded to 0. Gradients
#   are finite, also when two rows are equal.
# - Fewer than two rows, or $t\le0$, are a `ValueError`.
#
# By hand: $(1, 0)$, $(0, 2)$ and $(-3, 0)$ have squared distances $2$, $4$ and $2$ on
# the circle. With $t=2$: $\ln\frac{e^{-4}+e^{-8}+e^{-4}}3=-4.40$.


# %% answer="contrastive.uniformity"
def uniformity(z, t=2):
    ### BEGIN SOLUTION
    n = len(z)
    if n < 2 or t <= 0:
        raise ValueError("at least two rows and t > 0 are needed")
    u = F.normalize(z, dim=1)
    first, second = torch.triu_indices(n, n, offset=1)
    squared = (u[first] - u[second]).square().sum(dim=1)
    return torch.logsumexp(-t * squared, dim=0) - math.log(len(squared))
    ### END SOLUTION


# %% check="contrastive.uniformity"
check("contrastive.uniformity", uniformity)

# %% [markdown]
# ## 6. Two views of each picture
#
# Write `two_views(x, augment, generator)`. It returns the pair `v1, v2`, both shaped
# like `x` $(n, c, h, w)$: row $i$ of each is picture $i$, augmented once.
#
# `augment(batch, generator)` takes $(b, c, h, w)$ and returns the same shape. Unlike
# those of this course,
#
# - it draws **once per call** and changes all pictures of the call alike, as
#   torchvision's transforms do with a batch. You need draws of their own for every
#   picture and for each of its two views;
# - it **may write into** the batch it is given. `x` must stay as it is.
#
# All draws come from `generator`, a `torch.Generator` that runs on: equal seeds give
# equal results, a second call gives other views. Global random states stay untouched.
#
# By hand: 3 pictures need 6 calls. If `augment` shifts by a drawn number of pixels, the
# first picture may move by 2 in `v1` and by 5 in `v2`, the second by 4 and 0.


# %% answer="contrastive.two_views"
def two_views(x, augment, generator):
    ### BEGIN SOLUTION
    views = []
    for _ in range(2):
        pictures = []
        for i in range(len(x)):
            picture = x[i : i + 1].clone()
            pictures.append(augment(picture, generator))
        views.append(torch.cat(pictures))
    return views[0], views[1]
    ### END SOLUTION


# %% check="contrastive.two_views"
check("contrastive.two_views", two_views)

# %% [markdown]
# ## 7. Evaluate by neighbours
#
# Write `knn_eval(z_train, y_train, z_test, y_test, k=20, temperature=0.07)`, which
# returns the pair `accuracy`, `classes`.
#
# - The $k$ training rows with the largest cosine to a query vote for their classes,
#   with weight $e^{\cos/\tau}$. The class with the largest sum wins.
# - `classes`: $(m,)$ int64, the winners. `accuracy`: the fraction of them, in
#   $[0, 1]$, that equal `y_test`. A test class that training lacks is always wrong.
# - The result is right at $\tau=0.005$, too, where $e^{1/\tau}$ is too large for
#   float32. No ties occur.
# - `y_train` $(n,)$ and `y_test` $(m,)$ are int64, 0 or more; the numbers of the
#   classes may have gaps. $k$ outside $[1, n]$, or $\tau\le0$, is a `ValueError`.
#
# By hand: cosines $0.9, 0.5, 0.5$ of the classes $1, 0, 0$. With $\tau=0.2$ the weights
# are, up to a common factor, $1$ and twice $e^{-2}=0.135$: class 1 wins. With $\tau=2$
# they are $1$ and twice $e^{-0.2}=0.819$: class 0 wins.


# %% answer="contrastive.knn_eval"
def knn_eval(z_train, y_train, z_test, y_test, k=20, temperature=0.07):
    ### BEGIN SOLUTION
    if not 1 <= k <= len(z_train):
        raise ValueError(f"k must lie in [1, {len(z_train)}], got {k}")
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    cosine = F.normalize(z_test, dim=1) @ F.normalize(z_train, dim=1).T
    near, index = cosine.topk(k, dim=1)  # the nearest first
    weight = ((near - near[:, :1]) / temperature).exp()
    scores = torch.zeros(len(z_test), int(y_train.max()) + 1)
    scores.scatter_add_(1, y_train[index], weight)
    classes = scores.argmax(dim=1)
    return (classes == y_test).float().mean().item(), classes
    ### END SOLUTION


# %% check="contrastive.knn_eval"
check("contrastive.knn_eval", knn_eval)

# %% [markdown]
# ## 8. Bug hunt: SimCLR from views to features
#
# The code below runs without an error. It has **five mistakes**, each of them common.
# Find and mend them.
#
# What it should do: train `backbone` and `projector` in place by plain SGD on NT-Xent
# of the projections, and return the $h$ features that will be transferred, $(n, h)$.
#
# - In every epoch each sample is seen twice, as two new views; here `augment(x,
#   generator)` draws for every sample and leaves `x` alone. Batches come in a new
#   order.
# - Projections count by their direction only. The loss is that of exercise 1.
# - The features are those that a probe reads afterwards, as in the lesson, of the
#   samples as they are.
#
# $n$ is a multiple of `batch_size`. No network has a BatchNorm or dropout.


# %% answer="contrastive.bug_hunt"
### BEGIN STUB
def loss_of(z1, z2, temperature):
    z = torch.cat([z1, z2])
    logits = z @ z.T * temperature
    itself = torch.eye(len(z), dtype=torch.bool)
    logits = logits.masked_fill(itself, 0)
    targets = torch.arange(len(z)).roll(len(z1))
    return F.cross_entropy(logits, targets)


def bug_hunt(
    backbone, projector, x, augment, epochs, batch_size, temperature, lr, generator
):
    parameters = [*backbone.parameters(), *projector.parameters()]
    x1, x2 = augment(x, generator), augment(x, generator)
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for batch in order.split(batch_size):
            z1 = projector(backbone(x1[batch]))
            z2 = projector(backbone(x2[batch]))
            loss = loss_of(z1, z2, temperature)
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for p, gradient in zip(parameters, gradients, strict=True):
                    p -= lr * gradient
    with torch.no_grad():
        return projector(backbone(x))


### END STUB
### BEGIN SOLUTION
def loss_of(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool)
    logits = logits.masked_fill(itself, -torch.inf)
    targets = torch.arange(len(z)).roll(len(z1))
    return F.cross_entropy(logits, targets)


def bug_hunt(
    backbone, projector, x, augment, epochs, batch_size, temperature, lr, generator
):
    parameters = [*backbone.parameters(), *projector.parameters()]
    for epoch in range(epochs):
        x1, x2 = augment(x, generator), augment(x, generator)
        order = torch.randperm(len(x), generator=generator)
        for batch in order.split(batch_size):
            z1 = projector(backbone(x1[batch]))
            z2 = projector(backbone(x2[batch]))
            loss = loss_of(z1, z2, temperature)
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for p, gradient in zip(parameters, gradients, strict=True):
                    p -= lr * gradient
    with torch.no_grad():
        return backbone(x)


### END SOLUTION


# %% check="contrastive.bug_hunt"
check("contrastive.bug_hunt", bug_hunt)

# %% [markdown] question="contrastive-why" points=2
# ## 9. An archive without labels (marked by a person)
#
# A timber trade has 40,000 unlabelled microscope pictures of wood from two
# laboratories, whose lamps differ in colour, and 10 labelled pictures for each of 12
# species. The species show in the grain, two of them in colour alone. The computer
# holds batches of 16. In at most 150 words: name two augmentations that you would use
# and one that you would not, choose a loss, say how you would notice collapse and a
# shortcut, and with what you would compare the result.
#
# === BEGIN MARK SCHEME ===
# 1 point for the design: augmentations are chosen by what must not count (crops,
# turns, light, mild lamp colour) and what must (strong colour change would erase the
# two species; heavy blur the grain); the tension between the lamps and the two species
# is seen. A loss that does well with few negatives: VICReg or Barlow Twins, or a queue
# (MoCo) or stored embeddings; plain NT-Xent with 16 is argued for, not taken by
# default. SupCon only for the labelled pictures.
# 1 point for the proof: collapse by the effective rank or the spread of the features
# (not by the loss); a shortcut by a loss that falls fast while the neighbours or a
# probe do not improve, or by features that tell the laboratory; choices on a validation
# part of the 120 labels, split by laboratory. Baselines with the same labels:
# supervised from scratch, random network, raw pixels, a pretrained network if there is
# one; several seeds and draws of the labels, with intervals.
# === END MARK SCHEME ===
