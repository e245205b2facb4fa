# %% [markdown]
# # Losses
#
# **You will be able to** derive the losses of transfer learning, write them so that
# they are stable, pull a model towards its source, and train and evaluate without
# the classic mistakes.
#
# *Needs:* chapter 01, derivatives, PyTorch tensors. *Minutes:* 150. *Timed on two
# CPU cores, no GPU, no network.*
#
# A loss says what we want. Everything a network learns, and everything it forgets,
# is what the loss asked for. This chapter takes the losses one by one: where the
# formula comes from, what its gradient does, and whether it keeps its promise on
# real data. Not all of them do.

# %%
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import tlcourse
from tlcourse import data, losses, models, plots, training
from tlcourse.metrics import mean_interval, paired_difference
from tlcourse.studies import load_study

device = tlcourse.device()
tlcourse.seed_everything(0)
plots.use_style()
study = load_study("losses")

# %% [markdown]
# ## 1. Risk
#
# Samples $(x, y)$ come from a distribution $P$; the network $f_\theta$ gives outputs,
# the loss $\ell$ one number. What we want small is the **risk**, an expectation. What
# we can compute is the **empirical risk**, a mean over $n$ samples:
#
# $$R_P(\theta) = \mathbb E_{(x,y)\sim P}\;\ell(f_\theta(x), y), \qquad
#   \hat R(\theta) = \frac1n\sum_{i=1}^n \ell(f_\theta(x_i), y_i).$$
#
# (Vapnik, 1991.) In transfer there are two distributions, source $P_s$ and target
# $P_t$. We want $R_{P_t}$, have few samples of it, and many of $P_s$. So we add
# what the source knows (section 3), or learn from a model (section 4).
#
# Ask two questions about every loss. **What is its gradient?** It says what a step
# does. **What is it a mean over?** Samples, pairs, triplets: with a sum, their number
# changes the step size.

# %% [markdown]
# ## 2. Cross-entropy
#
# The network's last layer gives **logits** $z \in \mathbb R^K$, one real number per
# class. Softmax makes them a distribution $p$. The likelihood of the true class $y$
# is $p_y$, and the loss its negative log:
#
# $$p_k = \frac{e^{z_k}}{\sum_j e^{z_j}}, \qquad
#   \ell(z, y) = -\log p_y = \log\sum_j e^{z_j} - z_y .$$
#
# Confident and right costs almost nothing, confident and wrong costs a lot.
#
# The sum overflows: $e^{89}$ is already too large for float32. But a constant $m$ can
# be pulled out, and with $m = \max_j z_j$ no exponent is above 0:
#
# $$\log\sum_j e^{z_j} = m + \log\sum_j e^{z_j - m}.$$

# %%
z = torch.tensor([[1000.0, 999.0, 0.0]])
naive = (z.exp() / z.exp().sum()).log()
stable = z - z.logsumexp(dim=1, keepdim=True)
print("naive", (-naive[0]).tolist(), "stable", (-stable[0]).tolist())
assert naive.isnan().any() and stable.isfinite().all()

# %% [markdown]
# ### The gradient by hand
#
# Differentiate both terms with respect to one logit. The first gives softmax again,
# the second gives 1 where $j$ is the true class:
#
# $$\frac{\partial \ell}{\partial z_j}
#   = \frac{e^{z_j}}{\sum_k e^{z_k}} - [j = y] = p_j - [j = y].$$
#
# *Predicted minus wanted.* It lies between −1 and 1, sums to 0 over the classes, and
# vanishes only when $p$ is the wanted distribution.
#
# By hand: $z = (2, 0, 0)$, $y = 0$. $p = (0.787, 0.107, 0.107)$, so the gradient is
# $(-0.213, 0.107, 0.107)$: push class 0 up, the others down.

# %%
z = torch.tensor([[2.0, 0.0, 0.0]], requires_grad=True)
losses.cross_entropy(z, torch.tensor([0])).backward()
by_hand = z.detach().softmax(1) - F.one_hot(torch.tensor([0]), 3)
torch.testing.assert_close(z.grad, by_hand)
print("autograd and hand agree:", z.grad[0].numpy().round(3))

# %% [markdown]
# ### Label smoothing
#
# With one-hot targets the loss always wants $z_y$ still larger. **Label smoothing**
# (Szegedy et al., 2016, section 7) mixes the label with the uniform distribution:
#
# $$q_k = (1-\varepsilon)\,[k=y] + \frac{\varepsilon}{K}, \qquad
#   \ell = -\sum_k q_k \log p_k, \qquad
#   \frac{\partial\ell}{\partial z_k} = p_k - q_k .$$
#
# Now the wish is finite. The optimum is $p = q$, reached when the true logit lies
# $\log(q_y / q_j)$ above the others. For $K=10$, $\varepsilon=0.1$ that is
# $\log(0.91/0.01) = 4.5$, a confidence of 0.91.

