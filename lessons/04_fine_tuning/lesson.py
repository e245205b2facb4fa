# %% [markdown]
# # Fine-tuning
#
# **You will be able to** choose what to train by labels and distance, fine-tune
# without destroying what was learnt, write LoRA and merge it, and run the image recipe
# from a folder to a prediction.
#
# *Needs:* chapter 03 (freezing, probes). *Minutes:* 180. *Timed on two CPU cores, no
# GPU, no network.*
#
# Chapter 03 kept the backbone as it was. Now it may move. The question of this chapter
# is **how much of the source's knowledge to spend** on the target.

# %%
import copy
import itertools
import tempfile
import unicodedata
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import nn, optim
from torchvision.datasets import ImageFolder

import tlcourse
from tlcourse import data, losses, metrics, models, plots, training, tuning
from tlcourse.features import freeze
from tlcourse.metrics import paired_difference
from tlcourse.studies import load_study

plots.use_style()
plt.rcParams["figure.dpi"] = 80
study = load_study("fine_tuning")

# %% [markdown]
# ## 1. What may move?
#
# Write all weights of a network as $w=(\phi,\theta)$: backbone and head. The source
# gives $\phi_0$. **Fine-tuning** starts there and minimises the target's loss,
#
# $$\min_{w\in\mathcal W}\ \frac1n\sum_{i=1}^n\ell\big(f_w(x_i),y_i\big)
#   +\lambda R(w),\qquad \phi=\phi_0\ \text{at the start}.$$
#
# Methods differ in three places only: the **set** $\mathcal W$ in which $w$ may move,
# the **path** (order and step sizes), and the **penalty** $R$.
#
# - **Full** fine-tuning: all of $w$. **Partial**: the last stages.
# - **Head only**: $\theta$, which is chapter 03.
# - **BitFit** (Ben Zaken et al., 2022): $\theta$ and all biases.
# - **Adapters** (Houlsby et al., 2019): small new blocks between frozen layers.
# - **LoRA** (Hu et al., 2022): each update is a matrix of low rank (section 7).

# %% [markdown]
# ### How many weights is that?
#
# For one linear layer $W$ of shape $(d_{out}, d_{in})$ with a bias, and in a
# BERT-sized layer ($d_{out}=d_{in}=768$):
#
# | method | weights that learn | $r=8$, $m=64$ |
# |---|---|---|
# | full | $d_{out}d_{in}+d_{out}$ | 590,592 |
# | BitFit | $d_{out}$ | 768 |
# | LoRA of rank $r$ | $r(d_{in}+d_{out})$ | 12,288 |
# | adapter of width $m$ behind it | $2\,d_{out}m+d_{out}+m$ | 99,136 |
#
# An adapter computes $z+U\,\mathrm{relu}(Dz+b_D)+b_U$ with $D$ $(m, d_{out})$ and $U$
# $(d_{out}, m)$; $U$ and $b_U$ start at 0, so at first nothing changes. It stays in the
# network and costs time; LoRA and BitFit do not.
#
# Few trained weights mean small files and little optimiser memory (AdamW keeps two
# numbers per trained weight), **not** much less computation: the gradient still runs
# through the frozen layers.

# %% [markdown]
# ## 2. The map: labels and distance
#
# Which method is best depends on how many **labels** there are and how **far** the
# target is. Our number for *far* is simple: for each unlabelled target picture take the
# cosine to its **nearest source picture**, in glyphnet's own features $z$ (chapter
# 03), and average:
#
# $$\text{distance}=1-\frac1n\sum_{i=1}^n\max_j\cos\big(z_i^{\,t},z_j^{\,s}\big).$$
#
# It needs no labels. It looks through the source model's eyes, so it misses what the
# model does not see; chapter 06 does better. Three targets: Greek letters, real
# handwritten digits, photographed textures (brick, grass, gravel).

# %%
targets = ("greek", "handwriting", "textures")
arm = dict(question="distance")
far = np.array([study.values("distance", **arm, target=t) for t in targets])
assert (np.diff(far, axis=0) > 0).all()  # (2, 5): one order in every run
print(dict(zip(targets, far.mean(1).round(3).tolist(), strict=True)))

# %% [markdown]
# A recorded study: three targets, 1, 5 and 20 labels per class, five draws. Wherever
# the body trains, it does so for about the same number of steps at one step size
# (scratch: a larger one). Both were chosen in pilot runs on other seeds.
#
# - **scratch**: random weights, everything trains;
# - **head only**: glyphnet frozen, a new head;
# - **full**: glyphnet and a random head, everything trains from the first step;
# - **LP-FT**: linear probing, then fine-tuning: head first, then everything.
#
# **Predict first.** With **one** label per class: does full fine-tuning beat the head
# alone on Greek? On textures?

# %%
my_guess = {"greek": "yes", "textures": "yes"}

# %% fold=true
METHODS = {"scratch": "scratch", "head only": "head",
           "full": "full", "LP-FT": "lp_ft"}  # name: metric of the study
CONTROLS = {"by batch": ("LP-FT", "reference"),
            "frozen": ("LP-FT, BatchNorm frozen", "BatchNorm frozen")}
shots, three = (1, 5, 20), ("lp_ft", "full", "head")
def runs(metric, target):  # (5 seeds, 3 numbers of labels)
    arms = [dict(question="map", target=target, shots=k) for k in shots]
    return np.array([study.values(metric, **arm) for arm in arms]).T
