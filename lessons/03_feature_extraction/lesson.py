# %% [markdown]
# # Feature extraction
#
# **You will be able to** freeze a network so that it stays frozen, read features
# from any layer, fit a head in closed form, and compare representations.
#
# *Needs:* chapter 02 (losses, the training loop). *Minutes:* 150. *Timed on two CPU
# cores, no GPU, no network.*
#
# The idea of this chapter fits into one line: **use a trained network as a measuring
# instrument**, and learn only what its readings mean.

# %%
import copy
import dataclasses
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import tlcourse
from tlcourse import data, metrics, models, plots, training
from tlcourse.features import extract_features, freeze, knn_predict
from tlcourse.features import linear_cka, nearest, ridge_probe
from tlcourse.studies import load_study

plots.use_style()
plt.rcParams["figure.dpi"] = 80  # many pictures: keep the file small
tlcourse.seed_everything(0)
SEEDS = range(5)

# %% [markdown]
# ## 1. The problem
#
# Cut a trained network in two: a **backbone** (also: body, encoder)
# $\phi:\mathcal X\to\mathbb R^d$ that turns a picture $x$ into $d$ numbers, its
# **features** $z=\phi(x)$; and a **head** $g_\theta:\mathbb R^d\to\mathbb R^C$ that
# turns features into logits for $C$ classes.
#
# Feature extraction keeps $\phi$ **fixed** and learns the head on the target:
#
# $$\min_{\theta}\ \mathbb E_{(x,y)\sim P_t}
#   \big[\ell\big(g_\theta(\phi(x)),\,y\big)\big].$$
#
# $P_t$ is the target's distribution, $\ell$ the loss, $\theta$ the head's parameters.
# Pan & Yang (2010, section 3.2) call it *feature-representation transfer*. Fine-tuning
# (chapter 04) would also minimise over $\phi$.

# %% [markdown]
# ### What we gain and what we pay
#
# A linear head has only $C(d+1)$ numbers to learn, so a few labels suffice. The
# problem is convex: no local minimum to get stuck in. And the expensive part, $\phi$,
# runs **once** per picture. The price: what $\phi$ has thrown away, no head brings
# back. If $\phi(x)=\phi(x')$, both get the same logits, whatever $\theta$.
#
# Our backbone is `glyphnet`, the course's small ResNet. It has learnt 94 characters:
# digits, Latin and Cyrillic letters. Our first target is **Georgian**: 33 letters of
# a script it has never seen.

# %%
net = models.load("glyphnet")
georgian = data.load("glyphs", script="georgian", face="all", per_class=30)
print(georgian, f"features d = {net.feature_dim}", sep="\n")
title = "The target: 11 of 33 Georgian letters, distorted at random"
plots.image_grid(georgian.x[:11], columns=11, title=title);

# %% [markdown]
# ## 2. Backbone, hook, pooling
#
# A network computes layer after layer, and each gives a representation $\phi_\ell(x)$:
# we may cut anywhere. PyTorch hands us any of them by a **forward hook**, a function
# that is called with a layer's output whenever the layer runs:
#
# `handle = layer.register_forward_hook(f)` and, when done, `handle.remove()`.
#
# `models.record` does both, so that no hook is forgotten.

# %%
LAYERS = ("stem", "stage1", "stage2", "stage3")

with torch.no_grad(), models.record(net, LAYERS) as outputs:
    net(georgian.x[:2])
for name, z in outputs.items():
    print(f"{name:7}", tuple(z.shape))

# %% [markdown]
# ### From a map to a vector
#
# Each output is a stack of maps $(b, c, h, w)$: going up, fewer places, more
# channels. A head wants a vector. **Global average pooling** takes the mean of each
# channel over all places,
#
# $$z_k=\frac1{hw}\sum_{i=1}^{h}\sum_{j=1}^{w}a_{kij},\qquad k=1,\dots,c .$$
#
# By hand: the map $\begin{pmatrix}0&2\\4&6\end{pmatrix}$ becomes the number $3$. It
# answers *how much* of channel $k$ there is and forgets *where*. A grid of $G\times G$
# means keeps a rough *where* and costs $G^2$ times as many numbers.

