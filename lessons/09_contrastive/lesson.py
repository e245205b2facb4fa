# %% [markdown]
# # Contrastive learning
#
# **You will be able to** derive and write NT-Xent and SupCon, pretrain without labels
# and transfer, see and diagnose collapse, and choose temperature, batch and views.
#
# *Needs:* chapters 03 (probes) and 07 (adaptation). *Minutes:* 180. *Timed on two CPU
# cores, no GPU, no network.*
#
# Until now somebody had named the source's pictures. What can we learn when nobody
# has named anything? The idea of this chapter: **two distorted copies of one picture
# should look alike, and unlike everything else.**

# %%
import copy
import math
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import tlcourse
from tlcourse import data, metrics, models, plots
from tlcourse.features import ridge_probe
from tlcourse.losses import alignment, barlow_twins, nt_xent, sup_con
from tlcourse.losses import uniformity, vicreg
from tlcourse.pretraining import Chain, Jitter, Projector, Shortcut, Turn
from tlcourse.pretraining import effective_rank, embed, identity, pretrain
from tlcourse.pretraining import singular_spectrum, two_views
from tlcourse.studies import load_study

plots.use_style()
plt.rcParams["figure.dpi"] = 70  # many pictures: keep the file small
device = tlcourse.device()

# %% [markdown]
# ## 1. Two views
#
# An **augmentation** $t$ changes a picture at random and leaves its meaning. Two
# draws $t,t'$ on one picture $x$ give two **views** $t(x)$ and $t'(x)$: a **positive
# pair**. Views of other pictures are **negatives**. No label is used.
#
# Our pictures are those of chapter 07: digits rendered from fonts (source), real
# handwriting (target), $16\times16$ pixels. Here **both** are without labels while the
# network learns; then 1, 5 or 20 handwritten digits of each class are named. The
# pictures that test are seen by nobody before.

# %%
options = dict(script="digits", face="all", size=16, per_class=66)
source = data.load("glyphs", **options)
pool, test = data.load("digits", size=16).split(0.7, 0.3, seed=0)
x = torch.cat([source.x, pool.x])  # no label goes in
print(f"{len(source)} rendered + {len(pool)} handwritten; {len(test)} to test")

# %%
some = torch.cat([source.x[[1, 6, 9]], pool.x[:3]])
views = two_views(some, Jitter(), torch.Generator().manual_seed(0))
title = "Six pictures, and two views of each below"
plots.image_grid(torch.cat([some, *views]), columns=6, title=title);

# %% [markdown]
# ## 2. From noise to a loss
#
# How do you learn a density without its normaliser? Let $\tilde p_\theta(u)$ be an
# unnormalised model of samples $u\in\mathbb R^d$ and $c$ a parameter for minus the
# logarithm of its integral: $\log p_\theta(u)=\log\tilde p_\theta(u)+c$. **Noise-contrastive
# estimation** (NCE; Gutmann & Hyvärinen, 2010, 2012) draws $\nu$ noise samples from a
# *known* density $q$ for each sample of data, and asks: data or noise? By Bayes
#
# $$P(\text{data}\mid u)=\frac{p(u)}{p(u)+\nu q(u)}=\sigma\big(G(u)\big),\qquad
#   G(u)=\log p(u)-\log q(u)-\log\nu,$$
#
# $\sigma(a)=1/(1+e^{-a})$. So train a **logistic regression** with
# $G_\theta=\log p_\theta-\log q-\log\nu$. If the model can be $p$ and data are plenty,
# the optimum is the true log-ratio, whatever the noise, as long as $q>0$ where $p>0$. The
# normaliser comes out as a learnt number.
#
# By hand: $\nu=1$, $p(u)=3q(u)$ gives $G=\log3$ and $P(\text{data}\mid u)=\frac34$.

# %%
generator = torch.Generator().manual_seed(1)
u = 1 + 0.5 * torch.randn(4000, generator=generator)  # data: N(1, 0.5^2)
v = 2 * torch.randn(40_000, generator=generator)  # noise: N(0, 2^2), nu = 10
noise = torch.distributions.Normal(0.0, 2.0)
theta = torch.tensor([1.0, 0.0, 0.0], requires_grad=True)  # a, b, c


def log_odds(s):
    a, b, c = theta
    return -a * s**2 + b * s + c - noise.log_prob(s) - math.log(10)


def nce():
    solver.zero_grad()
    total = F.softplus(-log_odds(u)).sum() + F.softplus(log_odds(v)).sum()
    (total / len(u)).backward()
    return total / len(u)


search = dict(max_iter=200, line_search_fn="strong_wolfe")
solver = torch.optim.LBFGS([theta], **search)
_ = solver.step(nce)

# %%
# N(1, 0.5^2): log p = -2 s^2 + 4 s - 2 - log(0.5 sqrt(2 pi))
truth = torch.tensor([2, 4, -2 - math.log(0.5 * math.sqrt(2 * math.pi))])
print("learnt a, b, c:", theta.detach().numpy().round(2))
print("true   a, b, c:", truth.numpy().round(2))
assert (theta.detach() - truth).abs().max() < 0.25