# %%
gap = np.log(0.91 / 0.01)
logits = (gap * F.one_hot(torch.tensor([3]), 10)).requires_grad_()
losses.label_smoothing_ce(logits, torch.tensor([3]), smoothing=0.1).backward()
print(f"gap {gap:.2f}: largest gradient {logits.grad.abs().max():.0e}")
assert logits.grad.abs().max() < 1e-6

# %% [markdown]
# ### Predict first: does smoothing calibrate?
#
# A classifier is **calibrated** if, of all its answers given with confidence 0.8,
# 80 % are right. The *expected calibration error* (ECE; Guo et al., 2017, eq. 3) is
# the mean gap between confidence and accuracy, over bins of confidence.
#
# It is often said that label smoothing improves calibration. We train a small ResNet
# from scratch on 20 real handwritten digits per class, with
# $\varepsilon = 0, 0.1, 0.3$, five seeds each. What happens to ECE from
# $\varepsilon = 0$ to $0.1$? Write `"better"`, `"same"` or `"worse"`.

# %%
my_guess = "better"

# %% fold=true
amounts = [0.0, 0.1, 0.3]
ece = np.stack([study.values("ece", smoothing=e) for e in amounts], 1)
right = np.stack([study.values("accuracy", smoothing=e) for e in amounts], 1)
plots.learning_curve(
    amounts,
    {"calibration error (ECE)": ece, "error rate": 1 - right},
    title="Smoothing here: as many errors, worse calibration",
    xlabel="smoothing ε (share of the label)",
    ylabel="error (share, 0 to 1)",
)
worse = paired_difference(ece[:, 1], ece[:, 0])
print(f"ECE from 0 to 0.1: {worse}. You guessed {my_guess!r}.")
assert worse.wins == 5 and worse.low > 0 and ece[:, 0].max() < 0.05
assert (ece[:, 1] > 2 * (1 - right[:, 1])).all()  # mostly underconfident

# %% [markdown]
# The folklore is about large networks that are far too sure of themselves. This one
# is about as sure as it is right. Smoothing rewards no confidence above
# $1-\varepsilon+\varepsilon/K$, however right the network is, and makes it
# *under*confident. That is certain: too much confidence adds at most the error rate
# to the ECE, and the ECE is more than twice the error rate. So too little confidence
# has the larger share.
#
# Smoothing is a remedy: measure first whether there is an illness. Müller et al.
# (2019) found another price: such networks are worse teachers for distillation.

# %% [markdown]
# ### Two relatives: focal, Huber
#
# When easy samples are the great majority, their small losses drown the hard ones.
# **Focal loss** (Lin et al., 2017, eq. 4) weighs a sample by how wrong it is, $p$ being
# the probability of its true class; $\gamma = 0$ is cross-entropy:
#
# $$\ell = -(1-p)^\gamma \log p .$$
#
# For targets that are **numbers**, assume a noise and take the negative log-likelihood
# again. Gaussian noise gives $(f-y)^2$, whose best constant is the mean; Laplace noise
# gives $|f-y|$ and the median. **Huber's loss** (1964) is quadratic up to $\delta$
# and linear beyond: no outlier pulls harder than $\delta$. For $1, 2, 3, 4, 100$ the
# best constants are 22, 3, and for $\delta = 1$ also 3.

# %%
for p in (0.1, 0.5, 0.9, 0.99):
    two = torch.tensor([[p, 1 - p]]).log()  # logits of two classes
    ce, focal = (losses.focal_loss(two, torch.tensor([0]), g) for g in (0, 2))
    print(f"p = {p:4}: cross-entropy {ce:.4f}, focal {focal:.6f}, "
          f"weight {focal / ce:.4f}")

# %%
y = torch.tensor([1.0, 2.0, 3.0, 4.0, 100.0]).expand(5001, -1)
constant = torch.linspace(0, 50, 5001)[:, None].expand(-1, 5)
for loss, best in [(F.mse_loss, 22), (F.l1_loss, 3), (F.huber_loss, 3)]:
    risk = loss(constant, y, reduction="none").mean(1)  # (5001,)
    assert abs(constant[risk.argmin(), 0] - best) < 0.02