# %%
toy = torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]])  # (1, 1, 2, 2)
assert toy.mean((2, 3)).item() == 3
z = extract_features(net, georgian.x, "stage3")  # (n, 96)
z_grid = extract_features(net, georgian.x, "stage3", grid=4)
print("features:", tuple(z.shape), "with a 4 x 4 grid:", tuple(z_grid.shape))

# %% [markdown]
# `extract_features` is one of this chapter's exercises. It has to get four things
# right, and each is often got wrong:
#
# 1. **eval mode**, so that a picture's features do not depend on its batch;
# 2. **no graph**: otherwise memory grows with every batch;
# 3. **batches**, the last and smaller one included;
# 4. **no trace**: hook removed, every module's mode given back, even after an error.

# %% [markdown]
# ## 3. Frozen means two things
#
# What can change in a layer during training?
#
# 1. What the **optimiser** moves: parameters. `requires_grad = False` stops it.
# 2. What the **forward pass** moves: BatchNorm's running mean and variance, which are
#    buffers; no gradient is involved.
#
# In train mode a BatchNorm channel (Ioffe & Szegedy, 2015) normalises by the mean
# $m_t$ of the batch at hand, and updates, with momentum $\alpha=0.1$,
#
# $$\mu_{t+1}=(1-\alpha)\,\mu_t+\alpha\,m_t .$$
#
# Let every batch of the target have the mean $m$ (in truth it scatters around it).
# Subtract $m$ on both sides: $\mu_{t+1}-m=(1-\alpha)(\mu_t-m)$, so that
#
# $$\mu_t-m=(1-\alpha)^t(\mu_0-m).$$
#
# After $t=20$ batches $0.9^{20}\approx0.12$ is left of the distance: what a whole
# pretraining has counted is almost gone after twenty steps. By hand: $\mu_0=2$,
# $m=7$ gives $\mu_1=0.9\cdot2+0.1\cdot7=2.5$.

# %%
norm = nn.BatchNorm1d(1).requires_grad_(False)  # "frozen", but in train mode
norm.running_mean[:] = 2.0
for _ in range(20):
    norm(torch.full((4, 1), 7.0))
left = (7 - norm.running_mean.item()) / 5
assert abs(left - 0.9**20) < 1e-4
print(f"after 20 batches {left:.2f} of the distance is left")

# %% [markdown]
# ### The next `.train()` undoes `.eval()`
#
# So we call `backbone.eval()`. But every training loop begins its epoch with
# `model.train()`, which puts all parts back into train mode. A freeze that lasts must
# change what `train()` does to the frozen parts. That is what
# `freeze(model, except_for=["head"])` does, and you will write it.
#
# The experiment: train a new head on photographed **textures** (brick, grass, gravel)
# and watch how the backbone serves its **old** task, Latin letters. The body has no
# gradient in either case. Nothing in the new loss shows the damage: it appears when
# the backbone is used for something else.

# %%
textures = data.load("textures", per_class=64)
latin = data.load("glyphs", script="latin", face="all", per_class=6, seed=9)
head = copy.deepcopy(net.head)  # the source's own 94-way head
known = models.glyphnet_classes()
old = torch.tensor([known.index(f"latin lower {c}") for c in latin.classes])


def source_accuracy(model):
    logits = head(extract_features(model, latin.x, "stage3"))
    return metrics.accuracy(logits, old[latin.y])


def drift(lasting, seed, epochs=6):
    tlcourse.seed_everything(seed)
    model = models.load("glyphnet", num_classes=3)
    model.requires_grad_(False).head.requires_grad_(True)
    model.eval()  # will not last: fit calls model.train()
    if lasting:
        freeze(model, except_for=["head"])
    curve = [source_accuracy(model)]
    for epoch in range(epochs):
        options = dict(batch_size=16, seed=10 * seed + epoch, progress=False)
        training.fit(model, textures, epochs=1, **options)
        curve.append(source_accuracy(model))
    return curve


# %%
curves = {
    "requires_grad=False, eval() once": [drift(False, s) for s in SEEDS],
    "freeze(): eval mode that lasts": [drift(True, s) for s in SEEDS],
}
plots.learning_curve(
    range(7),
    curves,
    title="A body without gradients still forgets its source",
    xlabel="epochs of training a head on textures (12 batches each)",
    ylabel="accuracy on Latin, old head",
).set_ylim(0, 1);