def on_map(a, b, t):  # a minus b, for 1, 5, 20 labels
    return [*map(paired_difference, runs(a, t).T, runs(b, t).T)]
def choice(name, target="handwriting"):  # for sections 3 and 9
    arm = dict(question="choices", choice=name, target=target)
    return study.values("target", **arm)

print("you guessed:", my_guess)
figure, axes = plt.subplots(1, 3, figsize=(8.6, 3.1), sharey=True)
axes[0].set(ylim=(0, 1))
for ax, target in zip(axes, targets, strict=True):
    curves = {name: runs(m, target) for name, m in METHODS.items()}
    plots.learning_curve(shots, curves, ax=ax, log_x=True, title=target,
                         xlabel="labels per class", ylabel="target accuracy")
    ax.get_legend().set_visible(target == "textures")
    ax.label_outer()
    assert 3 not in np.argmax([v.mean(0) for v in curves.values()], 0)  # LP-FT
figure.suptitle("Near: train the head. Far: train everything", weight="bold");

# %%
for b, t in itertools.product(("head", "scratch"), targets):
    one, _, many = on_map("full", b, t)
    print(f"{t}: full minus {b}\n   1 {one}\n  20 {many}")
assert on_map("full", "head", "greek")[0].high < 0  # now the last target:
assert max(one.low, many.low) < 0 < on_map("full", "head", t)[0].low

# %% [markdown]
# Compare with your guess. On Greek the features fit: one label per letter is enough for
# the head, and moving the body spoils what was good. With twenty labels five draws show
# no difference. On textures it is the other way round: the frozen features are poor,
# and the body has to move even for one label. **But** there the last lines show no gain
# over scratch: what full fine-tuning learns need not come from the source.
#
# LP-FT has the best mean nowhere on this map. What it is good for, and where, section 3
# says.
#
# One run of the study, live, must fall into the range that the stored runs predict
# (printed beside it):

# %%
arm = dict(question="map", target="textures", shots=1)
live = study.run(arm, seed=0)
for m, value in live.items():
    print(f"{m:8}{value:.2f}, stored {study.values(m, **arm).round(2)}")
    assert study.holds(m, value, **arm)

# %% [markdown]
# ## 3. Why a random head does harm
#
# On Greek, full fine-tuning made good features worse. **Feature distortion** (Kumar et
# al., 2022) explains it, in the simplest network with features: two linear layers and
# the squared error,
#
# $$f(x)=v^\top Bx,\qquad L=\tfrac1n\textstyle\sum_i e_i^2,\quad
#   e_i=v^\top Bx_i-y_i .$$
#
# $B$ $(k, d)$ is the pretrained backbone, $v$ $(k)$ the new head. With
# $u=\frac2n\sum_ie_ix_i$ $(d)$ the gradients are
#
# $$\nabla_B L=v\,u^\top,\qquad \nabla_v L=B\,u .$$
#
# Let $S$ be the span of the training inputs. $u$ is a sum of training inputs, so
# $u\in S$. For a direction $q\perp S$ therefore $(\nabla_BL)\,q=v\,(u^\top q)=0$:
#
# **Gradient descent never changes the features $Bq$ of directions that the training
# data do not span.** (Weight decay does, and Adam may: it rescales each entry.)

# %% [markdown]
# ### What must move, then?
#
# Along the path of small steps ($\dot B=-vu^\top$, $\dot v=-Bu$) the difference
# $vv^\top-BB^\top$ stays constant, since both terms have the same derivative:
#
# $$\tfrac{d}{dt}vv^\top=-Buv^\top-vu^\top B^\top=\tfrac{d}{dt}BB^\top .$$
#
# So head and features move **together**. A random $v$ is far from a good one; on its
# way it drags the features inside $S$ along, until both fit each other there. Outside
# $S$ the old features meet a head made for the new ones. The training loss is 0 and
# says nothing.
#
# Put a head first that fits the old features: then $e_i\approx0$, $u\approx0$, and
# almost nothing moves. That is **LP-FT** (`tuning.lp_ft`; between its two phases
# `features.unfreeze` undoes chapter 03's `freeze`).

# %% [markdown]
# ### By hand
#
# $d=2$, $k=1$, $B_0=(1,1)$, and the truth is $y=x_1+x_2$: the features are perfect,
# with the head $v=1$. All training inputs are $x=(1,0)$ with $y=1$, so $S$ is the first
# axis. Start at $v=\frac12$.
#
# Constant: $v^2-b_1^2=\frac14-1=-\frac34$. Training loss 0: $vb_1=1$. Together
# $b_1^2\,(b_1^2-\frac34)=1$, so $b_1^2=\frac12\big(\frac34+\sqrt{\frac9{16}+4}\big)
# \approx1.443$: $b_1\approx1.201$ and $v\approx0.832$. $b_2=1$ has not moved: a new
# input $(0,1)$ gets $vb_2\approx0.83$ instead of $1$.

# %%
v, b = torch.tensor(0.5), torch.tensor([1.0, 1.0])
for _ in range(5000):
    u = 2 * (v * b[0] - 1) * torch.tensor([1.0, 0.0])
    v, b = v - 2e-3 * b @ u, b - 2e-3 * v * u
