# %% [markdown]
# # Why transfer
#
# **You will be able to** state domain, task and transfer precisely; read a learning
# curve for its transfer gain; predict when transfer hurts; score a source model
# before you train with it.
#
# *Needs:* chapter 00, and how a network is trained. *Minutes:* 120. *Timed on two
# CPU cores, no GPU, no network.*

# %%
import copy
import time

import matplotlib.pyplot as plt
import numpy as np
import torch

import tlcourse
from tlcourse import data, metrics, models, plots, taxonomy, training
from tlcourse.studies import load_study
from tlcourse.transferability import (
    leep,
    log_me,
    rank_correlation,
    transfer_gain,
)

plots.use_style()
tlcourse.seed_everything(0)
study = load_study("why_transfer")
spent = {}  # seconds of training, for section 7

# %% [markdown]
# ## 1. The bargain
#
# You want to read Greek letters and have five labelled examples of each. You also
# have thousands of labelled Latin letters. They answer another question, but
# whoever can tell `b` from `d` has learnt something about strokes, loops and slant.
#
# **Transfer learning** is the attempt to carry that over. It pays when labels are
# scarce and the two problems share something. It can also hurt, and this chapter
# measures both.

# %%
latin = data.load("glyphs", script="latin", face="all", size=16, seed=100)
greek = data.load("glyphs", script="greek", face="all", size=16, seed=0)
title = "Two rows of Latin, the source; two rows of Greek, the target"
pictures = torch.cat([latin.x[:24], greek.x[:24]])
figure = plots.image_grid(pictures, columns=12, title=title)

# %% [markdown]
# ## 2. Domain, task, transfer
#
# A **domain** $D = \{\mathcal X, P(X)\}$ is a space of inputs and a distribution on
# it. Here $\mathcal X = [0, 1]^{16 \times 16}$, and $P(X)$ says which pictures
# occur.
#
# A **task** $T = \{\mathcal Y, P(Y|X)\}$ is a space of labels and a rule that gives
# the label of an input: 26 Latin letters, or 24 Greek ones.
#
# The **source** is $(D_S, T_S)$ and the **target** $(D_T, T_T)$. Domains differ when
# $\mathcal X$ or $P(X)$ differ, tasks when $\mathcal Y$ or $P(Y|X)$ differ
# (Pan and Yang, 2010, section 2.2).

# %% [markdown]
# A model $f_\theta : \mathcal X \to \mathbb R^{c}$ gives one score per class. What
# counts is its **target risk**, the expected loss on target data,
#
# $$R_T(f) = \mathbb E_{(x, y) \sim P_T}\big[\ell(f(x), y)\big].$$
#
# An algorithm $A$ gets $n$ labelled target samples $L_T$, and perhaps the source
# $S$. **Transfer** helps when $R_T(A(S, L_T)) < R_T(A(\varnothing, L_T))$, and is
# **negative** when the sign turns round (Wang et al., 2019).
#
# Mind what is compared: the same labels, network and number of steps, with and
# without the source. $A$ is the whole recipe: with a source it may freeze the body,
# without one it trains everything. "Bad accuracy" alone is not negative transfer.

# %% [markdown]
# ### Against traditional machine learning
#
# | | traditional | transfer |
# |---|---|---|
# | data | training and test from one $P(X, Y)$ | source and target differ |
# | algorithm | starts from nothing | starts from source data or a source model |
# | task | one, known beforehand | at least two; the target may come years later |
# | fails by | too few labels | too few labels, or too distant a source |
#
# *Supervised* learning uses labels of the target alone, *unsupervised* learning
# none, *semi-supervised* learning adds unlabelled samples **of the same
# distribution**. Transfer gives up exactly that last condition.

# %% [markdown]
# ## 3. Taxonomies, and where they disagree
#
# **Pan and Yang (2010)** ask first whether the tasks differ:
#
# | setting | tasks | labels in source | labels in target |
# |---|---|---|---|
# | inductive | differ | any | yes |
# | transductive | same (domains differ) | yes | no |
# | unsupervised | differ | no | no |
#
# **Zhuang et al. (2021)** ask only who has labels: the target (inductive), the
# source alone (transductive), nobody (unsupervised).
#
# Both use the same three words. So "transductive" in one paper need not be so in
# the next.

