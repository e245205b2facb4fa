# %% [markdown]
# # Why transfer: exercises
#
# Answer each cell that says `YOUR CODE HERE`, run it, then run the check below
# it. Stuck? `hint("why_transfer.leep")` gives one of three hints, and
# `progress()` shows how far you are.

# %%
import math

import torch

from tlcourse import check, hint, progress

# %% [markdown]
# ## 1. k labels per class
#
# Write `kshot_split(y, k, seed)`. It returns two int64 tensors of indices into
# `y`: the **support**, exactly `k` samples of every class, and the **rest**.
#
# - `y`: $(n,)$ int64. Class numbers may have gaps, and classes differ in size.
# - Within a class, every sample has the same chance. The seed alone decides: the
#   same seed gives the same support, and the random state of the rest of the
#   program stays as it was.
# - No index twice, none in both parts, none lost. When every class has exactly
#   `k` samples, the rest is empty, and still int64.
# - `ValueError` when a class has fewer than `k` samples, or when `k < 1`.

# %% [markdown]
# By hand: for `y = [5, 2, 5, 5, 2]` and `k = 1`, one right answer is support
# `[4, 0]` (one 2, one 5) and rest `[1, 2, 3]`.


# %% answer="why_transfer.kshot_split"
def kshot_split(y, k, seed):
    ### BEGIN SOLUTION
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique():
        members = (y == label).nonzero().flatten()
        if not 1 <= k <= len(members):
            raise ValueError(f"class {label} has {len(members)} samples, k is {k}")
        order = torch.randperm(len(members), generator=generator)
        chosen[members[order[:k]]] = True
    return chosen.nonzero().flatten(), (~chosen).nonzero().flatten()
    ### END SOLUTION


# %% check="why_transfer.kshot_split"
check("why_transfer.kshot_split", kshot_split)

# %% [markdown]
# ## 2. Transfer gain
#
# Write `transfer_gain(shots, transfer, scratch)`, the area between two learning
# curves over $u = \ln n$, divided by the width of the axis:
#
# $$G = \frac{1}{u_m - u_1} \sum_{j=1}^{m-1}
# \frac{d_j + d_{j+1}}{2}\,(u_{j+1} - u_j), \qquad d_j = a^T_j - a^S_j.$$
#
# - `shots`: $(m,)$ float, labels per class. `transfer`, `scratch`: accuracies,
#   $(m,)$ or $(s, m)$ for $s$ seeds. All are float64 tensors.
# - Returns a tensor: a scalar, or one gain per seed, $(s,)$.
# - `ValueError` when the two curves differ in shape or have another length than
#   `shots`, or when `shots` is not positive and strictly increasing with at least
#   two entries.

# %% [markdown]
# By hand: shots 1, 2, 8; differences 0.4, 0.2, 0.1. In units of $\ln 2$ the axis
# runs over 0, 1, 3. So $G = (0.3 \cdot 1 + 0.15 \cdot 2) / 3 = 0.2$.


# %% answer="why_transfer.transfer_gain"
def transfer_gain(shots, transfer, scratch):
    ### BEGIN SOLUTION
    if shots.ndim != 1 or len(shots) < 2 or shots[0] <= 0 or (shots.diff() <= 0).any():
        raise ValueError("shots must be positive and strictly increasing")
    if transfer.shape != scratch.shape or transfer.shape[-1] != len(shots):
        raise ValueError("both curves need one accuracy per entry of shots")
    u = shots.log()
    d = transfer - scratch
    middle = (d[..., 1:] + d[..., :-1]) / 2
    return (middle * u.diff()).sum(dim=-1) / (u[-1] - u[0])
    ### END SOLUTION


# %% check="why_transfer.transfer_gain"
check("why_transfer.transfer_gain", transfer_gain)

