# %% [markdown]
# # Few-shot learning: exercises
#
# Answer each cell that says `YOUR CODE HERE`, run it, then run the check below
# it. A check names the likely mistake. Stuck? `hint("few_shot.prototypes")`
# gives one of three hints.
#
# Seven exercises, 24 points, and one question that a person marks.

# %%
import torch
from torch import nn

from tlcourse import check, hint, progress

# %% [markdown]
# ## 1. Draw an episode
#
# Write `sample_episode(labels, num_ways, num_shots, num_queries, generator)`, with
# $N$, $K$ and $Q$ for the three numbers. It returns four int64 tensors:
#
# - `support` $(NK,)$ and `query` $(NQ,)$: indices into `labels`;
# - `support_y` $(NK,)$ and `query_y` $(NQ,)$: their **new** labels, $0$ to $N-1$.
#
# Draw $N$ of the classes, each set of $N$ with the same chance, whatever the size of
# the classes. Of each drawn class take $K$ support and $Q$ query samples, all sets of
# samples with the same chance. No sample comes twice, in one set or in both. A class
# has one new label, the same in both. The order of classes and samples does not matter.
# (The lesson's function gives tables, a row per class; here both sets are flat, with
# their labels beside them.)

# %% [markdown]
# - `labels`: $(n,)$ int64, in any order; the class numbers may have gaps.
# - `generator`, a `torch.Generator`, is the only source of randomness: one seed, one
#   episode, whatever else the program draws. The next call with the same generator
#   gives another episode.
# - Fewer than $N$ classes, or **any** class with fewer than $K+Q$ samples, is a
#   `ValueError`.
#
# By hand: `labels` $=(7,7,9,9)$, $N=2$, $K=Q=1$. If class 9 is called 0, one result is
# `support` $=(2,0)$, `support_y` $=(0,1)$, `query` $=(3,1)$, `query_y` $=(0,1)$.


# %% answer="few_shot.sample_episode"
def sample_episode(labels, num_ways, num_shots, num_queries, generator):
    ### BEGIN SOLUTION
    classes, counts = labels.unique(return_counts=True)
    if len(classes) < num_ways:
        raise ValueError(f"{num_ways} ways, but {len(classes)} classes")
    if counts.min() < num_shots + num_queries:
        raise ValueError("a class has fewer than num_shots + num_queries samples")
    drawn = torch.randperm(len(classes), generator=generator)[:num_ways]
    support, support_y, query, query_y = [], [], [], []
    for new, old in enumerate(classes[drawn].tolist()):
        members = torch.where(labels == old)[0]
        order = torch.randperm(len(members), generator=generator)
        support.append(members[order[:num_shots]])
        query.append(members[order[num_shots : num_shots + num_queries]])
        support_y += [new] * num_shots
        query_y += [new] * num_queries
    return (
        torch.cat(support),
        torch.tensor(support_y),
        torch.cat(query),
        torch.tensor(query_y),
    )
    ### END SOLUTION


# %% check="few_shot.sample_episode"
check("few_shot.sample_episode", sample_episode)

# %% [markdown]
# ## 2. Class prototypes
#
# Write `prototypes(support_z, support_y, num_ways)`, the mean feature of each class:
#
# $$c_k=\frac{1}{|S_k|}\sum_{i\,:\,y_i=k} z_i,\qquad k=0,\dots,N-1 .$$
#
# - `support_z`: $(n, d)$ float32; `support_y`: $(n,)$ int64, in any order. Classes may
#   have unequally many samples.
# - Return $(N, d)$ float32; row $k$ is class $k$. Gradients reach `support_z`.
# - A class without a support sample is a `ValueError`.
#
# By hand: $z=(1, 5, 3)$ with $y=(1, 0, 1)$ and one feature: $c=(5, 2)$.


# %% answer="few_shot.prototypes"
def prototypes(support_z, support_y, num_ways):
    ### BEGIN SOLUTION
    rows = []
    for k in range(num_ways):
        members = support_z[support_y == k]
        if len(members) == 0:
            raise ValueError(f"class {k} has no support sample")
        rows.append(members.mean(dim=0))
    return torch.stack(rows)
    ### END SOLUTION


# %% check="few_shot.prototypes"
check("few_shot.prototypes", prototypes)

# %% [markdown]
# ## 3. Logits of a prototypical network
#
# Write `proto_logits(query_z, prototypes)`:
#
# $$\ell_{ik}=-\lVert z_i-c_k\rVert^2 .$$
#
# - `query_z`: $(m, d)$, `prototypes`: $(N, d)$ float32. Return $(m, N)$ float32.
# - Right to four digits also far from the origin, with all features near 3,000, say.
# - Gradients reach both inputs.
#
# By hand: $z=(1, 2)$ and $c=(4, 6)$ give $-(9+16)=-25$.


# %% answer="few_shot.proto_logits"
def proto_logits(query_z, prototypes):
    ### BEGIN SOLUTION
    gaps = query_z[:, None, :] - prototypes[None, :, :]
    return -(gaps**2).sum(dim=2)
    ### END SOLUTION