# %%
facts = dict(same_feature_space=True, same_label_space=True)
for domain, task in [(True, False), (False, True), (True, True)]:
    facts |= dict(same_marginal=not domain, same_conditional=not task)
    for source, target in [(0, 0), (1, 0), (0, 1), (1, 1)]:
        labels = dict(source_labels=source, target_labels=target)
        name = taxonomy.classify_scenario(**facts, **labels)
        print(f"{name['change']:24} labels: source {source} target {target}  "
              f"by task {name['by_task']:12} by labels {name['by_labels']}")

# %% [markdown]
# By task, three common cases have no name: supervised domain adaptation (one task,
# labels on both sides), a new task with labels in the source alone, and everything
# with one task and no source labels. Say which facts hold; do not lean on the word.
#
# More words you will meet. **Intra-domain**: $D_S = D_T$, only the task differs
# (**task transfer**). **Inter-domain**: the domains differ; with one task this is
# **domain adaptation**. **Heterogeneous**: the feature spaces differ, say text and
# pictures (Weiss et al., 2016).

# %% [markdown]
# ```mermaid
# flowchart TD
#   A[Source and target] --> B{Does P of Y given X differ?}
#   B -- no --> C{Does P of X differ?}
#   C -- no --> D[Traditional learning]
#   C -- yes --> E[Domain adaptation]
#   B -- yes --> F{Does P of X differ?}
#   F -- no --> G[Task transfer]
#   F -- yes --> H[Domain and task transfer]
#   E --> I[chapters 06, 07]
#   G --> J[chapters 03, 04, 08]
#   H --> J
# ```

# %% [markdown]
# ### What moves
#
# | what moves | example | in this course |
# |---|---|---|
# | instances | source samples, re-weighted | chapter 06 |
# | features | a map $\varphi$ whose outputs suit both | 03, 07, 09 |
# | parameters | weights as a starting point | 04, 05 |
# | structure | relations, rules, a similarity | 08, 10 |
#
# **Feature** transfer keeps a representation and learns a new model on it.
# **Model** transfer goes on training the model itself. If the architecture is
# shared, weights can be copied; if it changed, only outputs or features can move
# (distillation, chapter 08).

# %% [markdown]
# ## 4. When does it pay? A sum by hand
#
# The smallest case there is: estimate a mean $\mu_T \in \mathbb R$ from $n$ target
# values of variance $\sigma^2$. A source offers its own mean $\mu_S$, off by an
# unknown $\delta = \mu_S - \mu_T$. Mix the two with a weight $w \in [0, 1]$,
#
# $$\hat\mu = (1 - w)\,\bar x + w\,\mu_S, \qquad
# \mathbb E(\hat\mu - \mu_T)^2 =
# (1-w)^2 \frac{\sigma^2}{n} + w^2\delta^2,$$
#
# since $\bar x$ has variance $\sigma^2/n$ and no bias, and $\mu_S$ has bias
# $\delta$ and no variance. $w = 0$ is **scratch**, $w = 1$ a **frozen** source,
# in between lies **fine-tuning**.

# %% [markdown]
# Scratch errs by $\sigma^2/n$, frozen by $\delta^2$. They break even at
#
# $$n^\ast = \sigma^2 / \delta^2.$$
#
# Setting the derivative to 0, the best mix is
# $w^\ast = \frac{\sigma^2/n}{\sigma^2/n + \delta^2}$, with error
# $\big(\frac{n}{\sigma^2} + \frac{1}{\delta^2}\big)^{-1}$: precisions add, so it
# beats both for every $n$.
#
# By hand, $\sigma = 1$ and $\delta = \frac12$: $n^\ast = 4$. With $n = 1$ scratch
# errs by 1, frozen by $\frac14$, the best mix ($w^\ast = \frac45$) by $\frac15$.
# With $n = 16$ the frozen source still errs by $\frac14$, scratch by
# $\frac1{16}$: **negative transfer**.