# %% [markdown]
# ## 3. The regularised transfer objective
#
# Fine-tuning starts from source weights $\theta^0$, then trusts few target labels
# alone. To keep what the source knew, add a penalty:
#
# $$\min_\theta \; \hat R_t(\theta) + \lambda R(\theta).$$
#
# - **Weight decay**: $R = \tfrac12\lVert\theta\rVert^2$. It pulls to zero, away
#   from the source.
# - **L2-SP** (*starting point*; Li et al., 2018, section 3):
#   $R = \tfrac12\lVert\theta_S-\theta_S^0\rVert^2$ for the parameters $S$ that the
#   source has too. A new head has no starting point; it keeps a weak decay $\beta$.
#
# Both are a Gaussian prior on the weights: the first around zero, the second around
# the source. Below, L2-SP's $\lambda$ is called $\alpha$, as in the paper. Weight decay
# is here a term of the loss. AdamW's own `weight_decay` acts beside the gradient and
# differs (Loshchilov and Hutter, 2019).

# %% [markdown]
# ### One weight, by hand
#
# Let the target risk be $\tfrac h2 (w-\hat w)^2$ with its optimum at $\hat w$. With
# L2-SP the gradient is $h(w-\hat w) + \alpha(w-w^0)$. Set it to zero:
#
# $$w^* = \frac{h\,\hat w + \alpha\,w^0}{h+\alpha}.$$
#
# A weighted mean: where the target risk is flat ($h$ small) the source wins. With
# $w^0 = 0$ it is the formula of weight decay. And since our risk is a *mean* over $n$
# samples, a prior of precision $\tau$ means $\alpha = \tau / n$: with more labels,
# pull less.
#
# Toy: $\hat w = 3$, $w^0 = 2$, $h = 1$, $\alpha = 1$: L2-SP gives 2.5, weight decay
# 1.5.

# %%
def optimum(alpha, w0, w_hat=3.0, h=1.0):
    return (h * w_hat + alpha * w0) / (h + alpha)


alphas = np.logspace(-2, 2, 50)
_, ax = plt.subplots()
ax.plot(alphas, optimum(alphas, w0=2.0), label="L2-SP, source at 2")
ax.plot(alphas, optimum(alphas, w0=0.0), label="weight decay")
ax.axhline(3, color="black", lw=0.8, ls="-")
ax.text(0.011, 3.05, "optimum of the few target labels")
ax.set(title="Both shrink, L2-SP towards the source", xscale="log",
       xlabel="strength α", ylabel="best weight w*", ylim=(0, 3.4))
ax.legend()
w = torch.tensor([optimum(1.0, w0=2.0)], requires_grad=True)
pull = losses.l2_sp({"w": w}, {"w": torch.tensor([2.0])}, alpha=1.0)
((w - 3).square().sum() / 2 + pull).backward()
assert w.grad.abs() < 1e-6

# %% [markdown]
# ### A trap: the anchor that moves
#
# The source values must be **copies**. `named_parameters()` and `state_dict()` hand
# out the very tensors that training changes.

# %%
layer = nn.Linear(3, 3)
alias = dict(layer.named_parameters())
copies = {name: w.detach().clone() for name, w in alias.items()}
nn.init.zeros_(layer.weight)  # "training"
assert losses.l2_sp(alias, alias) == 0 < losses.l2_sp(alias, copies)

# %% [markdown]
# ### Predict first: near and far
#
# The source model has learnt rendered **Latin letters**. Two targets, five labels per
# class each: rendered **Greek letters**, drawn from the same fonts, and real
# **handwriting**. We fine-tune everything, without a penalty, with weight decay, and
# with L2-SP of growing $\alpha$.
#
# Where will a strong L2-SP ($\alpha=10$) beat plain fine-tuning? Guess for both.

# %%
guess_10 = {"greek": "higher", "handwriting": "higher"}
rows = [data.load("glyphs", script=s, face="all", per_class=1, size=16).x[:8]
        for s in ("latin", "greek")] + [data.load("digits", size=16).x[:8]]
plots.image_grid(torch.cat(rows),
                 title="Source: Latin. Near target: Greek. Far: real digits");

# %% fold=true
shades = sorted({a["strength"] for a in study.arms
                 if a.get("method") == "l2_sp"})
_, axes = plt.subplots(1, 2, figsize=(8.4, 3.3), sharex=True)
for ax, metric, what in [(axes[0], "accuracy", "target"),
                         (axes[1], "source_accuracy", "source")]:
    for target in ("greek", "handwriting"):
        setting = {"target": target, "method": "l2_sp"}
        runs = np.stack([study.values(metric, **setting, strength=a)
                         for a in shades], 1)
        plots.learning_curve(shades, {f"{target}, L2-SP": runs}, log_x=True,
                             ax=ax, title="", xlabel="strength α", ylabel="")
        colour = ax.lines[-1].get_color()
        plain = study.values(metric, target=target, method="none").mean()
        ax.axhline(plain, color=colour, ls=":", label=f"{target}, no penalty")
    ax.set(ylabel=f"{what} accuracy (share)", ylim=(0.15, 1))