# %% [markdown]
# ## 3. LEEP
#
# Write `leep(probabilities, y)`. Row $i$ of `probabilities`, $(n, s)$ float64, is
# $\theta(x_i)$, what a source model says about target sample $i$ in terms of its
# $s$ **source** classes. `y`, $(n,)$ int64, are **target** classes; their numbers
# may have gaps. With
#
# $$\hat P(y, z) = \frac1n \sum_{i:\,y_i = y} \theta(x_i)_z, \quad
# \hat P(y|z) = \frac{\hat P(y, z)}{\sum_{y'} \hat P(y', z)}, \quad
# \mathrm{LEEP} = \frac1n \sum_i \log \sum_z \hat P(y_i|z)\,\theta(x_i)_z.$$
#
# - Returns a scalar tensor or a float, in nats.
# - A source class with no probability at all takes no part.
# - `ValueError` when lengths differ, or when a row has negative entries or does
#   not sum to 1 (within 1e-4).

# %% [markdown]
# By hand: two target samples, classes 0 and 1, with $\theta = (1, 0)$ and
# $(\tfrac12, \tfrac12)$. The joint is
# $\tfrac12 \begin{pmatrix} 1 & 0 \\ 1/2 & 1/2 \end{pmatrix}$, so
# $\hat P(\cdot|z{=}0) = (\tfrac23, \tfrac13)$ and
# $\hat P(\cdot|z{=}1) = (0, 1)$. LEEP is
# $\tfrac12\big(\log\tfrac23 + \log(\tfrac12\cdot\tfrac13 + \tfrac12)\big)
# = \log\tfrac23 \approx -0.405$.


# %% answer="why_transfer.leep"
def leep(probabilities, y):
    ### BEGIN SOLUTION
    if len(probabilities) != len(y):
        raise ValueError("one label per row is needed")
    off = (probabilities.sum(dim=1) - 1).abs()
    if (probabilities < 0).any() or (off > 1e-4).any():
        raise ValueError("rows must be probabilities")
    num_targets = int(y.max()) + 1
    joint = torch.zeros(num_targets, probabilities.shape[1], dtype=torch.float64)
    joint.index_add_(0, y, probabilities.double() / len(y))
    mass = joint.sum(dim=0)
    conditional = torch.where(mass > 0, joint / mass, 0.0)
    predicted = (conditional[y] * probabilities).sum(dim=1)
    return predicted.log().mean()
    ### END SOLUTION


# %% check="why_transfer.leep"
check("why_transfer.leep", leep)

# %% [markdown]
# ## 4. LogME
#
# Write `log_me(features, y)` for float64 features $F$, $(n, d)$, and classes `y`,
# $(n,)$ int64. For each class let $t \in \{0, 1\}^n$ mark its samples. Start with
# $\alpha = \beta = 1$ and repeat, with $\sigma_i$ the singular values of $F$,
#
# $$A = \alpha I + \beta F^\top F, \quad m = \beta A^{-1} F^\top t, \quad
# \gamma = \sum_i \frac{\beta\sigma_i^2}{\alpha + \beta\sigma_i^2},$$
#
# $$\alpha \leftarrow \frac{\gamma}{m^\top m}, \qquad
# \beta \leftarrow \frac{n - \gamma}{\lVert Fm - t\rVert^2}.$$

# %% [markdown]
# When the updates stand still (100 rounds are plenty here), the evidence is
#
# $$\mathcal L = \tfrac12\big(d\ln\alpha + n\ln\beta - \beta\lVert Fm - t\rVert^2
# - \alpha\, m^\top m - \ln|A| - n\ln 2\pi\big).$$
#
# LogME is the mean of $\mathcal L / n$ over the classes.
#
# - Returns a scalar tensor or a float. Use no intercept beyond $F$.
# - Class numbers may have gaps; only classes that occur count.
# - It must be right when $d > n$, too. The check is generous: 1e-4 relative.
# - `ValueError` when lengths differ.

# %% [markdown]
# By hand: $F = (1, 1)^\top$ and $t = (1, 0)^\top$. At $\alpha = \beta = 1$:
# $A = 3$, $m = 1/3$, $\gamma = 2/3$, $\lVert Fm - t\rVert^2 = 5/9$. One round
# gives $\alpha = 6$ and $\beta = 2.4$.