# %%
n, sigma, delta = np.array([1, 2, 4, 8, 16, 32, 64]), 1.0, 0.5
rng = np.random.default_rng(0)
noise = rng.normal(0, sigma / np.sqrt(n), (20_000, len(n)))  # error of x-bar
w = (sigma**2 / n) / (sigma**2 / n + delta**2)  # the best mix
errors = {"scratch": noise, "frozen": delta + 0 * noise,
          "best mix": (1 - w) * noise + w * delta}
mse = {name: (error**2).mean(0) for name, error in errors.items()}
theory = 1 / (n / sigma**2 + 1 / delta**2)
assert np.allclose(mse["best mix"], theory, rtol=0.05)
assert mse["frozen"][-1] > mse["scratch"][-1]

# %%
axis = dict(xlabel="target samples n", ylabel="mean squared error / σ²")
title = "Copying the source pays up to n* = 4, mixing always"
plots.learning_curve(n, mse, title=title, log_x=True, **axis)
plt.axvline(sigma**2 / delta**2, color="black", ls=":", lw=1)
plt.yscale("log")

# %% [markdown]
# Three lessons to look for again in networks:
#
# 1. Transfer is worth most when labels are few. The lead of the best mix over
#    scratch, $\frac{(\sigma^2/n)^2}{\sigma^2/n + \delta^2}$, melts as $n$ grows.
# 2. A frozen source has a floor, its bias. With enough labels it loses.
# 3. Letting go in the right measure never loses. But the right measure needs
#    $\delta$, which nobody tells you. All of chapter 04 is about choosing $w$.

# %% [markdown]
# ## 5. Pretrain, adapt, test
#
# ```mermaid
# flowchart LR
#   S[Source data] -->|pretrain| P[Source model]
#   P -->|new head| A[Adapt]
#   K[k labels per class] --> A
#   A --> M[Target model]
#   M -->|once| T[Test set apart]
# ```
#
# A network is a body $\varphi_\theta : \mathcal X \to \mathbb R^d$ and a head
# $W \in \mathbb R^{c \times d}$. Pretraining fits both to the source. The Latin
# head is then useless; the body is what we hope to keep.

# %%
torch.manual_seed(0)
net, start = models.small_resnet(len(latin.classes)), time.perf_counter()
training.fit(net, latin, epochs=4, lr=3e-3, progress=False)
spent["pretrain"] = time.perf_counter() - start
print(f"{len(latin)} Latin pictures, {net.feature_dim} features")

# %% [markdown]
# The target data are cut once, before anything else: a pool from which labels are
# bought, and a test set that is looked at once per method. **k-shot** means $k$
# labelled samples per class; they are called the *support*.
#
# **Scratch** comes first: the same network, the same number of steps, random
# weights. Without it no number below would mean anything. Learning rates are those
# of a short pilot: one for scratch and fine-tuning, a larger one for the probe's
# head. The pilot looked at test accuracy on two seeds; a validation split would have
# been cleaner, and section 12 asks whether that cheats scratch.

# %%
pool, test = greek.split(0.5, 0.5, seed=0)
support, _ = pool.few_shot(5, seed=0)
options = dict(batch_size=32, epochs=40, seed=0, progress=False)
print(f"{len(support)} labelled, {len(test)} to test, 24 classes")

# %%
torch.manual_seed(0)
new, start = models.small_resnet(24), time.perf_counter()
training.fit(new, support, lr=3e-3, **options)
spent["scratch"] = time.perf_counter() - start
accuracy = {"scratch": training.evaluate(new, test).accuracy}

# %% [markdown]
# **Probe**: freeze the body, fit a new linear head on its features $z =
# \varphi_\theta(x) \in \mathbb R^{64}$, each scaled to deviation 1. That is $w = 1$
# of the sum above. The net is in eval mode (BatchNorm uses stored statistics,
# chapter 03), as `fit` left it.
#
# **Fine-tune**: replace the head, train everything. The weights start at the source
# and drift as far as 160 steps let them.

# %%
start = time.perf_counter()
with torch.no_grad():
    z, spent["probe"] = net.features(support.x), time.perf_counter() - start
    z_test = net.features(test.x)  # (1200, 64)
z, z_test = ((f - z.mean(0)) / (z.std(0) + 1e-3) for f in (z, z_test))