# %% check="few_shot.proto_logits"
check("few_shot.proto_logits", proto_logits)

# %% [markdown]
# ## 4. Attention of a matching network
#
# Write `matching_attention(query_z, support_z, temperature=1.0)`:
#
# $$a_{ij}=\frac{\exp(\cos(z_i, s_j)/\tau)}{\sum_{l}\exp(\cos(z_i, s_l)/\tau)},
#   \qquad \cos(u, v)=\frac{\langle u, v\rangle}{\lVert u\rVert\,\lVert v\rVert} .$$
#
# - `query_z`: $(m, d)$, `support_z`: $(n, d)$ float32; $\tau$ = `temperature`. Return
#   $(m, n)$ float32. Gradients reach both inputs.
# - It must stay finite for $\tau=0.005$.
# - $\tau\le0$, or a query or support vector of zeros, is a `ValueError`.
#
# By hand: $q=(2, 0)$, $s_1=(1, 0)$, $s_2=(0, 3)$. Cosines $1$ and $0$, so
# $a=(e, 1)/(e+1)=(0.731, 0.269)$.


# %% answer="few_shot.matching_attention"
def matching_attention(query_z, support_z, temperature=1.0):
    ### BEGIN SOLUTION
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    q_length = query_z.norm(dim=1, keepdim=True)
    s_length = support_z.norm(dim=1, keepdim=True)
    if (q_length == 0).any() or (s_length == 0).any():
        raise ValueError("a vector of zeros has no direction")
    cosine = (query_z / q_length) @ (support_z / s_length).T
    return torch.softmax(cosine / temperature, dim=1)
    ### END SOLUTION


# %% check="few_shot.matching_attention"
check("few_shot.matching_attention", matching_attention)

# %% [markdown]
# ## 5. A relation head
#
# Write the class `RelationHead(feature_dim, hidden)`, an `nn.Module`. Called as
# `head(query_z, prototypes)` it gives scores $(m, N)$ float32 in $[0, 1]$:
#
# $$r_{ik}=\sigma\bigl(w_2^{\top}\,\mathrm{ReLU}(W_1\,[c_k, z_i]+b_1)+b_2\bigr),$$
#
# with $[c_k, z_i]$ the $2d$ numbers of both joined (in either order), $W_1$ of
# `hidden` rows, and $\sigma$ the sigmoid. (The study of the lesson compares maps, by
# convolutions; this is the same on vectors.)
#
# - `query_z`: $(m, d)$, `prototypes`: $(N, d)$; $m=1$ and $N=1$ occur.
# - A score depends on its own pair only, and is the same in every call.
# - `parameters()` gives all weights, and training them learns likenesses that are no
#   distance. Gradients also reach both inputs.
#
# By hand: $m=2$, $N=3$, $d=5$: six pairs of ten numbers each. The pair of query 1
# (the second) and class 2 gives the score in row 1, column 2.


# %% answer="few_shot.relation_head"
class RelationHead(nn.Module):
    def __init__(self, feature_dim, hidden):
        ### BEGIN SOLUTION
        super().__init__()
        self.first = nn.Linear(2 * feature_dim, hidden)
        self.last = nn.Linear(hidden, 1)
        ### END SOLUTION

    def forward(self, query_z, prototypes):
        ### BEGIN SOLUTION
        m, n = len(query_z), len(prototypes)
        queries = query_z.repeat_interleave(n, dim=0)
        classes = prototypes.repeat(m, 1)
        pairs = torch.cat([classes, queries], dim=1)
        scores = torch.sigmoid(self.last(torch.relu(self.first(pairs))))
        return scores.reshape(m, n)
        ### END SOLUTION


# %% check="few_shot.relation_head"
check("few_shot.relation_head", RelationHead)

# %% [markdown]
# ## 6. Mean and 95 % interval over episodes
#
# Write `ci95(accuracies)`, the pair of the mean and the **half width**
#
# $$1.96\,\frac{s}{\sqrt n},\qquad
#   s^2=\frac{1}{n-1}\sum_{i=1}^{n}(a_i-\bar a)^2 .$$
#
# - `accuracies`: $(n,)$ float32, the accuracy of each of $n$ episodes. Return numbers
#   or tensors with one element.
# - Fewer than two episodes are a `ValueError`.
#
# By hand: $(0.6, 0.8)$ has mean $0.7$, $s^2=0.01+0.01=0.02$, and half width
# $1.96\cdot\sqrt{0.02}/\sqrt2=0.196$.


# %% answer="few_shot.ci95"
def ci95(accuracies):
    ### BEGIN SOLUTION
    n = len(accuracies)
    if n < 2:
        raise ValueError("an interval needs at least two episodes")
    mean = accuracies.mean()
    variance = ((accuracies - mean) ** 2).sum() / (n - 1)
    return mean, 1.96 * (variance / n) ** 0.5
    ### END SOLUTION