axes[0].set_title("A strong pull helps near, hurts far")
axes[1].set_title("and the source is forgotten less")
axes[0].get_legend().remove()
axes[1].legend(loc="upper left", ncols=2, fontsize=7)


def against_plain(target, **setting):
    plain = study.values("accuracy", target=target, method="none")
    return paired_difference(
        study.values("accuracy", target=target, **setting), plain)


# %%
strong = {"method": "l2_sp", "strength": 10.0}
near, far = (against_plain(t, **strong) for t in ("greek", "handwriting"))
print(f"greek       {near} seeds. You guessed {guess_10['greek']!r}.")
print(f"handwriting {far} seeds. You guessed {guess_10['handwriting']!r}.")
assert near.wins == 5 and near.low > 0 and far.wins == 0 and far.high < 0

# %% [markdown]
# The same penalty, the same $\alpha$: good for the near target, bad for the far one.
# L2-SP is a bet that a good solution lies near the source. Handwriting needs other
# features, and the penalty forbids them: **negative transfer by regularisation**.
#
# How much of the gain comes from L2-SP as such? As $\alpha\to\infty$ the body cannot
# move, which is a **frozen** body with a new head. Compare with exactly that.

# %%
for target in ("greek", "handwriting"):
    frozen = study.values("accuracy", target=target, method="frozen")
    pulled = study.values("accuracy", target=target, **strong)
    print(f"{target}: α = 10 minus frozen", paired_difference(pulled, frozen))
    assert abs((pulled - frozen).mean()) < 0.05

# %%
for target in ("greek", "handwriting"):
    mean = [study.values("accuracy", target=target, method="l2_sp",
                         strength=a).mean() for a in shades]
    plain = study.values("accuracy", target=target, method="none").mean()
    assert max(mean[:-1]) < max(plain, mean[-1]) and mean[1] < plain

# %% [markdown]
# An honest reading: here L2-SP is a dial between fine-tuning and a frozen body, and
# no $\alpha$ in between beats the better end; $\alpha = 0.1$ is even worse than no
# penalty (the asserts above). The paper reports gains in between, with large
# networks and long training.
#
# What the penalty does buy is memory of the source, in the right panel. Yet for
# handwriting much is forgotten even at $\alpha = 10$. The frozen arm shows why. There
# *no* weight has moved; what moved are BatchNorm's running means and variances. They
# are buffers: numbers that the forward pass updates and no optimiser touches. No
# penalty on parameters holds them (chapter 03).
#
# The second cell runs one seed of the study live.

# %%
kept = study.values("source_accuracy", target="handwriting", method="frozen")
near_kept = study.values("source_accuracy", target="greek", method="frozen")
print("source accuracy, weights frozen: after handwriting",
      mean_interval(kept), "after Greek", mean_interval(near_kept))
assert (near_kept > kept + 0.1).all()

# %%
live = study.run({"target": "greek", **strong}, seed=0)["accuracy"]
print(f"live, seed 0: {live:.3f}; stored, five seeds:",
      mean_interval(study.values("accuracy", target="greek", **strong)))
assert study.holds("accuracy", live, target="greek", **strong)

# %% [markdown]
# ### On features instead of weights
#
# Distance between weights is not distance between functions. **DELTA** (Li et al.,
# 2019) penalises features: with $F_{ij}$ channel $j$ of one layer on sample $i$ and
# $F^0$ the same of the source,
#
# $$R = \frac1n\sum_i\sum_j w_j\,\lVert F_{ij} - F^0_{ij}\rVert^2 .$$
#
# Their weights $w_j$ grow with the loss that switching off channel $j$ causes; ours
# are equal by default.
#
# Reorder the hidden units of a network, and the columns of the next layer with
# them: it computes the same function. What do the two penalties say?

# %%
net = models.Mlp(64, [32], 10)
twin = models.Mlp(64, [32], 10)
order = torch.randperm(32)
twin.load_state_dict(net.state_dict() | {
    "body.1.weight": net.body[1].weight[order],
    "body.1.bias": net.body[1].bias[order],
    "head.weight": net.head.weight[:, order],
})
x = torch.rand(100, 64)
start = {name: w.detach().clone() for name, w in net.named_parameters()}
on_weights = losses.l2_sp(dict(twin.named_parameters()), start).item()
on_outputs = losses.feature_penalty(twin(x), net(x)).item()
print(f"penalty on weights {on_weights:.3f}, on outputs {on_outputs:.1e}")
assert on_weights > 0.1 and on_outputs < 1e-9