# %%
torch.manual_seed(0)
head, start = torch.nn.Linear(net.feature_dim, 24), time.perf_counter()
training.fit(head, (z, support.y), lr=1e-2, **options)
spent["probe"] += time.perf_counter() - start
accuracy["probe"] = training.evaluate(head, (z_test, test.y)).accuracy

# %%
torch.manual_seed(0)
tuned, start = models.replace_head(copy.deepcopy(net), 24), time.perf_counter()
training.fit(tuned, support, lr=3e-3, **options)
spent["finetune"] = time.perf_counter() - start
accuracy["finetune"] = training.evaluate(tuned, test).accuracy

# %%
for method, source in zip(accuracy, ["none", "latin", "latin"], strict=True):
    arm = dict(source=source, method=method, shots=5)
    expected = metrics.mean_interval(study.values("accuracy", **arm))
    print(f"{method:9} here {accuracy[method]:.3f}   study {expected}")
    assert study.holds("accuracy", accuracy[method], **arm)

# %% [markdown]
# One seed proves little. The **study** beside this lesson (`study.py`) did the same
# with 5 seeds: new weights, new pictures, new supports, the same ones for every
# method. Its numbers stand in `results.json`; brackets are 95 % t-intervals of
# the mean over seeds. A single run scatters more widely; yours lies in the range that
# these seeds predict, or the cell would have stopped.
#
# ## 6. Learning curves
#
# **Predict first.** A probe gets *one* label per class. How many labels per class
# does training from scratch need to reach the same accuracy? Change the number,
# then open the figure.

# %%
my_guess = 3

# %%
SHOTS, FEW = (1, 2, 5, 10, 20), (1, 5, 20)


def accuracies(source, method, shots=FEW):  # (5 seeds, number of shots)
    arms = [dict(source=source, method=method, shots=k) for k in shots]
    return np.stack([study.values("accuracy", **arm) for arm in arms], axis=1)

# %% fold=true
scratch = accuracies("none", "scratch", SHOTS)
probe, tune = (accuracies("latin", m, SHOTS) for m in ("probe", "finetune"))
curves = {"fine-tune": tune, "probe": probe, "scratch": scratch}
title = "Latin to Greek: probe first, fine-tune later, scratch last"
axis = dict(xlabel="labels per class", ylabel="test accuracy", log_x=True)
plots.learning_curve(SHOTS, curves, title=title, **axis)
needed = np.exp(np.interp(probe[:, 0].mean(), scratch.mean(0), np.log(SHOTS)))
print(f"Scratch needs {needed:.1f} labels per class to equal a probe with "
      f"one; you guessed {my_guess}.")
assert (probe[:, :3] > scratch[:, :3]).all() and needed > 2

# %%
for column, k in enumerate(SHOTS):
    gap = metrics.paired_difference(tune[:, column], probe[:, column])
    print(f"{k:2} labels per class: fine-tune minus probe {gap}")
assert (tune[:, 0] < probe[:, 0]).all()
assert (tune[:, -1] > probe[:, -1]).all()

# %% [markdown]
# The transfer curves cross. As in section 4, 160 steps of fine-tuning are
# *one* mix, not the best. With few labels they let go too far and the frozen body
# leads; with many, its bias costs more.
#
# ### One number: transfer gain
#
# Let $a_T(n)$ and $a_S(n)$ be the accuracies with and without transfer. The
# **transfer gain** is the area between the curves over $u = \ln n$, divided by the
# width:
#
# $$G = \frac{1}{\ln n_m - \ln n_1} \int_{\ln n_1}^{\ln n_m}
# \big(a_T - a_S\big)\,du.$$
#
# Why the logarithm? Labels are bought in multiples: from 1 to 2 and from 10 to 20
# both double the bill, so both should weigh the same. A linear axis gives over half
# its width to the last doubling, where the lead is smallest. $G$ is an average
# difference in accuracy.

# %%
for name, curve in [("probe", probe), ("fine-tune", tune)]:
    gains = transfer_gain(SHOTS, curve, scratch)  # (5,), one per seed
    print(f"{name:9} gain {metrics.mean_interval(gains)}")
    lead = (curve - scratch)[:, 1:] + (curve - scratch)[:, :-1]  # per stretch
    assert (gains > 0.1).all() and (lead[:, -1:] < lead[:, :-1]).all()