assert abs(v - 0.8325) < 3e-3 and abs(b[0] - 1.201) < 3e-3 and b[1] == 1

# %%
# Twenty random worlds at once: 40 inputs, 5 features, and training inputs
# from a random subspace S of 10 dimensions; new inputs from everywhere.
def normal(*shape):
    return torch.randn(20, *shape, generator=g, dtype=torch.float64)


def turned(a):  # the same span, orthonormal columns
    return torch.linalg.qr(a)[0]


g = torch.Generator().manual_seed(0)
true, head = turned(normal(40, 5)), F.normalize(normal(5, 1), dim=1)
near = turned(true + 0.05 * normal(40, 5))  # pretraining was almost right
start = (near @ turned(normal(5, 5))).mT  # B at the start, (20, k, d)
span = turned(normal(40, 10))  # (20, d, 10)
x, x_new = normal(30, 10) @ span.mT, normal(1000, 40)
y, y_new = x @ true @ head, x_new @ true @ head
probe = torch.linalg.lstsq(x @ start.mT, y).solution  # (20, k, 1)


# %%
def tune(B, v, steps=2000, lr=0.01):
    for _ in range(steps):
        u = 2 / x.shape[1] * x.mT @ (x @ B.mT @ v - y)  # (20, d, 1)
        B, v = B - lr * v @ u.mT, v - lr * B @ u
    return B, v


def error(x, y, B, v):
    return (x @ B.mT @ v - y).square().mean((1, 2))  # (20,)


fresh = normal(5, 1)
nets = {"head only": (start, probe), "LP-FT": tune(start, probe),
        "full, random head": tune(start, fresh),
        "the same head / 10": tune(start, fresh / 10)}
assert max(error(x, y, *nets[n]).max() for n in list(nets)[1:]) < 1e-3
errors = {name: error(x_new, y_new, *net) for name, net in nets.items()}
order = errors["head only"].argsort()
ax = plots.learning_curve(
    range(1, 21), {name: e[order] for name, e in errors.items()},
    title="A random head ruins what the training data do not show",
    xlabel="random world, sorted by the error of the head alone",
    ylabel="mean squared error, new inputs")
ax.set(yscale="log", xticks=range(1, 21, 3), ylim=(0.008, 12))
ax.legend(loc="lower right");

# %%
change = nets["full, random head"][0] - start
outside = torch.eye(40, dtype=x.dtype) - span @ span.mT  # onto what S lacks
assert (change @ outside).abs().max() < 1e-12 < 0.1 < change.abs().max()
probed, both, full, small = errors.values()
assert (both < probed).all() and (torch.maximum(probed, small) < full).all()

# %%
for name, net in nets.items():
    print(f"{name:18} training {error(x, y, *net).mean():.0e}, "
          f"new inputs {errors[name].mean():.3f}")
moved = (change @ outside).abs().max()
print(f"features outside the span moved by at most {moved:.0e}")

# %% [markdown]
# In 20 worlds of 20: fine-tuning brings the training loss to almost 0; outside the span
# no feature has moved; on new inputs LP-FT beats the head alone, and the random head is
# worse. How much worse depends on its **size**, since $\nabla_BL=vu^\top$ grows with
# $v$: a tenth of it does less harm on average.
#
# ### A real network
#
# Georgian, five labels per letter, all from **two** upright typefaces. We test on
# unseen pictures of these faces (*inside*) and on ten other faces (*outside*).
# BatchNorm is frozen throughout, so that full and LP-FT differ in nothing but the
# head's start.

# %%
for at in ("inside", "outside"):
    both, *rest = (study.values(f"{at}_{m}", question="faces") for m in three)
    gain, level = (paired_difference(both, other) for other in rest)
    print(f"{at:8} LP-FT minus full {gain}, minus head {level}")
    assert gain.low > 0 > level.low and level.high > 0

# %% [markdown]
# From the same start, with the same steps, a random head costs accuracy, inside and
# outside alike (perhaps since five pictures do not span a letter); a head fitted first
# saves it. But read on: against the head **alone** LP-FT shows no gain in five draws.
#
# ### An honest negative result
#
# LP-FT is a bet that the source's features are **worth keeping**: in the theory $B_0$
# was almost right. For textures nothing shows that (chapter 03). A head that fits makes
# $u$ small and takes away the push that would have changed the features. Five labels per
# class, steps as in section 9, BatchNorm by batch and frozen; then section 2's Greek map
# (1 and 20 labels, constant steps):

# %%
d = {f"{t}, {norm}": paired_difference(*(choice(c, t) for c in pair))
     for t in ("greek", "textures") for norm, pair in CONTROLS.items()}
d["map, 1 label"], _, d["map, 20 labels"] = on_map("lp_ft", "full", "greek")
print(*(f"{k:19} LP-FT minus full {gap}" for k, gap in d.items()), sep="\n")
assert [(g.low > 0) - (g.high < 0) for g in d.values()] == [1, 1, -1, 0, 1, -1]