# %% [markdown]
# ### InfoNCE: which of the K?
#
# Now the noise is made of other samples. Let $(x,y)\sim p(x,y)$ be a positive pair.
# Give a classifier $x$ and $K$ **candidates** $y_1,\dots,y_K$: one, at a random place
# $S$, is drawn from $p(y\mid x)$, the others from $p(y)$. Which one? By Bayes, with
# all places equally likely,
#
# $$P(S=i\mid x,y_{1:K})=\frac{p(y_i\mid x)\prod_{j\ne i}p(y_j)}
#   {\sum_kp(y_k\mid x)\prod_{j\ne k}p(y_j)}
#  =\frac{r(x,y_i)}{\sum_kr(x,y_k)},\qquad r=\frac{p(y\mid x)}{p(y)} .$$
#
# A score $f(x,y)$ under softmax is optimal if $f=\log r$ plus anything that depends on
# $x$ only. Its cross-entropy is **InfoNCE** (van den Oord et al., 2018):
#
# $$L=-\mathbb E\Big[\log\frac{e^{f(x,y_S)}}{\sum_{k=1}^Ke^{f(x,y_k)}}\Big].$$

# %% [markdown]
# ## 3. NT-Xent
#
# SimCLR (Chen et al., 2020) fills in the score. A batch of $n$ pictures gives $2n$
# views. Backbone $\phi$, **projector** $g$ (a small network), length 1, and a
# **temperature** $\tau>0$:
#
# $$z_a=\frac{g(\phi(v_a))}{\lVert g(\phi(v_a))\rVert}\in\mathbb R^d,\quad
#   s_{ab}=\langle z_a,z_b\rangle\in[-1,1],\quad f=s_{ab}/\tau .$$
#
# Every view $a$ is **anchor** once; its partner $a'$ is the positive. Candidates are
# all views but $a$ itself (which would always win), with $2n-2$ negatives. This is
# *normalised, temperature-scaled cross-entropy* (their eq. 1, averaged):
#
# $$\ell_a=-\log\frac{e^{s_{aa'}/\tau}}{\sum_{b\ne a}e^{s_{ab}/\tau}}
#  ,\qquad L=\frac1{2n}\sum_{a=1}^{2n}\ell_a .$$
#
# Without length 1 a network could grow its vectors, and so choose its own $\tau$.
#
# **By hand.** $n=2$, views $(1,0)$ twice and $(0,1)$ twice, $\tau=1$: each anchor has
# one $s=1$ and two $s=0$, so $\ell_a=-\log\frac{e}{e+2}\approx0.551$. If all views
# coincide, all score the same: $L=\log(2n-1)$, the price of guessing.

# %%
toy = torch.eye(2)
guess = nt_xent(torch.ones(2, 3), torch.ones(2, 3))
assert abs(nt_xent(toy, toy, 1.0) - math.log(1 + 2 / math.e)) < 1e-5
assert abs(guess - math.log(3)) < 1e-5
print(f"by hand {nt_xent(toy, toy, 1.0):.3f}, all equal {guess:.3f} = log 3")

# %% [markdown]
# ## 4. The bound on mutual information
#
# The **mutual information** $I(x;y)=\mathbb E\log\frac{p(x,y)}{p(x)p(y)}$ is what $x$
# says about $y$, in nats. Claim: for *every* score $f$,
#
# $$I(x;y)\ \ge\ \log K-L .$$
#
# **Proof.** $L$ is the cross-entropy of a classifier for $S$, so
# $L\ge H(S\mid x,y_{1:K})$, the entropy that the best one leaves. $S$ is uniform:
# $H(S)=\log K$. Hence $\log K-L\le I(S;x,y_{1:K})$. Without $x$ the candidates do not
# tell the place, $I(S;y_{1:K})=0$, and the chain rule gives
# $I(S;x,y_{1:K})=I(S;x\mid y_{1:K})\le I(S,y_{1:K};x)=I(y_S;x)$, as $x$ depends on the
# rest through $y_S$ alone. $\square$
#
# And $I(S;\cdot)\le H(S)$: **whatever the data, the left side never passes $\log K$.**

# %% [markdown]
# ### The cap, seen
#
# Take $x,y\in\mathbb R^{20}$ standard normal, each pair of coordinates with correlation
# $\rho$. Then $I=-10\log(1-\rho^2)$ is known, and so is the optimal score: dropping
# what depends on $x$ only,
#
# $$\log r(x,y)=\frac{\rho\,\langle x,y\rangle-\frac12\rho^2\lVert y\rVert^2}{1-\rho^2}
#   +\dots$$
#
# No network, no training: this classifier cannot be beaten. Each $x$ of a batch of $K$
# takes the batch's other $y$ as its negatives.