# %% [markdown]
# ## 4. Distillation
#
# A teacher's answer says more than a label: this 4 looks a little like a 9. To hear
# it, divide the logits by a **temperature** $T$ (Hinton et al., 2015, eq. 1),
# $p_T(z) = \mathrm{softmax}(z/T)$, and let the student $s$ match the teacher $t$:
#
# $$\ell = T^2\,\mathrm{KL}\big(p_T(t)\,\|\,p_T(s)\big),\qquad
#   \mathrm{KL}(p\|q) = \sum_k p_k \log\frac{p_k}{q_k}.$$
#
# The teacher is fixed: no gradient flows into it. No label is needed, so any
# unlabelled target picture can teach.

# %%
digits = data.load("digits", size=16).to(device)
learn, held_out = digits.split(0.5, 0.5)
tlcourse.seed_everything(0)
teacher = models.small_resnet(10).to(device)
training.fit(teacher, learn, epochs=8, lr=3e-3, progress=False)
answers = training.predict(teacher, held_out)
p = answers.softmax(1)
pick = (p.amax(1) - 0.97).abs().argmin()  # a fairly confident one
_, (left, ax) = plt.subplots(1, 2, figsize=(7, 2.8), width_ratios=[1, 2.4])
left.imshow(held_out.x[pick, 0].cpu())
left.set(title=f"labelled {held_out.y[pick]}", xticks=[], yticks=[])
for i, T in enumerate([1, 4, 20]):
    bars = (answers[pick] / T).softmax(0).cpu()
    ax.bar(torch.arange(10) + 0.28 * (i - 1), bars, 0.28, label=f"T = {T}")
ax.set(title="A higher temperature tells more", xticks=range(10),
       xlabel="class", ylabel="teacher's probability")
ax.legend()
known = training.evaluate(teacher, held_out).accuracy
print(f"the teacher is right on {known:.1%} of the held-out pictures")
assert known > 0.95

# %% [markdown]
# ### Why $T^2$
#
# The gradient is "predicted minus wanted" again, with the inner $1/T$ in front:
#
# $$\frac{\partial\,\mathrm{KL}}{\partial s_k} = \frac1T\,\big(p_T(s)_k -
#   p_T(t)_k\big).$$
#
# For large $T$, $e^{z/T} \approx 1 + z/T$, so for logits of mean 0
# $p_T(z)_k \approx \tfrac1K(1 + z_k/T)$ and
#
# $$\frac{\partial\,\mathrm{KL}}{\partial s_k} \approx \frac{1}{K T^2}(s_k - t_k)$$
#
# (eq. 4 there). It falls with $T^2$. Multiply by $T^2$, and what remains is the
# gradient of a squared error between logits, for any large $T$ (logits of mean 0).

# %%
def gradient_size(T, scaled):
    student = torch.zeros_like(answers, requires_grad=True)
    loss = losses.distillation_loss(student, answers, T)
    (loss if scaled else loss / T**2).backward()
    return student.grad.norm().item()


T = np.array([1, 2, 4, 8, 16, 32, 64])
with_T2, without = ([gradient_size(t, s) for t in T] for s in (True, False))
ax = plots.learning_curve(
    T, {"with T²": with_T2, "without": without}, log_x=True,
    title="Without T² the teacher's voice fades",
    xlabel="temperature T", ylabel="size of the gradient")
ax.set_yscale("log")
slope = np.polyfit(np.log(T[4:]), np.log(without[4:]), 1)[0]
print(f"without T², from T = 16 on, it falls like T to the power {slope:.2f}")
assert abs(slope + 2) < 0.2

# %% [markdown]
# ### Does it matter? A small student with two labels per class
#
# Real handwriting. The teacher has seen many labels. The student, far smaller,
# has **two labels per class** and a pool of unlabelled pictures. Its loss is
# cross-entropy on its own labels plus one of: nothing; cross-entropy with the
# teacher's hard decisions; distillation at $T = 1, 4, 20$; and the same with the
# factor $T^2$ forgotten. Five seeds, paired.
#
# Two questions. What does $T^2$ matter beside another loss? And are *soft* answers
# better than plain decisions, as the story of the 4 and the 9 promises?

# %%
student = partial(study.values, "accuracy")
students = {"own labels only": student(student="labels"),
            "teacher's decisions": student(student="hard")}
for T, scaled in [(1, True), (4, True), (20, True), (4, False), (20, False)]:
    name = f"soft, T = {T}" + ("" if scaled else ", no T²")
    students[name] = student(student="soft", T=T, scaled=scaled)