# %%
thawed, frozen = curves.values()
lost = metrics.mean_interval([run[0] - run[-1] for run in thawed])
assert all(len(set(run)) == 1 for run in frozen)  # not one number moved
assert lost.low > 0.1
print(f"Latin accuracy lost without a lasting eval mode: {lost} (5 seeds)")

# %% [markdown]
# ## 4. Extract once, train many times
#
# With $n$ pictures, $E$ epochs, cost $c_\phi$ of the backbone and $c_g\ll c_\phi$ of
# the head, per picture:
#
# $$\underbrace{E\,n\,(c_\phi+c_g)}_{\text{through the network}}\quad\text{against}
#   \quad\underbrace{n\,c_\phi+E\,n\,c_g}_{\text{cached}} ,$$
#
# a ratio of almost $E$ as long as $E\,c_g\ll c_\phi$. And since a frozen backbone gives
# a picture the same features in every epoch, both ways are the **same computation**:
# same order of batches, same weights at the end. Three rules for a cache:
#
# - **No random augmentation.** One random view would be frozen for ever. To augment,
#   cache several views of each picture.
# - **Keep the order.** Row $i$ of the features belongs to label $i$. Shuffle later,
#   both together.
# - **Fit on training rows only**: also the mean and deviation that scale features.

# %%
support, rest = georgian.few_shot(20, seed=0)
whole = freeze(models.load("glyphnet", num_classes=33), except_for=["head"])
cached = copy.deepcopy(whole.head)
settings = dict(epochs=10, lr=1e-2, seed=0, progress=False)

start = time.perf_counter()
training.fit(whole, support, **settings)
through = time.perf_counter() - start

start = time.perf_counter()
z_support = extract_features(whole, support.x, "stage3")
training.fit(cached, (z_support, support.y), **settings)
once = time.perf_counter() - start

# %%
gap = (whole.head.weight - cached.weight).abs().max().item()
assert gap < 1e-4 and through / once > 2
print(f"10 epochs: {through / once:.1f} times as fast with cached features")
print(f"largest difference between the weights of the two heads: {gap:.1g}")

# %% [markdown]
# ## 5. Heads
#
# On fixed features even classical heads are back. Four of them, from no training at
# all to a little:
#
# | head | rule | what is fitted |
# |---|---|---|
# | nearest neighbour | class of the most similar sample | nothing |
# | prototypes | class of the nearest class mean | $C$ means |
# | ridge | squared error to one-hot targets | closed form |
# | softmax | cross-entropy (chapter 02) | gradient steps |
#
# ### Ridge: the problem
#
# Let $z_i\in\mathbb R^d$ be the features of sample $i\in\{1,\dots,n\}$ and
# $t_i\in\{0,1\}^C$ its one-hot target. With weight $W$ $(C, d)$, bias $b$ $(C)$ and
# penalty $\lambda>0$ (Hoerl & Kennard, 1970):
#
# $$\min_{W,b}\ \sum_{i=1}^n\lVert Wz_i+b-t_i\rVert^2+\lambda\lVert W\rVert_F^2 .$$
#
# Note what is missing: the bias is not penalised. Otherwise adding a constant to
# all features would change the predictions, although it changes no information.

# %% [markdown]
# ### Ridge: the solution
#
# **Bias.** The gradient in $b$ is $2\sum_i(Wz_i+b-t_i)$. It vanishes for
# $b=\bar t-W\bar z$, with means $\bar t=\frac1n\sum_i t_i$, $\bar z=\frac1n\sum_iz_i$.
#
# **Weight.** Put that in. Only centred data are left, rows $z_i-\bar z$ in $Z$
# $(n, d)$ and $t_i-\bar t$ in $T$ $(n, C)$:
# $\min_W\lVert ZW^\top-T\rVert_F^2+\lambda\lVert W\rVert_F^2$. Its gradient
# $2Z^\top(ZW^\top-T)+2\lambda W^\top$ vanishes for
#
# $$W^\top=(Z^\top Z+\lambda I_d)^{-1}Z^\top T .$$
#
# The matrix is positive definite, so the minimum is unique, however few samples
# there are.
#
# **By hand.** $d=1$, $z=(0,2,4)$, classes $(0,0,1)$, $\lambda=2$. For class 1: centred
# $z=(-2,0,2)$, $t=(-\frac13,-\frac13,\frac23)$; so
# $w=\frac{2/3+4/3}{8+2}=\frac15$ and $b=\frac13-\frac15\cdot2=-\frac1{15}$.
#
# **Few samples.** For $n<d$ solve the smaller system: since
# $(Z^\top Z+\lambda I_d)Z^\top=Z^\top(ZZ^\top+\lambda I_n)$, multiplying by both
# inverses gives
#
# $$W^\top=Z^\top(ZZ^\top+\lambda I_n)^{-1}T ,$$
#
# an $n\times n$ system instead of $d\times d$.