# %% [markdown]
# LP-FT wins on Greek, loses on textures (frozen: not shown), and its gain on the Greek
# map turns into a loss: ask **how far**, and **how many** labels.
#
# ## 4. How fast, in which order
#
# **Discriminative rates** (Howard & Ruder, 2018). Stage $l=1,\dots,L$ from the input
# learns at $\eta_l=\eta/2.6^{\,L-l}$. With $L=5$ the stem is $2.6^4\approx46$ times as
# slow as the head.
#
# **Gradual unfreezing** (theirs). In epoch $e=0,1,\dots$ the last $1+e$ stages
# learn (`tuning.gradual_unfreeze`): LP-FT in small steps.
#
# **Warm-up and cosine** (Goyal et al., 2017; Loshchilov & Hutter, 2017). Adam's first
# steps have full size, even on a random head's noise. Rise for $W$ steps, fall to 0 at
# step $T-1$:
#
# $$\eta_t=\eta\cdot\begin{cases}\frac{t+1}{W+1}&t\le W\\
#   \frac12\big(1+\cos\pi\frac{t-W}{T-1-W}\big)&t>W.\end{cases}$$
#
# By hand, $T=11$, $W=2$: $\frac13,\frac23,1$; at $t=6$, half way, $\frac12$.

# %%
net = models.load("glyphnet", num_classes=10)
groups = tuning.param_groups(net, lr=1e-3)  # for an optimiser: AdamW(groups)
shape = np.array([tuning.warmup_cosine(t, 100, 10) for t in range(100)])
_, ax = plt.subplots()
for group, marker in zip(groups, "osD^v", strict=True):
    options = dict(marker=marker, markevery=15, label=group["name"])
    ax.plot(group["lr"] * shape, **options)
ax.set(title="Late stages learn fast; all of them rise and fall",
       xlabel="step", ylabel="step size", yscale="log", ylim=(1e-6, 2e-3))
ax.legend()
assert abs(groups[-1]["lr"] / groups[0]["lr"] - 2.6**4) < 1e-6
assert abs(tuning.warmup_cosine(6, 11, 2) - 1 / 2) < 1e-12

# %% [markdown]
# ### When to stop, what to show
#
# **Early stopping** watches the loss on held-out samples and goes back to the best
# weights. Held out **from what?** From the labelled target samples, or from the
# source; never from the test set, since the best of many looks at it is no estimate.
# With 5 labels per class, holding out one costs a fifth of them, and few samples judge
# poorly. A fixed number of steps, chosen on another task, is a fair rival
# (section 9).
#
# **Augmentation** transfers knowledge about *features*: random shifts, turns and
# strokes $a$ tell $\phi$ which changes do **not** matter. We minimise
# $\mathbb E_a[\ell(f(a(x)),y)]$. The bet: $a$ keeps the class. Turning a 6 by 180
# degrees makes a 9.

# %% [markdown]
# ## 5. Forgetting
#
# Now the target has the source's own classes: glyphnet knows rendered digits and shall
# learn real **handwriting**, with its 94-way head kept. Does it still know letters
# afterwards? **Catastrophic forgetting** (McCloskey & Cohen, 1989) is the loss of
# accuracy on the source.
#
# **A prior that knows what matters.** Let $D_s,D_t$ be the two training sets,
# independent given $w$. Bayes' rule:
#
# $$-\log p(w\mid D_s,D_t)=-\log p(D_t\mid w)-\log p(w\mid D_s)+\text{const}.$$
#
# The old data enter through the last term alone. Take its minimum $w_0$ and expand to
# second order (**Laplace's approximation**), $H$ the Hessian at $w_0$:
#
# $$-\log p(w\mid D_s)\approx\tfrac12(w-w_0)^\top H\,(w-w_0)+\text{const}.$$

# %% [markdown]
# ### L2-SP and EWC
#
# $H=\alpha I$ is **L2-SP** (chapter 02): every weight is equally precious.
#
# **EWC** (Kirkpatrick et al., 2017) keeps the diagonal. For $n_s$ samples the expected
# Hessian of the negative log-likelihood, over labels drawn from the **model**, is $n_s$
# times the **Fisher matrix**, with the diagonal
#
# $$F_j=\mathbb E_x\,\mathbb E_{y\sim p_w(y\mid x)}\Big[\Big(
#   \frac{\partial\log p_w(y\mid x)}{\partial w_j}\Big)^2\Big].$$
#
# *Why:* $\partial^2\log p=\frac{\partial^2p}{p}-(\partial\log p)^2$, and
# $\mathbb E_y\big[\frac{\partial^2p}{p}\big]=\partial^2\sum_yp=\partial^2 1=0$.
#
# So $L(w)=L_t(w)+\frac\lambda2\sum_jF_j(w_j-w_{0,j})^2$ (their eq. 3); for a mean loss
# over $n_t$ samples $\lambda=n_s/n_t$, in practice it is tuned. True labels give the
# *empirical* Fisher, another matrix (Kunstner et al., 2019).

# %% [markdown]
# **By hand.** Two weights, $w_0=(0,0)$, $F=(4,0)$: the source minds the first and
# ignores the second. The target wants $(1,1)$: $L_t=\frac12\lVert w-(1,1)\rVert^2$.
#
# EWC with $\lambda=1$: $(w_1-1)+4w_1=0$, so $w=(\frac15,1)$; $L_t=0.32$, and the source
# loses $\frac12\cdot4\cdot\frac1{25}=0.08$. L2-SP at the same target loss $0.32$ has
# $w_1=w_2=1-0.4\sqrt2\approx0.434$: the source loses $2w_1^2\approx0.377$.