_, ax = plt.subplots(figsize=(5.6, 3.0))
for row, (name, values) in enumerate(students.items()):
    mean = mean_interval(values)
    ax.plot(values, [row] * 5, "o", color="C3", ms=3)
    half = mean.high - mean.value
    ax.errorbar(mean.value, row, xerr=half, fmt="D", color="C0")
ax.set_yticks(range(len(students)), students)
ax.invert_yaxis()
ax.set(title="A teacher is worth many labels, if T² is there",
       xlabel="student's test accuracy (mean, 95 % interval; dots: seeds)")
taught, decisions = students["soft, T = 4"], students["teacher's decisions"]
gain = paired_difference(taught, students["own labels only"])
lost = paired_difference(students["soft, T = 20, no T²"],
                         students["soft, T = 20"])
soft = paired_difference(taught, decisions)
print(f"T = 4 against own labels: {gain}\nforgetting T² at T = 20: {lost}")
print(f"soft (T = 4) against hard decisions: {soft}")
assert gain.low > 0.2 and lost.high < -0.1 and soft.low < 0 < soft.high

# %% [markdown]
# Forgetting $T^2$ is costly. And a negative result: softness adds nothing that five
# seeds could show. A likely reason: the teacher is right on almost every picture, so
# its decisions alone say nearly everything. There may be more to gain where the pool
# is small, the teacher unsure, or the classes many. Measure it there.

# %% [markdown]
# ## 5. Losses on distances
#
# Classes of the target may be unknown in training: new persons, new species. Then
# learn an **embedding** $z \in \mathbb R^d$ in which equal classes lie close.
#
# **Contrastive loss** (Hadsell et al., 2006, eq. 4), on pairs at distance
# $d_{ij} = \lVert z_i - z_j\rVert$:
#
# $$\tfrac12 d_{ij}^2 \;\text{ if } y_i = y_j, \qquad
#   \tfrac12\max(0, m - d_{ij})^2 \;\text{ otherwise.}$$
#
# It asks for absolute distances: 0 inside a class. By hand, $m = 1$, $d = 0.6$: 0.18 for
# a pair of one class, 0.08 for any other. **Triplet loss** (Schroff et al.,
# 2015, eqs. 1–3) only asks for an order. With squared distances $d$, anchor $a$,
# positive $p$, negative $n$:
#
# $$\max(0,\; d_{ap} - d_{an} + m).$$

# %% [markdown]
# ### Which triplets?
#
# A batch of $b$ holds of the order of $b^3$ triplets. Take $m = 1$, an anchor at 0 on a
# line, its positive at 1:
#
# - **easy**, $d_{an} \ge d_{ap} + m$ (negative at 2): loss 0.
# - **semi-hard**, $d_{ap} < d_{an} < d_{ap} + m$ (at 1.2): loss $1 - 1.44 + 1 = 0.56$.
# - **hard**, $d_{an} \le d_{ap}$ (at 0.5): loss 1.75.
#
# Hard ones look most instructive. But all points in one place lower *their* loss to
# $m$. Schroff et al. keep the semi-hard ones (eq. 4), whose loss is below $m$ already.
#
# We map the digits 0 to 6 onto a circle ($d = 2$, length 1), with semi-hard triplets
# and with the *hardest* positive and negative of every anchor.

# %%
def batch_hard(z, y, margin):
    d = torch.cdist(z, z).square()  # (b, b)
    same = y[:, None] == y
    farthest = (d * same).amax(1)
    nearest = d.masked_fill(same, 1e9).amin(1)
    return F.relu(farthest - nearest + margin).mean()


def embed(loss, train, dim, seed):
    tlcourse.seed_everything(seed)
    net = models.Mlp(64, [64], dim).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(150):
        pick = torch.randint(len(train), (48,))
        z = F.normalize(net(train.x[pick]), dim=1)
        optimizer.zero_grad()
        loss(z, train.y[pick], 0.2).backward()
        optimizer.step()
    return lambda x: F.normalize(net(x), dim=1).detach()


def neighbour_accuracy(z, y):
    d = torch.cdist(z, z).fill_diagonal_(torch.inf)
    return (y[d.argmin(1)] == y).float().mean().item()


# %%
small = data.load("digits").to(device)
seen, unseen = small.subset(small.y < 7), small.subset(small.y >= 7)
miners = {"semi-hard": losses.triplet_loss, "hardest": batch_hard}
circles = {name: [embed(loss, seen, 2, seed)(seen.x) for seed in range(5)]
           for name, loss in miners.items()}
spread = {k: [z.std(0).mean().item() for z in v] for k, v in circles.items()}
_, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharex=True, sharey=True)
for ax, (name, runs) in zip(axes, circles.items(), strict=True):
    title = f"{name} triplets: spread {spread[name][0]:.3f}"
    plots.embedding(runs[0], seen.y, ax=ax, title=title)
    ax.set_aspect("equal")