# %% answer="why_transfer.log_me"
def log_me(features, y):
    ### BEGIN SOLUTION
    n, d = features.shape
    if len(y) != n:
        raise ValueError("one label per row is needed")
    gram, identity = features.T @ features, torch.eye(d, dtype=features.dtype)
    power = torch.linalg.eigvalsh(gram).clamp(min=0)
    total = 0.0
    for label in y.unique():
        t = (y == label).to(features.dtype)
        alpha = beta = torch.ones((), dtype=features.dtype)
        for _ in range(100):
            A = alpha * identity + beta * gram
            m = beta * torch.linalg.solve(A, features.T @ t)
            error = ((features @ m - t) ** 2).sum()
            before = alpha, beta
            gamma = (beta * power / (alpha + beta * power)).sum()
            alpha, beta = gamma / (m @ m), (n - gamma) / error
        alpha, beta = before  # those that A, m and error belong to
        total += d * alpha.log() + n * beta.log() - beta * error
        total -= alpha * (m @ m) + torch.logdet(A) + n * math.log(2 * math.pi)
    return total / 2 / n / len(y.unique())
    ### END SOLUTION


# %% check="why_transfer.log_me"
check("why_transfer.log_me", log_me)

# %% [markdown]
# ## 5. Name the scenario
#
# Write `classify_scenario` with six keyword arguments, all `bool`. It returns a
# `dict` with four names. The **domain** differs when $P(X)$ differs, the **task**
# when $P(Y|X)$ differs.
#
# - `"spaces"`: `"heterogeneous"` if feature spaces differ, else `"homogeneous"`.
# - `"change"`: `"none"`, `"domain adaptation"` (domain only), `"task transfer"`
#   (task only), `"domain and task transfer"`.
#
# `ValueError` for `same_marginal` without `same_feature_space`, and for
# `same_conditional` without `same_label_space`: such facts contradict each other.

# %% [markdown]
# - `"by_task"` (Pan and Yang): `"traditional"` if nothing differs.
#   - The task differs: `"inductive"` with target labels, `"unsupervised"` without
#     any labels.
#   - Only the domain differs: `"transductive"` with source labels alone.
#   - Every other combination: `"no name"`.
# - `"by_labels"` (Zhuang et al.): `"traditional"` if nothing differs. Otherwise
#   `"inductive"` with target labels, `"transductive"` with source labels alone,
#   `"unsupervised"` without any.
#
# By hand: sans letters with labels, serif letters without. Spaces and $P(Y|X)$
# are the same, $P(X)$ differs: homogeneous, domain adaptation, transductive in
# both taxonomies.


# %% answer="why_transfer.classify_scenario"
def classify_scenario(
    *,
    same_feature_space,
    same_marginal,
    same_label_space,
    same_conditional,
    source_labels,
    target_labels,
):
    ### BEGIN SOLUTION
    if same_marginal and not same_feature_space:
        raise ValueError("P(X) cannot agree on different feature spaces")
    if same_conditional and not same_label_space:
        raise ValueError("P(Y|X) cannot agree on different label spaces")
    names = {"spaces": "homogeneous" if same_feature_space else "heterogeneous"}
    if same_marginal and same_conditional:
        return names | dict(change="none", by_task="traditional", by_labels="traditional")
    if same_conditional:
        names["change"] = "domain adaptation"
    else:
        names["change"] = "task transfer" if same_marginal else "domain and task transfer"
    names["by_labels"] = "unsupervised"
    if target_labels:
        names["by_labels"] = "inductive"
    elif source_labels:
        names["by_labels"] = "transductive"
    # Pan and Yang use the same words, but for some tasks only.
    fits = {True: ["transductive"], False: ["inductive", "unsupervised"]}
    named = names["by_labels"] in fits[same_conditional]
    names["by_task"] = names["by_labels"] if named else "no name"
    return names
    ### END SOLUTION