# %% [markdown]
# ## 7. What it costs
#
# Transfer is a trade: pay once for a source model, save on every target. Count all
# four currencies: **data** and **labels** (people), **compute** (seconds) and
# **energy** (seconds times watts). Pretraining is shared by all later targets, so
# its price is divided by the number of targets; labels are bought anew each time.
#
# Adapting is not cheaper than scratch when everything is trained: fine-tuning takes
# the same steps through the same network. The probe is cheap, because the body runs
# once per picture. What transfer mainly saves is **labels**.

# %%
reach = np.exp(np.interp(probe.mean(0)[2], scratch.mean(0), np.log(SHOTS)))
print(f"A probe with 5 labels per class equals scratch with {reach:.0f}: "
      f"{24 * (reach - 5):.0f} labels saved over 24 classes.")
watts = 15  # an assumption: one busy laptop core with its share of the machine
for name, seconds in spent.items():
    print(f"{name:9} {seconds:5.1f} s  {seconds * watts:5.0f} J")

# %% [markdown]
# ## 8. How far may the source be?
#
# Same target, other sources: five scripts and the digits, and Latin changed in four
# ways. **Rotated** by 90 degrees, **inverted** (black for white), **scrambled** (one
# fixed permutation of the pixels), or with **random labels** (pictures untouched,
# labels shuffled).
#
# As a distance between $P_S(X)$ and $P_T(X)$ take the **energy distance** of the
# pictures as vectors, 0 when the distributions are equal:
#
# $$\mathcal E = 2\,\mathbb E\lVert x_S - x_T\rVert
# - \mathbb E\lVert x_S - x_S'\rVert - \mathbb E\lVert x_T - x_T'\rVert.$$
#
# A prime marks a second, independent picture.
#
# The **rank correlation** (Spearman) is the correlation of ranks: 1 for the same
# order, −1 for the reverse. Its brackets come from resampling the sources.

# %%
sources = [a["source"] for a in study.arms if a["method"] == "before"]
base = accuracies("none", "scratch")
gain = {s: transfer_gain(FEW, accuracies(s, "probe"), base) for s in sources}
gain = {s: g.mean().item() for s, g in gain.items()}


def before(metric):  # what was known of each source before training
    arms = {s: dict(source=s, method="before") for s in sources}
    return {s: study.values(metric, **arms[s]).mean() for s in sources}

# %%
left, above, below = (-6, -3, "right"), (-2, 6, "right"), (0, -11, "center")
aside = {"latin, one face": left, "latin, inverted": left, "armenian": below,
         "latin, 12 epochs": above, "latin, 1 epoch": left}


def scatter(x, ax, names, **labels):
    for name in names:
        changed = "," in name  # dots: changed Latin; squares: scripts
        ax.plot(x[name], gain[name], "so"[changed], color=f"C{2 * changed}")
        *shift, side = aside.get(name, (6, -3, "left"))
        ax.annotate(name.removeprefix("latin, "), (x[name], gain[name]), shift,
                    textcoords="offset points", ha=side, fontsize=7)
    ax.axhline(0, color="black", lw=0.8, ls="-")
    ax.margins(x=0.12, y=0.1)
    ax.set(ylabel="transfer gain of a probe", **labels)

# %%
distance, shown = before("distance"), sources[:10]
title = "Farther inputs, less gain; random labels are the exception"
ax = plt.figure(figsize=(6, 3.4)).gca()
scatter(distance, ax, shown, title=title)
ax.set(xscale="log", xlabel="energy distance to Greek, grey values (log)")
for label, names in [("ten sources", shown), ("no random labels", shown[:-1])]:
    pairs = [distance[s] for s in names], [gain[s] for s in names]
    print(f"rank correlation, {label}: {rank_correlation(*pairs)}")
assert shown[-1] == "latin, random labels"
assert rank_correlation(*pairs).high < 0