# %%
toy_z, toy_y = torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([0, 0, 1])
weight, bias = ridge_probe(toy_z, toy_y, 2, penalty=2)
assert torch.allclose(weight[1], torch.tensor(1 / 5))
assert torch.allclose(bias[1], torch.tensor(-1 / 15))
print(f"class 1: w = {weight[1].item():.4f}, b = {bias[1].item():.4f}")

# %% [markdown]
# ### Neighbours and prototypes
#
# Compare by the **cosine** $\cos(u,v)=\frac{\langle u,v\rangle}{\lVert u\rVert
# \lVert v\rVert}$, so that the mere length of a feature vector does not count.
#
# The **prototype** of class $k$ is the mean $p_k$ of its samples. Nearest prototype is
# a linear head in disguise: in
# $-\lVert z-p_k\rVert^2=2\langle p_k,z\rangle-\lVert p_k\rVert^2-\lVert z\rVert^2$
# the last term is the same for all classes, so $w_k=2p_k$ and
# $b_k=-\lVert p_k\rVert^2$. For vectors of length 1 the smallest distance is the
# largest cosine, which is what the code takes. Chapter 10 builds on it.
#
# All four heads read the same cached features, in five draws of the labelled samples.


# %%
def scaled(train, test):
    std, mean = torch.std_mean(train.x, 0)
    return [(part.x - mean) / (std + 1e-6) for part in (train, test)]


def ridge(train, test, penalty=10.0):
    z, q = scaled(train, test)
    weight, bias = ridge_probe(z, train.y, len(train.classes), penalty)
    return (q @ weight.T + bias).argmax(1)


def prototype(train, test):
    unit = F.normalize(train.x, dim=1)
    means = torch.stack([unit[train.y == c].mean(0) for c in train.y.unique()])
    return (F.normalize(test.x, dim=1) @ F.normalize(means, dim=1).T).argmax(1)


def softmax(train, test):
    z, q = scaled(train, test)
    layer = nn.Linear(z.shape[1], len(train.classes))
    options = dict(epochs=60, lr=1e-2, weight_decay=1e-2, progress=False)
    training.fit(layer, (z, train.y), **options)
    return layer(q).argmax(1)


# %%
bank = dataclasses.replace(georgian, x=z)  # the data set, as features


def neighbour(train, test):
    return knn_predict(train.x, train.y, test.x, k=1)


def score(head, shots, seed, features=bank, **options):
    train, test = features.few_shot(shots, seed=seed)
    return (head(train, test, **options) == test.y).float().mean().item()


# %%
shots = [1, 2, 5, 10, 20]
curves = {
    head.__name__: [[score(head, k, s) for k in shots] for s in SEEDS]
    for head in (neighbour, prototype, ridge, softmax)
}

# %%
plots.learning_curve(
    shots, curves, log_x=True, xlabel="labels per letter (33 letters)",
    ylabel="accuracy on the other samples",
    title="Few labels: means and neighbours. Many: fitted heads",
);

# %%
for place in (0, -1):
    runs = [[run[place] for run in curves[h]] for h in ("prototype", "ridge")]
    gap = metrics.paired_difference(*runs)
    assert gap.low > 0 if place == 0 else gap.high < 0
    print(f"prototype minus ridge, labels per letter {shots[place]}: {gap}")