# %% check="few_shot.ci95"
check("few_shot.ci95", ci95)

# %% [markdown]
# ## 7. Bug hunt: a few-shot evaluation
#
# The code below runs without an error. It has **five mistakes**, each of them common.
# Find and mend them.
#
# What it should do: `bug_hunt(embed, x, y, num_ways, num_shots, num_queries, episodes,
# seed)` returns the mean accuracy over episodes and the half width of its 95 %
# interval.

# %% [markdown]
# - `embed` is a trained network: it is used in eval mode, and nothing in it changes
#   (its mode may).
# - An episode: $N$ random classes of `y`, $K$ support and $Q$ other query samples of
#   each. The class of a query is the one with the nearest prototype (mean feature).
# - The interval is about episodes, $1.96\,s/\sqrt{\text{episodes}}$ with divisor
#   `episodes - 1` in $s^2$.
# - The same seed gives the same result, another seed another one.


# %% answer="few_shot.bug_hunt"
### BEGIN STUB
def draw(y, num_ways, num_shots, num_queries, generator):
    classes = y.unique()
    chosen = classes[torch.randperm(len(classes), generator=generator)[:num_ways]]
    support, query = [], []
    for label in chosen:
        members = torch.where(y == label)[0]
        order = torch.randperm(len(members), generator=generator)
        support.append(members[order[:num_shots]])
        order = torch.randperm(len(members), generator=generator)
        query.append(members[order[:num_queries]])
    return torch.stack(support), torch.cat(query)


@torch.no_grad()
def bug_hunt(embed, x, y, num_ways, num_shots, num_queries, episodes, seed):
    generator = torch.Generator().manual_seed(seed)
    results = []
    for _ in range(episodes):
        support, query = draw(y, num_ways, num_shots, num_queries, generator)
        support_z = embed(x[support.flatten()])
        prototypes = support_z.reshape(num_ways, num_shots, -1).mean(dim=1)
        gaps = embed(x[query])[:, None, :] - prototypes[None, :, :]
        predicted = (gaps**2).sum(dim=2).argmax(dim=1)
        results.append((predicted == y[query]).float())
    right = torch.cat(results)
    return right.mean().item(), (1.96 * right.std() / len(right) ** 0.5).item()


### END STUB
### BEGIN SOLUTION
def draw(y, num_ways, num_shots, num_queries, generator):
    classes = y.unique()
    chosen = classes[torch.randperm(len(classes), generator=generator)[:num_ways]]
    support, query = [], []
    for label in chosen:
        members = torch.where(y == label)[0]
        order = torch.randperm(len(members), generator=generator)
        support.append(members[order[:num_shots]])
        query.append(members[order[num_shots : num_shots + num_queries]])
    return torch.stack(support), torch.cat(query)


@torch.no_grad()
def bug_hunt(embed, x, y, num_ways, num_shots, num_queries, episodes, seed):
    generator = torch.Generator().manual_seed(seed)
    embed.eval()
    targets = torch.arange(num_ways).repeat_interleave(num_queries)
    results = []
    for _ in range(episodes):
        support, query = draw(y, num_ways, num_shots, num_queries, generator)
        support_z = embed(x[support.flatten()])
        prototypes = support_z.reshape(num_ways, num_shots, -1).mean(dim=1)
        gaps = embed(x[query])[:, None, :] - prototypes[None, :, :]
        predicted = (gaps**2).sum(dim=2).argmin(dim=1)
        results.append((predicted == targets).float().mean())
    means = torch.stack(results)
    return means.mean().item(), (1.96 * means.std() / len(means) ** 0.5).item()


### END SOLUTION


# %% check="few_shot.bug_hunt"
check("few_shot.bug_hunt", bug_hunt)

# %% [markdown] question="few_shot-why" points=2
# ## 8. A claim to judge (marked by a person)
#
# A report says: "Our relation network reaches $0.914\pm0.004$ in 5-way 1-shot on the
# 20 characters of one alphabet it had never seen (600 episodes), the prototypical
# network $0.906\pm0.004$. Learned similarity is better than a distance." In at most
# 150 words: what does $\pm0.004$ cover and what not, which further runs and which
# baselines would you ask for, and could the claim be true for 20-way tasks and wrong
# for these?
#
# === BEGIN MARK SCHEME ===
# 1 point for the interval: its unit is the episode, given one trained net of each
# kind and these 20 classes. It covers the draw of episodes; not training again
# (seeds), not other alphabets, not the choice of hyper-parameters. Asked for: several
# training seeds, the same episodes for both (paired difference over seeds), more
# alphabets as the unit of generalisation.
# 1 point for the comparison: equal training budget and tuning on a validation
# alphabet; baselines (raw pixels, random network, a plain classifier's features with
# prototypes or a probe). Ways and shots change the ranking: training and test tasks
# may match for one net and not for the other, so a 5-way result does not decide
# 20-way.
# === END MARK SCHEME ===