# %% [markdown]
# Distance between inputs tells part of the story (and scripts differ in classes and
# typefaces too, so ten points prove little). It is blind to the task: Latin with
# random labels is as near to Greek as Latin itself, and worthless. The theory
# of chapter 06 (Ben-David et al., 2010, theorem 2) has the same two parts: how far
# the inputs are, *and* how well one rule can serve both.
#
# ## 9. Negative transfer
#
# Which of these sources are worse than no source at all? Two ways of using them:
# the body frozen, and fine-tuned with the same number of steps as scratch.

# %%
figure, axes = plt.subplots(1, 2, figsize=(7.8, 3.1), sharey=True)
bad = ["latin, inverted", "latin, scrambled", "latin, random labels"]
axis = dict(xlabel="labels per class", ylabel="test accuracy", log_x=True)
for ax, method in zip(axes, ["probe", "finetune"], strict=True):
    curves = {"scratch": base} | {s: accuracies(s, method) for s in bad}
    plots.learning_curve(FEW, curves, title=method, ax=ax, **axis)
axes[0].set_title("Frozen, bad sources hurt ...")
axes[1].set_title("... tuned, most of the harm is repaired")

# %%
realised = {}
for method in ["probe", "finetune"]:
    for source in bad:
        found = transfer_gain(FEW, accuracies(source, method), base).numpy()
        realised[method, source] = found
        print(f"{method:8} {source:20} gain {metrics.mean_interval(found)}, "
              f"negative in {(found < 0).sum()} of 5 seeds")
assert all((realised["probe", source] < 0).all() for source in bad)
assert (realised["finetune", bad[0]] > 0).all()
assert (realised["finetune", bad[1]] < 0).sum() >= 4
assert abs(realised["finetune", bad[2]].mean()) < 0.03

# %% [markdown]
# Frozen, all three lose in every seed. Fine-tuned, the picture is mixed. Likely
# reasons:
#
# - **Inverted** recovers and even gains. Its strokes have the wrong sign, but they
#   are strokes; a few steps turn them round.
# - **Random labels** taught nothing about classes: no clear gain, no clear loss.
# - **Scrambled** pictures have no neighbourhoods. What a convolution learnt on them
#   has to be unlearnt, and 160 steps are not enough.
#
# So "negative" is a property of source, target, *method* and number of labels
# together. Whoever reports it must name all four.
#
# ## 10. Choosing a source before training
#
# A hub offers many source models. A **transferability score** looks at each once,
# without training. It needs labelled target samples, here 20 per class.

# %% [markdown]
# Three sources join the ten: Latin in one typeface, and Latin pretrained for 1 and
# for 12 epochs.
#
# **LEEP** (Nguyen et al., 2020). The source model says what it sees in
# its own words: $\theta(x)_z$ is its probability of source class $z$. From $n$
# labelled target samples count, softly, which class goes with which word, and
# predict with that table:
#
# $$\hat P(y, z) = \tfrac1n \textstyle\sum_{i: y_i = y} \theta(x_i)_z, \qquad
# \mathrm{LEEP} = \tfrac1n \sum_i \log \sum_z \hat P(y_i | z)\,\theta(x_i)_z.$$
#
# By hand: two samples of classes 0 and 1. The source says $(1, 0)$ to the first,
# $(\frac12, \frac12)$ to the second. Word 0 has mass $\frac32$, of which 1 belongs
# to class 0: $\hat P(0|z{=}0) = \frac23$. Word 1 belongs to class 1 alone. The
# first sample is predicted with $\frac23$, the second with
# $\frac12\cdot\frac13 + \frac12\cdot 1 = \frac23$. LEEP is $\log\frac23$.

# %%
words = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
score = leep(words, torch.tensor([0, 1]))
print(f"LEEP {score:.4f}, log(2/3) {np.log(2 / 3):.4f}")
assert abs(score - np.log(2 / 3)) < 1e-6

# %% [markdown]
# **Between which bounds does it lie?** Take any table $k(y|z)$ as a head on top of
# the words; its log-likelihood is
# $\ell(k) = \frac1n\sum_i \log\sum_z k(y_i|z)\,\theta(x_i)_z$. EM
# (expectation–maximisation) improves it: share each sample among the words,
# $r_{iz} \propto k(y_i|z)\,\theta(x_i)_z$, then count.
#
# Start from a table that ignores the word, $k(y|z) = \hat P(y)$. Then $r_{iz} =
# \theta(x_i)_z$, and counting gives exactly $\hat P(y|z)$. So **LEEP is one step of
# EM**. EM never lowers $\ell$, and the start has $\ell = -H(Y)$, the entropy of the
# $n$ labels. Hence
#
# $$-H(Y) \;\le\; \mathrm{LEEP} \;\le\; \max_k \ell(k) \;\le\; 0.$$