# %% [markdown]
# With one label per class, ridge has to estimate 96 directions from 33 points;
# the prototype estimates nothing but the point itself. With many labels the mean is
# too simple: it ignores that features are correlated, which ridge takes into account
# by $(Z^\top Z+\lambda I)^{-1}$.
#
# The penalty is chosen **on training data** (cross-validation, leave-one-out), never
# on the test set. What a wrong one costs is in the final table.

# %% [markdown]
# ## 6. How transferable is a layer?
#
# Early layers respond to edges and blobs, useful for any picture: **general**. Late
# ones answer the source's own question: **specific** (Yosinski et al., 2014). A
# **linear probe** (Alain & Bengio, 2016) makes that measurable: fit the same simple
# head on each layer; its accuracy says *how linearly the answer stands there*.
#
# Four targets, from near to far: Latin, Georgian, real **handwritten** digits,
# photographed **textures**. Two controls: raw pixels, and the same network with
# **random weights**.
#
# **Predict first.** Four layers can be read: stem, stage1, stage2, stage3. Which is
# best for Georgian, which for telling brick, grass and gravel apart? Write it down,
# run, and unfold the output.

# %%
my_guess = {"georgian": "stage3", "textures": "stage3"}

# %% fold=true
study = load_study("feature_extraction")
targets = ("latin", "georgian", "handwriting", "textures")
figure, axes = plt.subplots(1, 4, figsize=(9.5, 2.9), sharey=True)
for ax, target in zip(axes, targets, strict=True):
    arm = dict(question="layers", target=target)
    curves = {
        f"{network} weights": np.array(
            [study.values(name, **arm, network=network) for name in LAYERS]
        ).T
        for network in ("glyphnet", "random")
    }
    plots.learning_curve(
        range(4), curves, title=target, xlabel="layer read",
        ylabel="probe accuracy" if ax is axes[0] else "", ax=ax,
    )
    pixels = study.values("pixels", **arm, network="glyphnet").mean()
    ax.axhline(pixels, color="C2", ls=":", label="raw pixels")
    ax.set_xticks(range(4), LAYERS, rotation=30)
    ax.get_legend().set_visible(False)
axes[2].legend(loc="lower right")
axes[0].set_ylim(0, 1)
title = "The farther the target, the less the last stage adds"
figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold");

# %%
def best_layer(target, seed):
    arm = dict(question="layers", target=target, network="glyphnet")
    return max(LAYERS, key=lambda name: study.values(name, **arm)[seed])


for name in targets:
    print(f"{name:12} best in 5 runs:", *[best_layer(name, s) for s in SEEDS])
print("you guessed:", my_guess)

# %%
arm = dict(question="layers", network="glyphnet")
gains = np.array([study.values("stage3", **arm, target=t)
                  - study.values("stage2", **arm, target=t) for t in targets])
assert (np.diff(gains, axis=0) < 0).all()  # (3, 5): in every run
print("stage3 minus stage2, in the order above:", gains.mean(1).round(3))

# %% [markdown]
# What the last stage adds shrinks from target to target, in each of the five runs.
# That is *general to specific* in numbers: for letters, seen or unseen, deeper is
# better; for handwriting the last stage adds next to nothing; for textures it takes
# away.
#
# ### An honest negative result
#
# Is glyphnet's last layer at least better on textures than *no* pretraining? The
# control with random weights says:

# %%
def of(layer, network):
    arm = dict(question="layers", target="textures", network=network)
    return study.values(layer, **arm)


last, blank = of("stage3", "glyphnet"), of("stage3", "random")
pretraining = metrics.paired_difference(last, blank)
depth = metrics.paired_difference(last, of("stem", "glyphnet"))
depth_blank = metrics.paired_difference(blank, of("stem", "random"))
assert pretraining.low < 0 < pretraining.high
assert depth.high < 0 and depth_blank.high < 0
print("stage3, glyphnet minus random weights:", pretraining)
print("stage3 minus stem, glyphnet:          ", depth)
print("stage3 minus stem, random weights:    ", depth_blank)

# %% [markdown]
# The first interval contains 0: nothing shows that pretraining on letters helped the
# last layer here. And with random weights depth costs accuracy, too (third line). So
# the loss need not be something that the network *learnt* to ignore. A likely cause is
# in the architecture: strides and averaging blur the fine grain whatever the weights,
# and nothing shows that letters made up for it. Without that control we would have
# told another story.
#
# Three surfaces, one photograph each: this ranks layers on these photographs only.
#
# The figure is a recorded study of five seeds (`study.py` beside this lesson). One of
# its runs, live, must fall into the range that the stored runs predict (printed beside
# it):