# %%
w = torch.tensor([0.2, 1.0], requires_grad=True)
zero, fisher = torch.zeros(2), torch.tensor([4.0, 0.0])
pull = losses.ewc_penalty({"w": w}, {"w": zero}, {"w": fisher}, strength=1.0)
((w - 1).square().sum() / 2 + pull).backward()
assert w.grad.abs().max() < 1e-6 and abs(pull.item() - 0.08) < 1e-6

# %% [markdown]
# ### Two ways without a prior
#
# **Replay.** Train on source samples as well, $L_t(w)+\lambda L_s(w)$. Privacy or size
# may forbid keeping them.
#
# **WiSE-FT** (Wortsman et al., 2022a). Fine-tune freely to $w_1$, then go back on the
# straight line, without any training (`tuning.wise_ft`):
#
# $$w_\alpha=(1-\alpha)\,w_0+\alpha\,w_1,\qquad\alpha\in[0,1].$$
#
# *Why?* To first order around $w_0$ the network is linear in $w$; then
# $f_{w_\alpha}=(1-\alpha)f_{w_0}+\alpha f_{w_1}$, an ensemble of two for the price of
# one. It needs the **same head** in both and one valley of the loss around both.
#
# The study: 10 labels per digit, several strengths, BatchNorm frozen except in one
# arm. The Fisher diagonal comes from 282 source pictures, labels drawn from the model.
# Along a line, more strength (WiSE-FT: a smaller $\alpha$) lies further left.

# %%
def point(method, strength, metric):
    arm = dict(question="forgetting", method=method, strength=strength)
    return study.values(metric, **arm)

def against(a, b):  # target and source, paired over the draws
    return [paired_difference(point(a, picks[a], m), point(b, picks[b], m))
            for m in ("target", "source")]

picks = {"source": 0.0, "full": 0.0, "full, BatchNorm by batch": 0.0,
         "L2-SP": 0.1, "EWC": 100.0, "WiSE-FT": 0.5, "replay": 0.1}
strengths = {}
for a in study.arms:
    if a["question"] == "forgetting":
        strengths.setdefault(a["method"], []).append(a["strength"])
_, ax = plt.subplots(figsize=(6.4, 4))
for i, (name, values) in enumerate(strengths.items()):
    path = [[point(name, s, metric).mean() for s in values]
            for metric in ("target", "source")]
    line = "-" if len(values) > 1 else ""
    ax.plot(*path, marker=plots.MARKERS[i], ls=line, label=name)
ax.set(title="At full target accuracy replay keeps the most",
       xlabel="accuracy on handwriting (target)",
       ylabel="accuracy on 94 rendered characters (source)")
ax.legend(loc="lower left");

# %%
for name, strength in picks.items():
    pair = [point(name, strength, m).mean() for m in ("target", "source")]
    print(f"{name:25}{strength:5} target {pair[0]:.3f}, source {pair[1]:.3f}")
pairs = [("full", "source"), ("full, BatchNorm by batch", "full"),
         ("EWC", "L2-SP"), ("replay", "EWC"), ("replay", "full")]

# %%
d = {pair: against(*pair) for pair in pairs}
for (a, b), (target, source) in d.items():
    print(f"{a} minus {b}:\n  target {target}\n  source {source}")
assert [(g.low > 0) - (g.high < 0) for _, g in d.values()] == [-1, 1, 0, 1, 1]
assert d["EWC", "L2-SP"][1].wins == 5 and d["replay", "full"][0].high > 0

# %% [markdown]
# Full fine-tuning forgets most characters, with BatchNorm frozen even more than by batch.
# EWC kept more than L2-SP in all five draws, but its interval reaches 0. WiSE-FT
# lies near their curve without training. Replay keeps more, at no shown cost on the
# target; it needs source pictures, as many again per step.
#
# ## 6. Soups
#
# If the line between two networks is good, why not the **mean of many**? A **model
# soup** (Wortsman et al., 2022b) averages the weights of runs from one $w_0$
# (`tuning.uniform_soup`): one network, where an ensemble of $K$ costs $K$ times as much.
#
# Four runs of LP-FT (handwriting, five labels) differ in order and step size. Control:
# two networks (*strangers*), each from **own** random weights.

# %%
kinds = ("single", "soup", "ensemble", "one_stranger", "strangers")
one, soup, vote, _, odd = v = [study.values(k, question="soup") for k in kinds]
print(dict(zip(kinds, np.mean(v, 1).round(3).tolist(), strict=True)))
print("soup minus single:", paired_difference(soup, one))
assert max(soup - one) < 0 < min(vote - one) and max(odd) < 0.2

# %% [markdown]
# Another negative result: in all five runs the soup is **worse** than its members on
# average (the interval just reaches 0), and the ensemble better. Perhaps the members'
# steps are so large that they leave the valley. Strangers' hidden units do not even
# correspond: their mean guesses.
#
# ## 7. LoRA
#
# Fine-tuning changes a matrix $W$ $(d_{out}, d_{in})$ by some $\Delta W$. **LoRA** (Hu
# et al., 2022) freezes $W$ and learns the change as a product of two thin matrices, $A$
# $(r, d_{in})$ and $B$ $(d_{out}, r)$ (not section 3's $B$):
#
# $$h=Wx+s\,BAx,\qquad s=\alpha/r .$$
#
# With $\delta=\partial L/\partial h$ the gradients are
#
# $$\frac{\partial L}{\partial B}=s\,\delta\,(Ax)^\top,\qquad
#   \frac{\partial L}{\partial A}=s\,B^\top\delta\,x^\top .$$
#
# Start at $B=0$ with a random $A$: the network is unchanged and $B$ has a gradient.
# With $A=B=0$ **both** gradients are 0, for ever.