# %% [markdown]
# **LogME** (You et al., 2021) needs no source classes, only features $F \in
# \mathbb R^{n \times d}$. For each class let $t \in \{0,1\}^n$ mark its samples and
# model $t = Fw + \varepsilon$ with $w \sim N(0, \alpha^{-1} I_d)$ and $\varepsilon
# \sim N(0, \beta^{-1} I_n)$. Integrating $w$ out leaves a Gaussian,
#
# $$t \sim N\big(0,\; C\big), \qquad C = \beta^{-1} I_n + \alpha^{-1} F F^\top,$$
#
# whose log density is the **evidence**. LogME is its maximum over $\alpha, \beta >
# 0$, divided by $n$, averaged over classes. Fitting well is rewarded, flexibility
# is charged ($\ln|C|$ grows), so no validation set is needed.
#
# By hand: $F = (1, 1)^\top$, $t = (1, 0)^\top$. $C$ has the axes $(1, 1)$ and
# $(1, -1)$ with variances $\beta^{-1} + 2\alpha^{-1}$ and $\beta^{-1}$; $t$ has the
# square $\frac12$ along each. A Gaussian fits best with variance $\frac12$ on both:
# $\beta = 2$, $\alpha \to \infty$. A constant feature says nothing about $t$, and
# LogME finds out. Then
# $\mathcal L/n = -\frac12(\ln\frac12 + 1 + \ln 2\pi) = -\frac12(1 + \ln\pi)$.

# %%
score = log_me(torch.ones(2, 1), torch.tensor([0, 1]))
print(f"LogME {score:.4f}, by hand {-(1 + np.log(np.pi)) / 2:.4f}")
assert abs(score + (1 + np.log(np.pi)) / 2) < 1e-3

# %%
labelled, _ = pool.few_shot(20, seed=0)  # now the Latin network itself
words = training.predict(net, labelled).softmax(1)  # (480, 26)
with torch.no_grad():
    z = torch.cat([net.features(labelled.x), torch.ones(480, 1)], dim=1)
live = {"leep": leep(words, labelled.y), "log_me": log_me(z, labelled.y)}
for name, value in live.items():
    print(f"{name:6} of the Latin network: {value:.3f}")
    assert study.holds(name, value.item(), source="latin", method="before")
assert -np.log(24) <= live["leep"] <= 0

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.5), sharey=True)
unit = {"leep": "LEEP, nats", "log_me": "LogME, nats per sample"}
for ax, (name, xlabel) in zip(axes, unit.items(), strict=True):
    found = rank_correlation([*before(name).values()], [*gain.values()])
    scatter(before(name), ax, sources, xlabel=xlabel)
    ax.set_title(f"{xlabel.split(',')[0]} ranks the gains: {found}")
    assert found.low > 0.5

# %% [markdown]
# Careful: an easy part of that correlation is telling ruined sources from sound
# ones, which nobody needs a score for. The hard question is which of several *sound*
# sources is best. Leave out the three ruined ones and look again.
#
# Whatever comes out speaks of these sources and of a **linear probe**, the very
# thing that LogME models. It promises little for fine-tuning or for another target.
# Use a score to drop the worst, then try the best few on a handful of labels.

# %%
sound = [s for s in sources if s not in sources[7:10]]
assert gain["latin, rotated"] > 0
for name in unit:
    score = [before(name)[s] for s in sound]
    found = rank_correlation(score, [gain[s] for s in sound])
    print(f"{name:6} over {len(sound)} sound sources: {found}")
    pick = sound[int(np.argmax(score))]
    print(f"       picks {pick!r} with gain {gain[pick]:+.3f}; "
          f"the best has {max(gain.values()):+.3f}")