# %%
arm = dict(question="layers", target="textures", network="glyphnet")
live = study.run(arm, seed=0)
for name in LAYERS:
    assert study.holds(name, live[name], **arm)
    print(name, round(live[name], 2), study.values(name, **arm).round(2))

# %% [markdown]
# ## 7. How alike are two representations?
#
# A probe needs labels. **CKA** (Kornblith et al., 2019) compares two layers by their
# features of the same $n$ pictures: $A$ $(n, d_1)$, $B$ $(n, d_2)$, columns centred.
# Coordinates cannot be compared, since another training gives rotated features. But
# **similarities between pictures**, $K=AA^\top$ and $L=BB^\top$ $(n, n)$, can. Their
# inner product (their eq. 1), divided by lengths as in a cosine (eq. 4):
#
# $$\langle K,L\rangle=\operatorname{tr}(AA^\top BB^\top)=\lVert B^\top A\rVert_F^2,
#   \qquad\mathrm{CKA}(A,B)=\frac{\lVert B^\top A\rVert_F^2}
#   {\lVert A^\top A\rVert_F\,\lVert B^\top B\rVert_F}\in[0,1].$$
#
# *Invariance:* for $A'=sAQ$, $Q$ orthogonal, $A'A'^\top=s^2AA^\top$, and $s^2$
# cancels. Shifts fall to the centring. No $n\times n$ matrix is built.
#
# By hand, one feature each, it is the squared correlation. $a=(-1,0,1)$ and
# $b=a^2-\frac23$ give $\langle a,b\rangle=0$: CKA is $0$, although $b$ follows from
# $a$. Linear CKA sees linear relations only.

# %%
a = torch.tensor([[-1.0], [0.0], [1.0]])
turn, _ = torch.linalg.qr(torch.randn(96, 96))
moved = linear_cka(z, 3 * z @ turn + 5).item()
assert linear_cka(a, a**2) < 1e-12 and abs(moved - 1) < 1e-3
print(f"features against themselves, turned, scaled, shifted: {moved:.4f}")

# %% [markdown]
# ### Its bias
#
# Let $A$ and $B$ be **independent** standard normal noise, with $d_1=d_2=d$. Each of
# the $d^2$ entries of $B^\top A$ has mean 0 and variance $n$, so the numerator is
# $nd^2$ on average. In $A^\top A$ the $d$ diagonal entries are near $n$ and the
# others have variance $n$, so $\lVert A^\top A\rVert_F^2\approx dn^2+d^2n=nd(n+d)$.
# Together
#
# $$\mathrm{CKA}\approx\frac{nd^2}{nd(n+d)}=\frac{d}{n+d}.$$
#
# Nothing in common, and yet with $d=1000$ features of $n=50$ pictures the formula
# gives $0.95$. With more features than samples even noise looks alike.

# %% [markdown]
# ### The mend
#
# The bias comes from the diagonals of $K$ and $L$: a picture compared with itself.
# The **debiased** form replaces each $\langle K,L\rangle$ by the unbiased estimator of
# the Hilbert–Schmidt independence criterion (HSIC, a measure of dependence; Song et
# al., 2012), here without its factor $\frac1{n(n-3)}$, which cancels in the ratio. With
# $\tilde K, \tilde L$ the matrices with zero diagonals and $\mathbf 1$ $(n)$ of ones:
#
# $$\operatorname{tr}(\tilde K\tilde L)
#  +\frac{\mathbf 1^\top\!\tilde K\mathbf 1\;\mathbf 1^\top\!\tilde L\mathbf 1}
#        {(n-1)(n-2)}
#  -\frac{2}{n-2}\,\mathbf 1^\top\!\tilde K\tilde L\mathbf 1 .$$
#
# It averages over four *different* pictures, so for independent features the mean of
# this numerator is exactly 0. A single value may be slightly negative; that is no
# error.

# %%
def noise(n, d, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g), torch.randn(n, d, generator=g)