# %% [markdown]
# **What is lost?** Let $\sigma_1\ge\sigma_2\ge\dots$ be the singular values of a full
# $\Delta W$. The best matrix of rank $r$ misses $\sum_{i>r}\sigma_i^2$ of its squared
# norm $\sum_i\sigma_i^2$ (Eckart & Young, 1936).
#
# **Why $\alpha/r$?** For one sample $x$, Adam's first step sets
# $B_{ij}=-\eta\,\mathrm{sign}(\delta_i(Ax)_j)$, and the layer answers the same $x$ with
# $s\,(BAx)_i=-s\,\eta\,\mathrm{sign}(\delta_i)\sum_{j=1}^r\lvert(Ax)_j\rvert$: $r$ terms
# of about one size. Dividing by $r$ makes the first step alike for every rank.
#
# **Merging.** $W+sBA$ is a plain matrix: add once, and nothing extra is computed.
#
# **By hand.** $W=I$, $r=1$, $\alpha=2$, $A=(1,1)$,
# $B=\begin{pmatrix}0.5\\0\end{pmatrix}$ merge to
# $\begin{pmatrix}2&1\\0&1\end{pmatrix}$.

# %%
layer = nn.Linear(2, 2, bias=False)
layer.weight.data = torch.eye(2)
adapted = models.LoRALinear(layer, rank=1, alpha=2)
adapted.lora_a.data[:], adapted.lora_b.data[:, 0] = 1, torch.tensor([0.5, 0])
assert adapted.merge().weight.tolist() == [[2, 1], [0, 1]]

# %%
# A perceptron learns Latin, then Greek: with all weights, and with LoRA.
def letters(script, per_class):
    options = dict(face="all", size=16, per_class=per_class, seed=3)
    return data.load("glyphs", script=script, **options)


def train_on(net, train, lr=1e-3):
    training.fit(net, train, epochs=12, lr=lr, batch_size=32, progress=False)
    return net


tlcourse.seed_everything(0)
old = train_on(models.Mlp(256, [256, 256], 26), letters("latin", 100))
train, test = letters("greek", 40).few_shot(20, seed=0)
full = models.replace_head(copy.deepcopy(old), 24)
slim = freeze(copy.deepcopy(full), except_for=["head"])
models.add_lora(slim, ["body.1", "body.3"], rank=8, alpha=16)
train_on(full, train), train_on(slim, train, lr=3e-3)
before = training.predict(slim, test)
after = training.predict(models.merge_lora(slim), test)
assert (after - before).abs().max() < 1e-3

# %%
def spectrum(net, layer):  # share of the first r directions, r = 1, 2, ...
    new, was = (m.get_submodule(layer).weight for m in (net, old))
    energy = torch.linalg.svdvals((new - was).detach()).square().cumsum(0)
    return energy / energy[-1]


ranks = [1, 2, 4, 8, 16, 32, 64, 128, 256]
pairs = {f"{kind}, {name}": spectrum(net, layer)
         for kind, net in [("full", full), ("LoRA, r = 8", slim)]
         for name, layer in [("layer 1", "body.1"), ("layer 2", "body.3")]}
plots.learning_curve(
    ranks, {k: v[[r - 1 for r in ranks]] for k, v in pairs.items()},
    log_x=True, title="Eight directions hold most of the change, not all",
    xlabel="singular directions kept",
    ylabel="share of the squared norm of the change")
first = [pairs[f"full, layer {i}"][7].item() for i in (1, 2)]
assert min(first) > 0.5 and max(first) < 0.95
lora = {r: study.values("target", question="lora", rank=r)  # next cell
        for r in (0, 1, 4, 16, 64, -1)}  # 0: the head alone, -1: all weights

# %%
gaps = {(r, of): paired_difference(lora[r], lora[of])
        for r, of in itertools.product((1, 4, 16, 64), (0, -1))}
for (r, of), gap in gaps.items():
    print(f"rank {r:2} minus {'all weights' if of else 'head alone':11} {gap}")
assert gaps[1, -1].high < 0 < gaps[4, 0].low and gaps[4, -1].high > 0

# %% [markdown]
# The study's perceptron goes from glyphnet's 94 classes to Georgian, 20 labels per
# letter; the head always learns. Rank 1 is too little. Rank 4 beats the head alone, and
# five draws show no difference from full fine-tuning, with $2\cdot4\cdot512=4{,}096$
# weights in place of 131,584. A full change spreads over more directions; nothing shows
# that the rest is needed.
#
# ## 8. The image recipe
#
# The part to copy: any folder of pictures, a network from torchvision, ten steps.
#
# **1. The folder.** One subfolder per class; train, val and test apart:
# `train/alpha/003.png`. We write one with ten Greek letters; yours exists already. Split
# by what must not leak: pictures of one patient or scene belong into one part.