axes[0].get_legend().remove()
for name, values in spread.items():
    print(f"{name:9} spread {mean_interval(values)}")
assert min(spread["semi-hard"]) > 10 * max(spread["hardest"])

# %% [markdown]
# With the hardest triplets all classes fall onto one point, in every seed: **collapse**.
# Mining decides what the loss means.
#
# Now the purpose: classes never seen in training, the digits 7, 8, 9. We train with
# semi-hard triplets in 16 dimensions and name each picture by its nearest neighbour,
# in the embedding and in plain pixels.

# %%
pixels = neighbour_accuracy(unseen.x.flatten(1), unseen.y)
maps = [embed(losses.triplet_loss, seen, 16, seed) for seed in range(5)]
new = [neighbour_accuracy(z(unseen.x), unseen.y) for z in maps]
print(f"unseen classes: pixels {pixels:.3f}, embedding", mean_interval(new))
assert max(new) < pixels

# %% [markdown]
# The embedding **loses** to raw pixels. It kept what tells 0 to 6 apart and dropped
# the rest, some of which 7, 8 and 9 need. These pictures are small, centred and
# clean, the best case for pixels; seven classes are few. Chapter 10 trains on many.
#
# ### What later chapters add
#
# | loss | in one line | mean over | chapter |
# |---|---|---|---|
# | NT-Xent | cross-entropy: find my other view among all | views | contrastive learning |
# | MMD | distance of two *distributions* of features | pairs, within and across domains | distribution shift |
# | CTC | sums over all alignments of text and sound | utterances | speech |

# %% [markdown]
# ## 6. A training loop that is right
#
# ```mermaid
# flowchart LR
#   A[train mode] --> B[forward] --> C[mean loss] --> D[zero_grad] --> E[backward] --> F[step]
#   F --> B
#   F -. after the epoch .-> G[eval mode, no_grad] --> H[mean over samples] --> A
# ```
#
# Each box has its classic mistake. *train/eval*: dropout and BatchNorm behave
# differently. *zero_grad*: without it gradients add up. *no_grad*: without it memory
# fills with graphs. *Mean over samples*: batches are not equally long. *Seed*: without
# one, nobody can repeat it.