# %%
def bound(information, K, seed, d=20):
    """log K - L with the optimal score, mean over 2048 anchors or more."""
    g = torch.Generator().manual_seed(seed)
    square = 1 - math.exp(-2 * information / d)  # rho^2
    a, e = torch.randn(2, max(1, 2048 // K), K, d, generator=g)
    b = square**0.5 * a + (1 - square) ** 0.5 * e  # (batches, K, d)
    lengths = 0.5 * square * (b**2).sum(-1)
    scores = square**0.5 * a @ b.mT - lengths[:, None, :]
    logits = (scores / (1 - square)).flatten(0, 1)
    places = torch.arange(K).repeat(len(a))
    return math.log(K) - F.cross_entropy(logits, places).item()


true = [0.5, 1, 2, 4, 6, 8, 10]
curves = {
    f"K = {K}": [[bound(i, K, s) for i in true] for s in range(5)]
    for K in (8, 64, 512)
}
assert all(np.max(c) <= math.log(int(n[4:])) for n, c in curves.items())
assert abs(np.mean(curves["K = 512"], 0)[2] - 2) < 0.1  # far below: tight
curves["truth"] = true

# %%
names = dict(xlabel="true information (nats)", ylabel="log K - L (nats)")
title = "Even the best score reports at most log K (dotted)"
ax = plots.learning_curve(true, curves, title=title, **names)
for i, K in enumerate((8, 64, 512)):
    ax.axhline(math.log(K), color=f"C{i}", lw=0.8, ls=":");

# %% [markdown]
# ### What the bound does not say
#
# - **It is no meter.** Above $\log K$ it is blind. *No* lower bound that holds for all
#   distributions, with high confidence, from $N$ samples can exceed $O(\log N)$
#   (McAllester & Stratos, 2020). And NT-Xent's scores live in $[-1/\tau,1/\tau]$: it
#   stays below the cap, too.
# - **It is no goal.** An invertible map keeps all information and gains nothing;
#   tighter bounds can give worse features (Tschannen et al., 2020). Part 9 shows views
#   with a higher bound and worse features.
# - **NT-Xent is not quite covered.** Negatives come two by two, not as independent
#   draws, and the positive is the one candidate whose partner is missing.
#
# Better to read the loss as a rule for which points attract and repel.

# %% [markdown]
# ## 5. SimCLR, for real
#
# `pretrain` repeats: draw a batch, make two views, pass both as *one* batch through
# backbone and projector, take a step on the loss. After 10 epochs we throw the
# projector away and put a ridge probe (chapter 03) on the features $\phi(x)$,
# with few labels.
#
# Two readings per network: the **features** before and the **embedding** after the
# projector. The loss asks the embedding to forget all that differs between views. The
# projector takes that upon itself, and the features may keep more: on ImageNet they
# are better by far (Chen et al., section 4.2). Here?


# %%
def fresh(seed=0):
    torch.manual_seed(seed)
    net = models.small_resnet(10, width=12)
    torch.manual_seed(seed + 1)
    return net.to(device), Projector(net.feature_dim, 96, 32).to(device)


def learn(loss, augment=None, **options):
    net, projector = fresh()
    options = dict(epochs=10, batch_size=64) | options
    return net, projector, pretrain(
        net, projector, x, loss, augment or Jitter(), **options)


def probe(net, shots, projector=None, draws=3):
    """Test accuracy of a ridge probe, mean over draws of the labels."""
    q, right = embed(net, test.x, projector), []
    for draw in range(draws):
        few, _ = pool.few_shot(shots, seed=draw)
        z = embed(net, few.x, projector)
        std, mean = torch.std_mean(z, 0)
        W, b = ridge_probe((z - mean) / (std + 0.01), few.y, 10, penalty=1)
        logits = (q - mean) / (std + 0.01) @ W.T + b
        right.append(metrics.accuracy(logits, test.y))
    return sum(right) / draws


# %%
simclr, projector, history = learn(nt_xent)
blank, _ = fresh()
print(f"loss {history.loss[0]:.2f} -> {history.loss[-1]:.2f};",
      f"guessing costs {math.log(2 * 64 - 1):.2f}")

# %%
for k in (1, 5, 20):
    none, z, after = probe(blank, k), probe(simclr, k), probe(
        simclr, k, projector)
    print(f"{k:2} labels a class, probe on random weights {none:.2f}, on",
          f"features {z:.2f}, on the projector's output {after:.2f}")

# %% [markdown]
# One network is no evidence. The stored study (`study.py` beside this lesson) repeats
# all that follows with five seeds: other source pictures, splits, first weights and
# labels. One of its arms, live, must fall into the range of the stored runs.

# %%
study = load_study("contrastive")
base = dict(question="methods", method="simclr")
blank_arm = dict(question="methods", method="random")


def versus(one, other=base, metric="probe5", against=None):
    pair = (study.values(metric, **one),
            study.values(against or metric, **other))
    return metrics.paired_difference(*pair)


def show(what, gaps):
    print(what, *(f"  {name}: {gap}" for name, gap in gaps.items()), sep="\n")


assert study.holds("probe5", probe(simclr, 5), **base)
gain, kept = versus(base, blank_arm), versus(base, base, "probe20", "after20")
assert gain.low > 0 and kept.low < 0 < kept.high
print("probe, 5 labels: SimCLR minus random weights:", gain)
print("20 labels: features minus projector's output:", kept)

# %%
ax = plots.embedding(
    embed(simclr, test.x), test.y, classes=test.classes,
    title="Handwriting that nobody named falls into digits",
)
ax.figure.set_size_inches(5.5, 3.6);

# %% [markdown]
# Whether the features beat the projector's output remains open here: both serve,
# perhaps as our views ask for just what the task needs.
#
# ## 6. Temperature and batch
#
# Differentiate $\ell_a$. With $p_{ab}=e^{s_{ab}/\tau}/\sum_{c\ne a}e^{s_{ac}/\tau}$,
#
# $$\frac{\partial\ell_a}{\partial s_{aa'}}=-\frac{1-p_{aa'}}\tau,\qquad
#   \frac{\partial\ell_a}{\partial s_{ab}}=\frac{p_{ab}}\tau .$$
#
# Attraction equals the sum of all repulsions. Among the negatives, the share of the
# push that $b$ gets is $p_{ab}/(1-p_{aa'})$, a softmax over negatives alone (Wang &
# Liu, 2021). Two negatives with similarities $s>s'$ share it as $e^{(s-s')/\tau}:1$.
#
# By hand: $s-s'=0.4$. For $\tau=0.1$ the nearer one gets $e^4\approx55$ times the push,
# for $\tau=1$ only $e^{0.4}\approx1.5$ times. **A small $\tau$ hunts hard negatives**,
# those near the anchor, and among them those of the same digit: *false negatives*.

# %%
s = torch.tensor([[0.9, 0.8, 0.5, 0.1, -0.4]], requires_grad=True)
taus = [0.05, 0.1, 0.2, 0.5, 1, 5]  # s: the positive, then four negatives
shares = torch.stack([(s[0, 1:] / t).softmax(0) for t in taus]).detach()
F.cross_entropy(s / 0.2, torch.tensor([0])).backward()
push = s.grad[0, 1:]
assert torch.allclose(push / push.sum(), shares[2])  # the formula
assert torch.allclose(push.sum(), -s.grad[0, 0])  # attraction = repulsion
curves = {f"negative with s = {v:.1f}": share for v, share in
          zip(s[0, 1:].tolist(), shares.T.tolist(), strict=True)}
z = F.normalize(embed(simclr, pool.x, projector), dim=1)
nearest = (z @ z.T).fill_diagonal_(-1).argmax(1)
same = (pool.y[nearest] == pool.y).float().mean()
print(f"the nearest other picture is of the same digit: {same:.2f} of all")
assert same > 0.7

# %%
title = "A small temperature pushes the nearest negative only"
plots.learning_curve(taus, curves, log_x=True, title=title,
                     xlabel="temperature", ylabel="share of the repulsion");

# %% [markdown]
# **Batch size** $n$ sets the number of negatives, $2n-2$. A larger batch estimates the
# sum in the denominator better, and its cap $\log(2n-1)$ is higher: losses of different
# batch sizes cannot be compared. SimCLR gained from thousands of pictures per batch.
# Does our small network? The stored study has five seeds; every arm has the same
# number of epochs, so a small batch takes *more* steps.

# %%
def sweep(question, values, default, metric):
    arms = [base if v == default else dict(question=question, value=v)
            for v in values]
    return np.array([study.values(metric, **a) for a in arms]).T  # (5, m)


sweeps = {"temperature": ([0.05, 0.2, 0.5, 1.0], 0.5),
          "batch": ([16, 64, 256], 64)}
figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
for ax, (name, (values, default)) in zip(axes, sweeps.items(), strict=True):
    curves = {f"{k} label{'s' * (k > 1)} a class":
              sweep(name, values, default, f"probe{k}") for k in (1, 5, 20)}
    label = name if name == "temperature" else "pictures in a batch"
    plots.learning_curve(values, curves, log_x=True, ax=ax, xlabel=label,
                         ylabel="probe accuracy", title="")
axes[0].legend(loc="lower right", fontsize=7)
axes[1].get_legend().set_visible(False)
axes[0].set_ylim(0.45, 1)
title = "Too small a temperature costs; a larger batch gains nothing"
figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
gaps = {f"{q} {v:g}, {k}": versus(dict(question=q, value=v), base, f"probe{k}")
        for q, (values, default) in sweeps.items()
        for v in values if v != default for k in (1, 5)}

# %%
show("minus base (knob, labels a class):", gaps)
lost = ["temperature 0.05, 1", "temperature 0.05, 5", "temperature 0.2, 1",
        "batch 256, 1"]
assert max(gaps[name].high for name in lost) < 0
assert min(gaps[f"batch 16, {k}"].low for k in (1, 5)) > 0

# %% [markdown]
# Temperatures of 0.05 and, with one label, 0.2 cost accuracy. A likely reason: the nearest
# negative is mostly the same digit. A *small* batch gains here. It also takes more steps,
# so this is no verdict on the number of negatives.
#
# ## 7. Alignment and uniformity
#
# What happens on the sphere when the batch grows? With a positive pair $(z,z^+)$ and
# $z,z^-$ from independent pictures (Wang & Isola, 2020, theorem 1),
#
# $$\lim_{n\to\infty}\big(L-\log 2n\big)=
#   -\frac1\tau\mathbb E\langle z,z^+\rangle
#   +\mathbb E_z\log\mathbb E_{z^-}e^{\langle z,z^-\rangle/\tau}.$$
#
# The first term wants **alignment**: views together. The second wants **uniformity**:
# pictures spread out. Measured over pairs of *different* rows (lower is better):
#
# $$\text{alignment}=\mathbb E\lVert z-z^+\rVert^2,\qquad
#   \text{uniformity}=\log\mathbb E\,e^{-2\lVert z-z^-\rVert^2},$$
#
# By hand: two rows, opposite points: $\lVert u-v\rVert^2=4$, uniformity $-8$. All in
# one place: both 0.

# %%
poles = torch.tensor([[1.0, 0], [-1, 0]])
assert math.isclose(uniformity(poles).item(), -8, rel_tol=1e-5)
assert alignment(poles, poles) == 0
assert abs(uniformity(torch.ones(4, 2))) < 1e-6

# %%
PLANE = {"SimCLR": base, "attraction only": dict(question="collapse")}
PLANE |= {name: dict(base, method=name.lower()) for name in
          ("SupCon", "VICReg", "Barlow")}
PLANE |= {f"views: {v}": dict(question="views", value=v)
          for v in ("none", "noise", "crop", "shortcut")}
PLANE |= {f"temperature {t:g}": dict(question="temperature", value=t)
          for t in (0.05, 1.0)}
axes_names = ("alignment", "uniformity", "probe5")
points = {name: [study.values(m, **arm).mean() for m in axes_names]
          for name, arm in PLANE.items()}
for name in ("attraction only", "views: none"):
    assert points[name][2] < points["SimCLR"][2] - 0.1
figure, ax = plt.subplots(figsize=(5.8, 3.6))
for marker, (name, (a, u, c)) in zip("o*sD^vXP<>h", points.items(),
                                     strict=True):
    dot = ax.scatter(a, u, c=c, marker=marker, s=60, vmin=0.5, vmax=0.95,
                     cmap="viridis", edgecolor="black", lw=0.5, label=name)
figure.colorbar(dot, label="probe accuracy, 5 labels a class")
ax.legend(fontsize=7, loc="upper right")
ax.set(xlabel="alignment: mean squared distance of two views",
       ylabel="uniformity (log potential)",
       title="Good arms lie at the lower left: both, not either");

# %% [markdown]
# Views are jittered test pictures for all arms. Without augmentation (`none`) the
# sphere is filled, but jitter throws a picture far from itself. With attraction alone
# nothing is far from anything. The plane does not say *which* pictures come together.
#
# ## 8. Collapse
#
# Attraction alone, $\min\mathbb E\lVert z-z'\rVert^2$, is solved by **one point** for
# all: *complete collapse*. Few directions instead of $d$: *dimensional collapse* (Jing et
# al., 2022). The loss shows neither. The singular values $\sigma_k$ of the embeddings
# $Z$ $(n,d)$ do, and their **effective rank** (Roy & Vetterli, 2007; RankMe, Garrido et
# al., 2023):
#
# $$\operatorname{erank}=\exp\Big(-\sum_kp_k\log p_k\Big),\quad
#   p_k=\sigma_k\Big/\sum_l\sigma_l .$$
#
# By hand: $\sigma=(1,1,0)$ gives $e^{\log2}=2$; $(1,0,0)$ gives 1.

# %%
assert math.isclose(effective_rank(torch.eye(3)[:2]), 2, rel_tol=1e-6)
nets = {"NT-Xent": (simclr, projector, history)}
nets["attraction only"] = learn(alignment, epochs=5)
nets["VICReg"] = learn(vicreg)

# %%
spectra, ranks = {}, {}
for name, (net, project, past) in nets.items():
    z = F.normalize(embed(net, test.x, project), dim=1)
    spectra[name], ranks[name] = singular_spectrum(z), effective_rank(z)
    print(f"{name:16} loss {past.loss[0]:.3f} -> {past.loss[-1]:.3f},",
          f"effective rank {ranks[name]:.1f}, probe {probe(net, 5):.2f}")
assert ranks["attraction only"] < 4 and ranks["NT-Xent"] > 8
left = versus(dict(question="collapse"), blank_arm)
assert left.low < 0 < left.high
print("probe, attraction only minus random weights:", left)

# %%
curves = {n: (s / s[0]).clamp(min=1e-4).tolist() for n, s in spectra.items()}
names = dict(xlabel="index k", ylabel="singular value k / largest")
title = "Attraction alone: one direction is left"
ax = plots.learning_curve(range(1, 33), curves, title=title, **names)
ax.set_yscale("log");

# %% [markdown]
# The collapsed run's loss is near 0, as it was asked. **A falling loss is no
# evidence of learning here.** Watch the effective rank (many tiny $\sigma_k$ keep it above
# 1). The projector has collapsed; the features before it probe like random weights.
#
# ### Three ways out
#
# 1. **Negatives**: NT-Xent. Collapse costs $\log(2n-1)$.
# 2. **Statistics**: *VICReg* (Bardes et al., 2022) adds to the attraction a term that
#    keeps each coordinate's deviation above 1 and one against correlations.
# 3. **Asymmetry**: one side gets no gradient, the other passes a small predictor (BYOL,
#    with a slow copy of the network, Grill et al., 2020; SimSiam, Chen & He, 2021).
#    The loss does not forbid collapse; why it does not happen is still studied.

# %% [markdown]
# ### VICReg and Barlow Twins
#
# $Z,Z'$ $(n,d)$, **not** normalised, column means removed for $C(Z)=
# \frac1{n-1}Z^\top Z$ $(d,d)$. The three terms, weighted 25, 25, 1:
#
# $$\underbrace{\tfrac1{nd}\lVert Z-Z'\rVert_F^2}_{\text{invariance}},\quad
#  \underbrace{\tfrac1d\sum_j\max\big(0,1-\sqrt{C_{jj}+\epsilon}\big)}
#   _{\text{variance}},\quad
#  \underbrace{\tfrac1d\sum_{i\ne j}C_{ij}^2}_{\text{covariance}} ,$$
#
# the last two for $Z$ and $Z'$ (variance averaged, covariance added, as in the authors'
# code; $\epsilon=10^{-4}$). *Barlow Twins* (Zbontar et al., 2021) standardises columns
# and pulls the **cross**-correlation $R=\frac1nZ^\top Z'$ to the identity:
# $\sum_i(1-R_{ii})^2+\lambda\sum_{i\ne j}R_{ij}^2$, here $\lambda=0.005$. Neither is
# tuned below.
#
# By hand, one coordinate: $z=z'=(\frac12,-\frac12)$. Invariance 0,
# covariance 0; $C_{11}=\frac12$, so the loss is $25(1-\sqrt{0.5})\approx7.32$.

# %%
z = torch.tensor([[0.5], [-0.5]])
assert abs(vicreg(z, z) - 25 * (1 - 0.5**0.5)) < 0.01 > barlow_twins(z, z)
vic, twins = (versus(dict(base, method=m)) for m in ("vicreg", "barlow"))
assert vic.low < 0 < vic.high and twins.high < 0
show("minus SimCLR:", {"VICReg": vic, "Barlow Twins": twins})

# %% [markdown]
# ### MoCo: many negatives, small batches
#
# NT-Xent's negatives must fit into one batch. He et al. (2020) keep a **queue** of
# old embeddings instead. Old ones come from older weights; so they are made by a
# second network that moves slowly, with momentum $m$ near 1:
#
# $$\theta_k\leftarrow m\,\theta_k+(1-m)\,\theta_q .$$
#
# Only the query network $\theta_q$ gets gradients. By hand: $m=0.9$, $\theta_k=1$,
# $\theta_q=2$ gives $1.1$.
#
# One trap: BatchNorm mixes the pictures of a batch. Query and key come from the same
# batch, the queue from others: the network could recognise the batch instead of the
# picture. MoCo shuffles the keys' batches for this reason; we accept the leak.

# %%
class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.projector = fresh()

    def forward(self, v):
        return F.normalize(self.projector(self.net.features(v)), dim=1)


def moco_step(query, key, queue, batch, generator, m=0.98, temperature=0.2):
    v1, v2 = (v.to(device) for v in two_views(batch, Jitter(), generator))
    with torch.no_grad():  # keys get no gradient
        for k, q in zip(key.parameters(), query.parameters(), strict=True):
            k.lerp_(q, 1 - m)
        positive = key(v2)  # (b, d)
    z = query(v1)
    own = (z * positive).sum(1, keepdim=True)  # (b, 1)
    logits = torch.cat([own, z @ queue.T], 1) / temperature
    place = torch.zeros(len(z), dtype=torch.long, device=device)
    return F.cross_entropy(logits, place), positive


# %%
query = Encoder()
key = copy.deepcopy(query)
queue = F.normalize(torch.randn(1024, 32), dim=1).to(device)
adam = torch.optim.AdamW(query.parameters(), lr=2e-3)
generator = torch.Generator().manual_seed(0)
for _ in range(6):
    for index in torch.randperm(len(x), generator=generator).split(64):
        loss, fresh_keys = moco_step(query, key, queue, x[index], generator)
        adam.zero_grad()
        loss.backward()
        adam.step()
        queue = torch.cat([fresh_keys, queue])[:1024]  # first in, first out
score = probe(query.net.eval(), 5)
assert score > probe(blank, 5) + 0.05
print(f"MoCo, probe with 5 labels: {score:.2f}")

# %% [markdown]
# ### SupCon: when there are labels
#
# NT-Xent pushes away other pictures of the same digit. Where labels $y_a$ exist, all
# of a class may be positives. With $P(a)=\{b\ne a:y_b=y_a\}$ (Khosla et al., 2020,
# eq. 2, $L_{\text{out}}$: the sum over positives **outside** the logarithm):
#
# $$\ell_a=\frac{-1}{|P(a)|}\sum_{p\in P(a)}
#   \log\frac{e^{s_{ap}/\tau}}{\sum_{b\ne a}e^{s_{ab}/\tau}} .$$
#
# If every picture is a class of its own, $P(a)=\{a'\}$ and SupCon **is** NT-Xent at
# the same $\tau$. That gives us a way to use all we have: source digits by their class,
# each target picture as its own class. Do the source's labels help the target? Careful:
# the study ran SupCon at its usual $\tau=0.1$ and SimCLR at $0.5$, so two things
# differ. Live we try both.

# %%
z1, z2 = torch.randn(2, 16, 8)
own = torch.arange(16).repeat(2)
both = torch.cat([z1, z2])
assert torch.allclose(sup_con(both, own, 0.5), nt_xent(z1, z2, 0.5))


def two_view_sup_con(z1, z2, y, temperature=0.1):
    return sup_con(torch.cat([z1, z2]), torch.cat([y, y]), temperature)


labels = torch.cat([source.y, 10 + torch.arange(len(pool))])
supcon, _, _ = learn(two_view_sup_con, labels=labels)
equal = partial(two_view_sup_con, temperature=0.5)
score = {0.1: probe(supcon, 5), 0.5: probe(learn(equal, labels=labels)[0], 5)}
for tau, right in score.items():
    print(f"temperature {tau}, live, minus SimCLR:",
          f"{right - probe(simclr, 5):+.2f}")
behind = versus(dict(base, method="supcon"))
print("temperature 0.1, five seeds, minus SimCLR:", behind)
assert behind.high < 0.02 and score[0.5] > probe(simclr, 5) - 0.03

# %% [markdown]
# ## 9. Views decide what is learnt
#
# The network learns to ignore what differs between views, and may use all that they
# share. Two ways to go wrong:
#
# - **Too strong**: the view destroys the class. A half turn makes a 6 a 9.
# - **A shortcut**: both views share a mark that has nothing to do with the content: a
#   scanner's stamp, a colour histogram (why SimCLR distorts colour). `Shortcut` writes
#   16 blocks into the top rows, a code of the *original* picture. Finding the partner
#   is then reading a bar code.
#
# **Predict first**, by probes with 5 labels: nothing, noise, crop, weak jitter, jitter,
# crop + jitter, turn + jitter, shortcut + jitter. Which is best? Which falls **below
# random weights**?

# %%
my_guess = {"best": "crop + jitter", "below random": ["none"]}
marked = two_views(some, Shortcut(Jitter(), bits=16), torch.Generator())
turned = Turn()(some, torch.Generator().manual_seed(2))
title = "Two views that share a code; quarter turns"
plots.image_grid(torch.cat([*marked, turned]), columns=6, title=title);

# %% fold=true
VIEWS = ["none", "noise", "crop", "jitter 0.3", "jitter", "crop + jitter",
         "turn + jitter", "shortcut"]
arms = {v: base if v == "jitter" else dict(question="views", value=v)
        for v in VIEWS}
arms["random weights"] = blank_arm
figure, ax = plt.subplots(figsize=(6, 3.2))
for row, (name, arm) in enumerate(arms.items()):
    mean, low, high = study.interval("probe5", **arm)
    ax.plot([low, high], [row, row], color="C0", ls="-", lw=2)
    ax.plot(mean, row, marker="D" if name == "random weights" else "o",
            color="C1" if name == "random weights" else "C0")
ax.set_yticks(range(len(arms)), arms)
ax.invert_yaxis()
ax.set(xlabel="probe accuracy, 5 labels a class (5 seeds, 95 % interval)",
       title="A shared code is worse than no training at all")
print("you guessed:", my_guess)
below = {v: versus(arms[v], blank_arm) for v in ("shortcut", "none")}
tied = {v: versus(arms[v]) for v in ("crop + jitter", "jitter 0.3")}
turning = {f"recall of {m}": versus(arms["turn + jitter"], base, m)
           for m in ("six_nine", "others")}
assert all(gap.low < 0 < gap.high for gap in tied.values())  # open
wider = {v: versus(arms[v], base, "rank_after") for v in below}
CODES = {"shared": Shortcut(Jitter(), bits=16),
         "not shared": Chain(Jitter(), Shortcut(identity, bits=16))}

# %%
for what, some_gaps in {"minus random weights:": below, "turning:": turning,
        "minus jitter:": tied, "effective rank, minus jitter:": wider}.items():
    show(what, some_gaps)
assert max(g.high for g in (*below.values(), *turning.values())) < 0
assert min(gap.low for gap in wider.values()) > 0

# %% [markdown]
# All these differences are made by the views: loss, network, steps are the same. Which
# of the three arms with upright jitter is best stays open. Equal views (`none`) fall below
# random weights, too: the network learns to tell pictures apart by anything at all.
# Turning by quarters costs all digits, not only 6 and 9: a network that must not know
# where up is loses more than one class. **The effective rank does not warn**: it is
# higher in both failures than with jitter. It finds collapse, nothing else.
#
# And the bound of part 4? Live, with a control: codes that the views do **not** share.

# %%
runs = [nets["NT-Xent"], *(learn(nt_xent, views) for views in CODES.values())]
bounds = [round(math.log(127) - h.loss[-1], 2) for _, _, h in runs]
scores = [round(probe(net, 5), 2) for net, _, _ in runs]
show("jitter, shared, not shared:", {"bound": bounds, "probe": scores})
assert bounds[1] > bounds[0] + 0.1 and scores[1] < min(scores[::2]) - 0.2

# %% [markdown]
# **More "information", worse features.** A shared code carries bits about which picture
# it is, none about the digit. The loss cannot know. Unshared, blocks do far less harm.
#
# ## 10. What it is worth
#
# Baselines that an honest report needs, with the *same* labels, splits and test
# pictures:
#
# - **raw pixels**, nearest neighbour by cosine (better than a probe on pixels);
# - **random weights**, same architecture, probe;
# - **supervised**, from scratch on the few labels, with the **same augmentation**; step
#   size and number of steps were chosen in its favour;
# - **source labels**: trained on rendered digits with their classes, then transferred.
#
# Pretrained networks are probed, and fine-tuned from the probe's head with small steps
# (LP-FT, chapter 04).

# %%
SHOTS = (1, 5, 20)
named = {m: dict(question="methods", method=m)
         for m in ("simclr", "supcon", "source_labels", "random")}
rows = {
    "SimCLR, probe": ("probe", "simclr"),
    "SimCLR, fine-tuned": ("tune", "simclr"),
    "source labels, fine-tuned": ("tune", "source_labels"),
    "supervised, from scratch": ("tune", "random"),
    "pixels, nearest": ("pixels", "random"),
    "random weights, probe": ("probe", "random"),
}
figure, ax = plt.subplots(figsize=(5.8, 3.6))
for i, (name, (m, arm)) in enumerate(rows.items()):
    means = [study.interval(f"{m}{k}", **named[arm]) for k in SHOTS]
    value, low, _ = np.array(means).T
    ax.errorbar(np.array(SHOTS) * 1.07 ** (i - 2.5), value, value - low,
                marker="osD^vP"[i], capsize=2, ls=["-", "--", ":"][i % 3],
                label=name)
ax.set(xscale="log", xlabel="labels per class (side by side: 1, 5, 20)",
       ylabel="test accuracy (5 seeds, 95 % interval)",
       title="Pretraining pays at one label per class, hardly at twenty")
ax.set_xticks(SHOTS, SHOTS)
ax.legend(fontsize=7);

# %%
pixels, tuned = ({k: versus(base, blank_arm, f"{a}{k}", f"{b}{k}")
                  for k in SHOTS} for a, b in
                 (("probe", "pixels"), ("tune", "tune")))
sources = {k: versus(base, named["source_labels"], f"tune{k}")
                    for k in SHOTS}
for k in SHOTS:
    print(f"{k:2} labels: SimCLR probed minus pixels      {pixels[k]}")
    print(f"   fine-tuned minus supervised from scratch {tuned[k]}")
    print(f"   fine-tuned minus source labels           {sources[k]}")
parts = {p: dict(question="data", pictures=p) for p in ("target", "source")}
lead = versus(parts["target"], blank_arm, "probe20", "pixels20")
print("20 labels: pretrained on the target alone, minus pixels", lead)
assert all(versus(*parts.values(), f"probe{k}").low > 0 for k in SHOTS)
on_pixels = probe(nn.Flatten().to(device), 5)
print(f"a ridge probe on pixels, live, 5 labels: {on_pixels:.2f}")
assert on_pixels < study.values("pixels5", **blank_arm).min() - 0.05
assert lead.low > 0
assert pixels[1].low > 0 and pixels[20].low < 0 < pixels[20].high
assert tuned[1].low > 0 and tuned[20].low < 0 < tuned[20].high
assert all(gap.low < 0 < gap.high for gap in sources.values())

# %% [markdown]
# With one label per class pretraining is worth most: more than pixels, more than
# supervision. **The honest negative result:** with five labels less is left of that
# gain, with twenty none shows: not over supervision from scratch *with the same
# augmentation*, not of the probe over the nearest picture by pixels. The views carry
# knowledge (jitter does not change a digit) that supervision can use as well. And
# nowhere did SimCLR show a gain over the labels of rendered digits, which cost nothing.
#
# ### Source and target together, or the target alone?
#
# Same number of steps each.

# %%
gaps = {f"{p}, {k}": versus(base, arm, f"probe{k}")
        for p, arm in parts.items() for k in SHOTS}
show("both minus (one domain alone, labels a class):", gaps)
assert all(gaps[f"target, {k}"].high < 0 for k in SHOTS)
assert gaps["source, 5"].low > 0 and gaps["source, 20"].low > 0

# %% [markdown]
# Joint pretraining **loses** against the target alone here: with the same steps, every
# rendered digit takes the place of a handwritten one, and the target has pictures
# enough. With few target pictures that may turn; we have not tried. Pretrained on the
# target alone, the probe keeps a small lead over pixels even with twenty labels. Source
# pictures alone are worst with five labels and with twenty, and behind the target with
# one. Whether SupCon's use of the source's labels helps (part 8) stays open: one run at
# SimCLR's temperature is no evidence.
#
# ## 11. Design choices
#
# Every knob against the same reference: SimCLR on both domains, jitter, $\tau=0.5$,
# batches of 64, projector 48–96–32; paired over five seeds.

# %%
KNOBS = {
    "temperature 0.05": dict(question="temperature", value=0.05),
    "temperature 1": dict(question="temperature", value=1.0),
    "batch 16": dict(question="batch", value=16),
    "batch 256": dict(question="batch", value=256),
    "no projector": dict(question="projector"),
    "views: none": arms["none"], "views: noise": arms["noise"],
    "views: crop": arms["crop"],
    "views: crop + jitter": arms["crop + jitter"],
    "views: jitter 0.3": arms["jitter 0.3"],
    "views: turn + jitter": arms["turn + jitter"],
    "views: shortcut": arms["shortcut"],
    "target pictures only": dict(question="data", pictures="target"),
    "source pictures only": dict(question="data", pictures="source"),
    "SupCon, temperature 0.1": named["supcon"],
    "VICReg": dict(base, method="vicreg"),
    "Barlow Twins": dict(base, method="barlow"),
    "random weights": blank_arm,
}
effects = {name: versus(arm) for name, arm in KNOBS.items()}
plots.effect_table(effects, title="Of all knobs the views weigh most",
                   xlabel="change of probe accuracy, 5 labels a class");

# %% [markdown]
# ### Choosing
#
# 1. **Views first.** List what the task may ignore; look at pairs; search for shared marks.
# 2. Pretrain on the **target's** own pictures; add others if these are few.
# 3. Try temperatures from 0.2 to 1, and the batch that fits. No room: MoCo, VICReg.
# 4. Watch the effective rank for collapse, a probe for all else, never the loss alone.
# 5. Read before *and* after the projector; here no difference showed.
# 6. Few labels: probe. More: try fine-tuning from the probe as well. Run the supervised
#    control.

# %% [markdown]
# ## Recap
#
# - NCE turns density estimation into telling data from noise; InfoNCE asks *which of
#   K*, and its best score is a log density ratio.
# - NT-Xent is InfoNCE on the sphere: $2n$ anchors, one positive, $2n-2$ negatives.
# - $\log K-L$ bounds the mutual information from below and never passes $\log K$. A
#   higher bound is not a better feature.
# - The temperature decides how much the nearest negatives count.
# - Attraction without a counter-force collapses, and the loss does not say so. Watch
#   the effective rank.
# - Views decide the invariances: too strong kills classes, a shared cue crowds out the
#   content.
# - Compare with pixels, random weights, and supervision with the same augmentation.

# %% quiz=true

# %% [markdown]
# ## Sources
#
# - NCE: Gutmann & Hyvärinen, AISTATS 2010; with several noise samples, JMLR 2012.
#   InfoNCE: van den Oord, Li & Vinyals, arXiv:1807.03748, 2018.
# - Limits: McAllester & Stratos, AISTATS 2020. Tschannen et al., ICLR 2020.
# - SimCLR: Chen et al., ICML 2020. SupCon: Khosla et al., NeurIPS 2020. MoCo: He et
#   al., CVPR 2020.
# - Temperature: F. Wang & Liu, CVPR 2021. Sphere: T. Wang & Isola, ICML 2020.
# - VICReg: Bardes, Ponce & LeCun, ICLR 2022. Barlow Twins: Zbontar et al., ICML 2021.
#   BYOL: Grill et al., NeurIPS 2020. SimSiam: Chen & He, CVPR 2021.
# - Effective rank: Roy & Vetterli, EUSIPCO 2007. RankMe: Garrido et al., ICML 2023.
#   Dimensional collapse: Jing et al., ICLR 2022.
#
# Next: the exercises of this chapter, then chapter 10.