# %%
def write_folder(root, num_letters=10):
    options = dict(script="greek", face="all", per_class=40, size=64)
    greek = data.load("glyphs", **options)
    parts = greek.subset(greek.y < num_letters).split(0.3, 0.2, 0.5)
    for part, pictures in zip(("train", "val", "test"), parts, strict=True):
        for i, (x, y) in enumerate(zip(pictures.x, pictures.y, strict=True)):
            letter = unicodedata.name(greek.classes[y]).split()[-1].lower()
            file = Path(root, part, letter, f"{i:03}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((x[0] * 255).byte().numpy()).save(file)


ROOT = Path(tempfile.mkdtemp())
write_folder(ROOT)

# %% [markdown]
# **2. The network and its own transforms.** Pictures must be prepared as in pretraining.
# torchvision's *weights object* knows how: resize, crop, mean, deviation. Numbers
# written by hand are a classic silent loss. **3. The head.** A new `fc` with your number
# of classes.
#
# `resnet18` gets ImageNet's weights when they are in the cache
# (`models.load("resnet18", download=True)` puts them there). Without them it starts
# **random**, and the recipe says so: then it is the control, on small pictures, to be
# quick. `glyphnet` is the offline network of this course.

# %%
def choose(name, num_classes):
    """The network, its transform, and where its weights come from."""
    if name == "glyphnet":
        T = torchvision.transforms
        grey = T.Compose([T.Grayscale(), T.Resize((32, 32)), T.ToTensor()])
        return models.load(name, num_classes=num_classes), grey, "glyphs"
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    try:
        net = models.load(name, weights="imagenet")
        origin, size = "ImageNet", {}
    except models.ModelMissing:
        net, origin = models.load(name, weights=None), "random"
        size = dict(resize_size=64, crop_size=64)
    net.fc = nn.Linear(net.fc.in_features, num_classes)
    return net, weights.transforms(**size), origin


print(torchvision.models.ResNet18_Weights.DEFAULT.transforms())

# %% [markdown]
# **4. Batches.** `ImageFolder` takes the class names from the folders, in alphabetical
# order. Shuffle the training part alone, and augment only it, if at all. **5. One pass**
# over a part, to train or to judge: mode, gradient and the mean over *samples* as in
# chapter 02.
#
# **6. BatchNorm.** Small batches give noisy statistics. Here the pretrained ones are
# frozen so that `net.train()` cannot undo it (chapter 03); random weights have none worth
# keeping. It is a bet, and section 9 shows it lost: compare both on `val`.
#
# **7. Step sizes** fall from the head to the input. **8. Early stopping** on `val`.
# **9. The checkpoint** holds all that a prediction needs: weights, class names, name.

# %%
device = tlcourse.device()


def batches(part, transform, size=32):
    folder = ImageFolder(ROOT / part, transform)
    return torch.utils.data.DataLoader(folder, size, shuffle=part == "train")


def run_through(net, loader, optimizer=None):
    """Mean loss, share of right answers; trains if there is an optimiser."""
    net.train(optimizer is not None)
    loss, right, n = 0.0, 0, len(loader.dataset)
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        with torch.set_grad_enabled(optimizer is not None):
            logits = net(x)
            value = F.cross_entropy(logits, y)
        if optimizer is not None:
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        loss += value.item() * len(y) / n
        right += (logits.argmax(1) == y).sum().item()
    return loss, right / n


# %%
def fine_tune(name, stages, lr, epochs, patience=4):
    classes = ImageFolder(ROOT / "train").classes
    net, transform, origin = choose(name, len(classes))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms if origin != "random" else []:
        freeze(norm)
    optimizer = optim.AdamW(tuning.param_groups(net.to(device), lr, stages))
    train, val = (batches(part, transform) for part in ("train", "val"))
    best, waited = float("inf"), 0
    for epoch in range(epochs):
        run_through(net, train, optimizer)
        loss, _ = run_through(net, val)
        print(f"{loss:.2f}", end=" ", flush=True)
        waited += 1
        if loss < best:
            best, waited = loss, 0
            saved = dict(name=name, classes=classes, state=net.state_dict())
            torch.save(saved, ROOT / f"{name}.pt")
        if waited == patience:
            break
    return origin


# %%
def reload(name):
    saved = torch.load(ROOT / f"{name}.pt", device, weights_only=True)
    net, transform, _ = choose(saved["name"], len(saved["classes"]))
    net.load_state_dict(saved["state"])
    return net.to(device).eval(), transform, saved["classes"]


# %%
tlcourse.seed_everything(0)
body = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
ours = ["stem", "stage1", "stage2", "stage3", "head"]
plans = {"glyphnet": (ours, 3e-3, 12), "resnet18": (body, 1e-3, 4)}
reached = {}
for name, plan in plans.items():
    origin = fine_tune(name, *plan)
    net, transform, classes = reload(name)
    test = batches("test", transform)
    right = round(run_through(net, test)[1] * len(test.dataset))
    reached[name] = metrics.accuracy_interval(right, len(test.dataset))
    print(f"\n{name}, weights: {origin}. Test accuracy {reached[name]}")
if origin == "random":
    assert reached["glyphnet"].low > reached["resnet18"].high

# %% [markdown]
# The control has far more weights and fewer passes: it shows that not everything solves
# this folder in seconds, not that ResNets are bad. With ImageNet weights the second line
# becomes a second transfer.
#
# A confusion matrix says *which* letters are mixed up. **10. A new picture** comes from a
# file of another size. Its top 3 have probabilities, and a softmax always answers: shown
# a cat, it would name a letter too.

# %%
net, transform, classes = reload("glyphnet")
test = ImageFolder(ROOT / "test", transform)
guess = training.predict(net, torch.stack([x for x, _ in test])).argmax(1)
counts = metrics.confusion_matrix(guess, torch.tensor(test.targets), 10)
plots.confusion(counts, classes, title="Few errors, and each has a name");

# %%
def top3(file):
    picture = transform(Image.open(file).convert("RGB"))[None].to(device)
    with torch.no_grad():
        values, places = net(picture).softmax(1)[0].topk(3)
    found = zip(places, values, strict=True)
    return [f"{classes[i]} {chance:.1%}" for i, chance in found]


options = dict(script="greek", size=100, jitter=2.0, seed=77)
new = data.load("glyphs", **options, per_class=1).x[2, 0]
Image.fromarray((new * 255).byte().numpy()).save(ROOT / "new.png")
answer = top3(ROOT / "new.png")
assert "gamma" in " ".join(answer)
plots.image_grid(new[None, None], title=", ".join(answer));

# %% [markdown]
# ## 9. Design choices
#
# Every row but one (*LP-FT, BatchNorm frozen*) changes one thing of a reference:
# handwriting, five labels per digit, full fine-tuning from glyphnet with a random head,
# 80 steps of AdamW, warm-up and cosine, BatchNorm by batch. Paired over five draws.
#
# The lines below the figure repeat *BatchNorm frozen* on other targets, and set BitFit
# against section 2's head **alone**, which took ten times the step size.

# %%
names = [a["choice"] for a in study.arms if a.get("target") == "handwriting"
         and a.get("choice", "reference") != "reference"]
reference = choice("reference")
effects = {name: paired_difference(choice(name), reference) for name in names}
plots.effect_table(effects, title="Holding the body back often costs",
                   xlabel="change of accuracy against the reference")
print(f"reference: {metrics.mean_interval(reference)}")
held = ["step size / 3", "discriminative rates", "BatchNorm frozen", "L2-SP"]
assert max(effects[name].high for name in held) < 0
assert effects["biases and head (BitFit)"].high < -0.15
assert effects["augmentation"].low < 0 < effects["step size x 3"].low
for t, start in itertools.product(targets, ("", "LP-FT, ")):
    free = choice(start.strip(", ") or "reference", t)
    gap = paired_difference(choice(start + "BatchNorm frozen", t), free)
    print(f"{t}: {start}frozen minus by batch {gap}")
    assert (gap.high < 0) == (not start and t != "textures")
head = study.values("head", question="map", target="handwriting", shots=5)
gap = paired_difference(choice("biases and head (BitFit)"), head)
print(f"BitFit minus the head alone of section 2: {gap}")
assert gap.high < -0.1

# %% [markdown]
# Smaller steps, slow early stages, frozen BatchNorm (Greek, too; not shown after LP-FT)
# and a pull to the source cost. A larger step gains a little. Hollow rows cannot
# be told from 0. BitFit loses to the head alone: its steps seem too small.
#
# ### Which to choose
#
# A start, from three targets (last row: not measured):
#
# | labels per class | near the source | far from it |
# |---|---|---|
# | 1 to 5 | head only; then LP-FT | full, against scratch |
# | about 20 | head only, LP-FT, full: compare | the same |
# | plenty | full, against scratch | the same |
#
# - **The source must survive?** Replay, else EWC or L2-SP; WiSE-FT afterwards.
# - **Many tasks, one large network?** LoRA: small files.
# - **Anything new?** Head only first: seconds tell whether the features fit.

# %% [markdown]
# ## Recap
#
# - Fine-tuning methods choose a set of weights, a path, and a penalty.
# - A random head distorts features inside the span of the training data and leaves the
#   rest; LP-FT avoids most of it. Where features are wrong, they have to change.
# - Frozen BatchNorm bets that the source's statistics fit the target.
# - EWC weighs each pull by the Fisher diagonal; replay uses data; WiSE-FT goes back along
#   a line.
# - LoRA learns a change of low rank: $B=0$, $A$ random, scale $\alpha/r$, merge once.
# - The recipe: transforms from the weights object, a checkpoint with class names, a
#   control.

# %% quiz=true

# %% [markdown]
# ## Sources
#
# - A. Kumar et al.: Fine-tuning can distort pretrained features and underperform
#   out-of-distribution. ICLR, 2022.
# - J. Howard, S. Ruder: Universal language model fine-tuning. ACL, 2018.
# - I. Loshchilov, F. Hutter: SGDR. ICLR, 2017. P. Goyal et al.: Accurate, large
#   minibatch SGD. arXiv:1706.02677, 2017.
# - M. McCloskey, N. Cohen: Catastrophic interference, 1989. J. Kirkpatrick et al.:
#   Overcoming catastrophic forgetting. PNAS, 2017.
# - F. Kunstner et al.: Limitations of the empirical Fisher approximation. NeurIPS, 2019.
# - M. Wortsman et al.: Robust fine-tuning. CVPR, 2022a; Model soups. ICML, 2022b.
# - E. Hu et al.: LoRA. ICLR, 2022. N. Houlsby et al.: Parameter-efficient transfer
#   learning. ICML, 2019. E. Ben Zaken et al.: BitFit. ACL, 2022.
# - C. Eckart, G. Young, Psychometrika, 1936.
#
# Next: the exercises; then chapter 05.