sizes, d = [25, 50, 100, 200, 400, 800], 500
plain, fair = (
    [[linear_cka(*noise(n, d, s), debiased=mend).item() for n in sizes]
     for s in SEEDS]
    for mend in (False, True)
)

# %%
theory = [d / (n + d) for n in sizes]
plots.learning_curve(
    sizes,
    {"plain": plain, "d / (n + d)": theory, "debiased": fair},
    title="Plain CKA finds likeness in independent noise",
    xlabel="number of samples n (500 features each)",
    ylabel="CKA of independent noise",
    log_x=True,
);

# %%
gap = (torch.tensor(plain) - torch.tensor(theory)).abs().max().item()
worst = torch.tensor(fair).abs().amax(0)  # (6,), one per sample size
assert gap < 0.02 and worst[0] < 0.3 and worst[-1] < 0.01
print(f"plain: the formula is right to {gap:.3f}; debiased: within")
print(f"{worst[0]:.3f} of 0 at n = 25, within {worst[-1]:.3f} at n = 800")

# %% [markdown]
# ### What does fine-tuning change?
#
# Chapter 04 trains the backbone, too. Which layers move? Take the features of each
# layer (maps averaged over places) before and after fine-tuning all weights on a
# target, for the same unseen target pictures, and compare them by debiased CKA. 1
# means: unchanged up to rotation, scale and shift.
#
# Read it with care: a layer that stays is not proven perfect. Small gradients and
# small learning rates keep early layers in place, too. CKA says what moved, not what
# had to.

# %%
curves = {
    target: np.array([
        study.values(f"cka_{name}", question="fine-tuning", target=target)
        for name in LAYERS
    ]).T
    for target in ("latin", "georgian", "textures")
}
ax = plots.learning_curve(
    range(4), curves, title="Fine-tuning changes the end of the network most",
    xlabel="layer", ylabel="debiased CKA, before and after",
)
ax.set_xticks(range(4), LAYERS);

# %%
runs = np.concatenate(list(curves.values()))  # (15, 4)
assert (runs.argmin(1) == 3).all() and (runs.argmax(1) == 0).all()
print(f"stage3 moves most and the stem least in all {len(runs)} runs:")
print(f"stem from {runs[:, 0].min():.2f}, stage3 up to {runs[:, 3].max():.2f}")

# %% [markdown]
# ## 8. What do the features see?
#
# Numbers aside: look. For each query, its three nearest neighbours by pixels and by
# features. Queries and candidates come from **disjoint** parts of the data; for
# photographs, from disjoint regions. Overlapping crops would find themselves.


# %%
def neighbours(dataset, layer, picks, title):
    gallery, queries = dataset.split(0.5, 0.5, seed=0)
    old, new = (part.x.mean(1, keepdim=True) for part in (gallery, queries))
    spaces = {
        "pixels": (old.flatten(1), new.flatten(1)),
        layer: [extract_features(net, x, layer) for x in (old, new)],
    }
    found = {name: nearest(*pair, k=3)[0] for name, pair in spaces.items()}
    rows, labels, shares = [], [], []
    for i in picks:
        rows.append(new[i : i + 1])
        labels.append("? " + dataset.classes[queries.y[i]][:6])
        for index in found.values():
            rows += [torch.ones_like(new[:1]), old[index[i]]]  # a white gap
            names = [dataset.classes[c][:8] for c in gallery.y[index[i]]]
            labels += ["", *names]
    plots.image_grid(torch.cat(rows), title=title, labels=labels, columns=9)
    for name, index in found.items():
        right = int((gallery.y[index[:, 0]] == queries.y).sum())
        shares.append(metrics.accuracy_interval(right, len(queries)))
        print(f"nearest by {name}: same class in {shares[-1]}")
    return shares


# %%
title = "Georgian: query, three nearest by pixels, three by stage3"
pixels, features = neighbours(georgian, "stage3", [0, 40, 75], title)
assert features.low > pixels.high

# %%
title = "Photos: query, three nearest by pixels, three by stage1"
photos = data.load("photos")
pixels, features = neighbours(photos, "stage1", [100, 102], title)
assert features.low > pixels.high