# %% check="why_transfer.classify_scenario"
check("why_transfer.classify_scenario", classify_scenario)

# %% [markdown]
# ## 6. Bug hunt: does transfer help?
#
# The script below compares two **arms**, `"scratch"` and `"transfer"`. It runs,
# its numbers look good, and **four** things are wrong with it. Mend them.
#
# - `arms[name]` is a function `fit(x, y, lr, seed)`. It trains and returns
#   `predict(x)`, which gives class numbers.
# - `pool` and `validation` are labelled data sets without a common sample:
#   `.x`, `.y`, and `support, rest = pool.few_shot(k, seed=...)`.
# - Wanted: for every seed and arm, the accuracy on what the support leaves of the
#   pool, at the learning rate that does best on `validation`.
#
# Return a dict: `"accuracy"`, a list over seeds for each arm; `"gain"`, the mean
# difference transfer minus scratch; `"error"`, the standard error of that mean
# (sample deviation, $n - 1$).


# %% answer="why_transfer.bug_hunt"
### BEGIN STUB
def share_right(predict, data):
    return (predict(data.x) == data.y).float().mean().item()


def bug_hunt(arms, pool, validation, k, seeds, rates):
    accuracy = {"scratch": [], "transfer": []}
    draw = 0
    for seed in seeds:
        for name in ("scratch", "transfer"):
            support, rest = pool.few_shot(k, seed=draw)
            draw += 1
            best = 0.0
            for rate in rates:
                predict = arms[name](support.x, support.y, rate, seed)
                best = max(best, share_right(predict, pool))
            accuracy[name].append(best)
    a = torch.tensor(accuracy["transfer"])
    b = torch.tensor(accuracy["scratch"])
    gain = a.mean() - b.mean()
    error = ((a.var() + b.var()) / len(seeds)).sqrt()
    return {"accuracy": accuracy, "gain": gain.item(), "error": error.item()}
### END STUB
### BEGIN SOLUTION
def score(predict, samples):
    return (predict(samples.x) == samples.y).double().mean().item()


def bug_hunt(arms, pool, validation, k, seeds, rates):
    accuracy = {"scratch": [], "transfer": []}
    for seed in seeds:
        support, rest = pool.few_shot(k, seed=seed)
        for name in accuracy:
            chosen, best = None, -1.0
            for rate in rates:
                predict = arms[name](support.x, support.y, rate, seed)
                reached = score(predict, validation)
                if reached > best:
                    chosen, best = predict, reached
            accuracy[name].append(score(chosen, rest))
    difference = torch.tensor(accuracy["transfer"]) - torch.tensor(accuracy["scratch"])
    error = difference.std() / math.sqrt(len(seeds))
    gain = difference.mean()
    return {"accuracy": accuracy, "gain": gain.item(), "error": error.item()}
### END SOLUTION


# %% check="why_transfer.bug_hunt"
check("why_transfer.bug_hunt", bug_hunt)

# %% [markdown] question="why_transfer-why" points=2
# ## 7. In your own words
#
# A hospital has 60 labelled X-rays of a rare disease and a model trained on a
# million holiday photos. A colleague pretrains on a second, larger set of X-rays
# from another country instead and reports that accuracy rises from 0.78 to 0.83
# on one split. In five to eight sentences: which of the two sources would you
# expect to transfer better and why, what could make you wrong, and what would you
# ask for before you believe the 0.05?
#
# === BEGIN MARK SCHEME ===
# One point for the argument about the source: nearness of P(X) against size and
# breadth of the source; what is shared (edges, texture, anatomy) and what may not
# be (site, device, labelling rule), with negative transfer named as a possibility.
# One point for the evidence: the same support and splits for both arms, several
# seeds or splits, a paired interval, a test set that chose nothing (patients kept
# apart), and a scratch baseline. Half a point each for a partial argument.
# === END MARK SCHEME ===