# %% [markdown]
# ## 11. Where it is used
#
# | field | source → target | what moves | how it fails |
# |---|---|---|---|
# | vision | photos → your parts catalogue | body weights | textures unlike photos |
# | language | web text → support tickets | encoder | jargon, other language |
# | speech | many speakers → one accent | encoder | channel, noise |
# | recommendation | one shop → a new one | item features | other customers |
# | health | one hospital → the next | features | scanner, who is sent there |
# | industry | one machine → its successor | model | rare faults differ |
# | finance | old market → new product | model | the rule itself changes |

# %% [markdown]
# **It pays when** target labels are few or dear, the source is large and shares
# structure with the target, and the model can be checked on target data.
#
# **It does not when** target labels are plenty, source and target share too little,
# the source may not be used (licence, privacy), or nobody can measure the target.
# A frozen model of unknown origin also carries its source's blind spots with it.

# %% [markdown]
# ## 12. The chapter's knobs
#
# Every row changes one thing of a reference run: fine-tuning from Latin, 4 epochs
# of pretraining, 22 typefaces, 5 labels per class. Effects are paired over seeds.
#
# The last two rows change scratch instead, as a fairness check: perhaps it was only
# badly tuned? It was, a little. Such rows belong in every comparison of this kind.

# %%
def at5(method, source="latin"):
    return study.values("accuracy", source=source, method=method, shots=5)


reference, none = at5("finetune"), at5("scratch", "none")
knobs = {
    "pretrain at all (against scratch)": (reference, none),
    "freeze the body (probe)": (at5("probe"), reference),
    "body learns 10 times slower": (at5("finetune+slow body"), reference),
    "augment the few labels": (at5("finetune+augment"), reference),
    "3 times the steps": (at5("finetune+3x steps"), reference),
    "pretrain 1 epoch": (at5("finetune", "latin, 1 epoch"), reference),
    "pretrain 12 epochs": (at5("finetune", "latin, 12 epochs"), reference),
    "pretrain on one face": (at5("finetune", "latin, one face"), reference),
    "scratch: 3 times the learning rate": (at5("scratch+3x lr", "none"), none),
    "scratch: 3 times the steps": (at5("scratch+3x steps", "none"), none),
}
effects = {k: metrics.paired_difference(*pair) for k, pair in knobs.items()}
assert effects["scratch: 3 times the learning rate"].low > 0

# %%
title = "Five labels per class: what each choice changes"
plots.effect_table(effects, title=title, xlabel="difference in test accuracy")
fair = max(at5(f"scratch+3x {k}", "none").mean() for k in ("lr", "steps"))
print(f"The lead over best-tuned scratch is {reference.mean() - fair:+.3f}.")
assert reference.mean() - fair > 0.1 and effects["pretrain 1 epoch"].high < 0

# %% [markdown]
# ## Recap
#
# - Domain = inputs and their distribution; task = labels and their rule. Say which
#   of the four differ, and who has labels.
# - Transfer gain is measured against the *same* training without the source, on
#   paired seeds, over a log axis of labels.
# - Few labels: freeze. More labels: let go. In between lies a best mix.
# - Input distance is blind to the task. LEEP and LogME look at labels too: filters,
#   not judges.
# - Negative transfer belongs to source, target, method and number of labels.
#
# Now open `exercises.ipynb`.

# %% quiz=true

# %% [markdown]
# ## Sources
#
# - S. J. Pan, Q. Yang. *A survey on transfer learning.* IEEE TKDE 22, 2010.
# - K. Weiss, T. Khoshgoftaar, D. Wang. *A survey of transfer learning.* Journal of
#   Big Data 3, 2016.
# - F. Zhuang et al. *A comprehensive survey on transfer learning.* Proceedings of
#   the IEEE 109, 2021.
# - Z. Wang et al. *Characterizing and avoiding negative transfer.* CVPR 2019.
# - S. Ben-David et al. *A theory of learning from different domains.* Machine
#   Learning 79, 2010.
# - C. Nguyen et al. *LEEP: a new measure to evaluate transferability of learned
#   representations.* ICML 2020.
# - K. You et al. *LogME: practical assessment of pre-trained models for transfer
#   learning.* ICML 2021.
# - C. Bishop. *Pattern recognition and machine learning*, section 3.5. 2006.