# %% [markdown]
# In letter space, neighbours by features share the letter across typefaces and
# slants, where pixels want the same strokes in the same place. On photographs an
# early layer of a letter network matches texture and contrast: better than pixels,
# far from understanding. Pictures of one photograph are one sample of the world, so
# the last two intervals rank these two spaces on six photographs and no more.

# %% [markdown]
# ## 9. Design choices
#
# The knobs of this chapter, one at a time against the same reference: Georgian, 5
# labels per letter, stage3, global average, ridge with penalty 10 on scaled features.
# Each row is a paired difference over five draws.
#
# The two train-mode rows are the same network and the same pictures: only the batches
# differ. Sorted by class, BatchNorm subtracts from a letter what its class has in
# common, which is what we wanted to keep.


# %%
def as_bank(features):
    return dataclasses.replace(georgian, x=features)


def in_train_mode(order):
    model = copy.deepcopy(net).train()
    out = torch.empty_like(z)
    with torch.no_grad():
        for batch in order.split(64):
            out[batch] = model.features(georgian.x[batch])
    return out


blank = models.load("glyphnet", weights=None)
by_class = georgian.y.argsort(stable=True)
banks = {
    "random weights": extract_features(blank, georgian.x, "stage3"),
    "read stage2": extract_features(net, georgian.x, "stage2"),
    "keep a 4 x 4 grid": z_grid,
    "train mode, shuffled": in_train_mode(torch.randperm(len(georgian))),
    "train mode, sorted by class": in_train_mode(by_class),
}

# %%
reference = [score(ridge, 5, s) for s in SEEDS]
trials = {
    name: [score(ridge, 5, s, as_bank(f)) for s in SEEDS]
    for name, f in banks.items()
}
trials["nearest neighbour"] = [score(neighbour, 5, s) for s in SEEDS]
trials["prototypes"] = [score(prototype, 5, s) for s in SEEDS]
for penalty in (0.1, 1000):
    trials[f"penalty {penalty:g}"] = [
        score(ridge, 5, s, penalty=penalty) for s in SEEDS
    ]
trials["10 labels per letter"] = [score(ridge, 10, s) for s in SEEDS]

# %%
effects = {
    name: metrics.paired_difference(values, reference)
    for name, values in trials.items()
}
plots.effect_table(
    effects,
    title="Weights matter most, then who shares a train-mode batch",
    xlabel="change of accuracy against the reference",
);

# %%
assert effects["random weights"].high < -0.4
assert effects["train mode, sorted by class"].high < -0.1
assert max(effects["penalty 0.1"].high, effects["penalty 1000"].high) < 0
print(f"reference accuracy: {metrics.mean_interval(reference)}")

# %% [markdown]
# ## Recap
#
# - Feature extraction fixes $\phi$ and learns a small head: few labels, convex, fast.
# - Frozen means no gradient **and** eval mode that survives `model.train()`.
# - Extract once, in order, without augmentation; fit everything on training rows.
# - Ridge has a closed form: centre, solve, and leave the bias without a penalty.
#   With one label per class a prototype is better.
# - The farther the target, the less the last layer adds. Compare several, and always
#   run the controls: pixels and random weights.
# - CKA compares representations without labels. Plain CKA of noise is about
#   $d/(n+d)$: use the debiased form.

# %% quiz=true

# %% [markdown]
# ## Sources
#
# - S. J. Pan, Q. Yang: A survey on transfer learning. IEEE TKDE, 2010.
# - J. Donahue et al.: DeCAF. ICML, 2014. A. S. Razavian et al.: CNN features
#   off-the-shelf. CVPR workshops, 2014.
# - J. Yosinski et al.: How transferable are features in deep neural networks? NeurIPS,
#   2014.
# - G. Alain, Y. Bengio: Understanding intermediate layers using linear classifier
#   probes. arXiv:1610.01644, 2016.
# - S. Kornblith et al.: Similarity of neural network representations revisited. ICML,
#   2019.
# - L. Song et al.: Feature selection via dependence maximization. JMLR, 2012.
# - S. Ioffe, C. Szegedy: Batch normalization. ICML, 2015.
# - A. E. Hoerl, R. W. Kennard: Ridge regression. Technometrics, 1970.
#
# Next: the exercises of this chapter, then chapter 04, where the backbone learns, too.