# %%
def train_epoch(model, x, y, optimizer, generator, batch_size=32):
    model.train()
    total = 0.0
    for pick in torch.randperm(len(x), generator=generator).split(batch_size):
        loss = losses.cross_entropy(model(x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(pick)  # a batch mean weighs its samples
    return total / len(x)


def gradient(model, sizes, weigh):
    x, y = small.x[: sum(sizes)], small.y[: sum(sizes)]
    model.zero_grad()
    for part, labels in zip(x.split(sizes), y.split(sizes), strict=True):
        weight = weigh(len(part))
        (weight * losses.cross_entropy(model(part), labels)).backward()
    return torch.cat([w.grad.flatten() for w in model.parameters()])


# %% [markdown]
# ### Accumulation is a big batch
#
# A batch that does not fit into memory can be cut into parts: `backward()` *adds*
# gradients. The mean over $n$ samples is the sum of the parts' means, each weighed by
# its share $n_j / n$. Dividing by the number of parts is right for equal parts only.
#
# We cut 48 samples into 30, 14 and 4, without and with BatchNorm in the network.

# %%
net, parts = models.Mlp(64, [32], 10).to(device), [30, 14, 4]
whole, cut = (gradient(net, p, lambda n: n / 48) for p in ([48], parts))
thirds = gradient(net, parts, lambda n: 1 / 3)
off, far_off = ((g - whole).norm() / whole.norm() for g in (cut, thirds))
print(f"off by {off:.0e} with n_j / n, by {far_off:.2f} with 1 / parts")

# %%
bn = models.small_resnet(10).to(device)
whole, cut = (gradient(bn, p, lambda n: n / 48) for p in ([48], parts))
gap = (cut - whole).norm() / whole.norm()
print(f"with BatchNorm, right weights: off by {gap:.2f}")
assert off < 1e-5 and far_off > 0.1 and gap > 0.1

# %% [markdown]
# With BatchNorm accumulation is **not** a big batch: each part is normalised by its
# own mean and variance.
#
# ### The mean over samples
#
# The same care at evaluation. We have one network and one test set, so the loss is
# *one* number. A mean of batch means makes it depend on the batch size, because the
# last batch is short and its samples weigh more:

# %%
each = F.cross_entropy(answers, held_out.y, reduction="none").cpu()  # (n,)
sizes = np.arange(100, 700, 4)
wrong = [np.mean([b.mean() for b in each.split(int(s))]) for s in sizes]
_, ax = plt.subplots()
ax.plot(sizes, wrong, label="mean of batch means", lw=1)
ax.axhline(each.mean(), color="C1", ls="--", label="mean over samples")
ax.set(title="A result that depends on the batch size is wrong",
       xlabel="batch size (samples)", ylabel="test loss (nats)")
ax.legend()
off = np.abs(np.array(wrong) / each.mean().item() - 1).max()
print(f"off by up to {off:.0%}")
assert off > 0.1

# %% [markdown]
# ### When to stop, and who may say so
#
# Early stopping looks at a validation set after every epoch and keeps the best
# weights. In transfer that set must come from the **source**, or from target labels
# that are spent on nothing else. Choosing by the target's test labels makes the
# reported number a *maximum*, not an estimate.
#
# How much does it flatter? We train on 5 digits per class and note after each of 30
# epochs which test pictures are right. Then 1,000 times: draw a small test set of
# 30, choose its best epoch, and compare with all other pictures.

# %%
few, rest = digits.few_shot(5, seed=0)
tlcourse.seed_everything(0)
net, generator = models.small_resnet(10).to(device), torch.Generator()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
hits = []
for _ in range(30):
    train_epoch(net, few.x, few.y, optimizer, generator.manual_seed(len(hits)))
    hits.append(training.predict(net, rest).argmax(1) == rest.y)
hits = torch.stack(hits).float().cpu()[5:]  # (epochs, n), after the first five
flattery = []
for _ in range(1000):
    order = torch.randperm(hits.shape[1])
    small_test, others = hits[:, order[:30]].mean(1), hits[:, order[30:]]
    chosen = small_test.argmax()
    flattery.append((small_test[chosen] - others[chosen].mean()).item())
bias = mean_interval(flattery)
print(f"chosen on 30 test labels, the accuracy is too high by {bias}")
assert bias.low > 0.01

# %% [markdown]
# ## 7. The choices of this chapter, measured
#
# The number above is a gain without any change in the network: choosing alone made
# it. `training.fit` therefore takes `patience=` only together with `validation=`. That
# no target test labels get in there is up to you.
#
# Now the whole chapter in one table. Each row is one choice against its plain
# alternative, the same five seeds on both sides. Hollow: the data do not tell the sign.

# %%
knobs = {
    "L2-SP, α = 10, near target": against_plain("greek", **strong),
    "L2-SP, α = 10, far target": against_plain("handwriting", **strong),
    "weight decay 0.01, near target": against_plain(
        "greek", method="weight_decay"),
    "weight decay 0.01, far target": against_plain(
        "handwriting", method="weight_decay"),
    "label smoothing 0.1": paired_difference(
        student(smoothing=0.1), student(smoothing=0.0)),
    "a teacher (T = 4), against own labels": gain,
    "soft (T = 4), against hard decisions": soft,
    "forget T² at T = 20": lost,
}
plots.effect_table(knobs, title="What each choice does to target accuracy",
                   xlabel="difference in accuracy (95 % interval, 5 seeds)");

# %% [markdown]
# ## Recap
#
# - Cross-entropy's gradient is predicted minus wanted; smoothing and distillation
#   only change what is wanted.
# - A penalty is a prior. L2-SP bets on the source: near it helps, far it hurts, and
#   its anchor must be a copy.
# - Weights are not functions; BatchNorm's statistics are not weights.
# - Soft targets need $T^2$; whether softness helps at all is to be measured.
# - In metric losses mining decides; hardest-first collapsed here.
# - Mean over samples, every mode put back, and no choice by test labels.
#
# Now open `exercises.ipynb`.

# %% quiz=true

# %% [markdown]
# ## Sources
#
# - Vapnik. *Principles of risk minimization for learning theory.* NeurIPS 1991.
# - Huber. *Robust estimation of a location parameter.* Ann. Math. Stat. 1964.
# - Szegedy et al. *Rethinking the Inception architecture.* CVPR 2016.
# - Müller et al. *When does label smoothing help?* NeurIPS 2019.
# - Guo et al. *On calibration of modern neural networks.* ICML 2017.
# - Lin et al. *Focal loss for dense object detection.* ICCV 2017.
# - Li, Grandvalet, Davoine. *Explicit inductive bias for transfer learning.* ICML 2018.
# - Li et al. *DELTA.* ICLR 2019.
# - Loshchilov, Hutter. *Decoupled weight decay regularization.* ICLR 2019.
# - Hinton et al. *Distilling the knowledge in a neural network.* arXiv 2015.
# - Hadsell et al. *Dimensionality reduction by learning an invariant mapping.* CVPR 2006.
# - Schroff et al. *FaceNet.* CVPR 2015.
