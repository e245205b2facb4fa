# %% [markdown]
# # Learning to adapt: MAML
#
# **You will be able to** derive and compute the meta-gradient, choose among MAML,
# FOMAML, ANIL and Reptile, avoid the traps of inner loops, and adapt a policy by
# gradient steps.
#
# *Needs:* chapter 10 (episodes, prototypes). *Minutes:* 180. *Timed on two CPU cores,
# no GPU, no network.*
#
# So far we took the starting weights as they came and asked how to fine-tune. Now we
# turn it round: fine-tuning is fixed, a few gradient steps, and we **train the
# start**.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap

import tlcourse
from tlcourse import data, meta, metrics, plots
from tlcourse.studies import load_study

plots.use_style()
plt.rcParams["figure.dpi"] = 80  # many pictures: keep the file small
tlcourse.seed_everything(0)
study = load_study("maml")

# %% [markdown]
# ## 1. The problem
#
# Tasks $t$ come from a distribution $p(t)$. Each has a small **support** set to learn
# from and a **query** set to be good at. $L_t^s(\theta)$ and $L_t^q(\theta)$ are the mean
# losses of one network with parameters $\theta\in\mathbb R^d$ on them. The **inner
# loop** adapts with a rate $\alpha$, the **outer loop** trains the start (Finn et al.,
# 2017):
#
# $$\min_\theta\ V(\theta)=\mathbb E_{t}\big[L_t^q(\theta_t')\big],\qquad
#   \theta_t'=\theta-\alpha\nabla L_t^s(\theta).$$
#
# An optimisation whose objective holds another one is called **bilevel**. Compare
# **joint training**, $\min_\theta\mathbb E_t[L_t^q(\theta)]$: it wants a good answer
# *without* adaptation. MAML does not care how good $\theta$ is, only how good it
# *becomes*.

# %% [markdown]
# ## 2. The meta-gradient
#
# $\theta_t'$ is a function of $\theta$ with the Jacobian $(d,d)$
#
# $$\frac{\partial\theta_t'}{\partial\theta}=I-\alpha H_t,\qquad
#   H_t=\nabla^2L_t^s(\theta).$$
#
# $H_t$ is symmetric, so the chain rule gives
#
# $$\boxed{\ \nabla V(\theta)=\mathbb E_t\big[(I-\alpha H_t)\,
#   \nabla L_t^q(\theta_t')\big]\ }$$
#
# The gradient is taken **at the adapted parameters** and brought back to the start by
# $I-\alpha H_t$. Nobody builds $H_t$: differentiating *through* the inner gradient gives
# the product $H_tv$ for about the price of another backward pass.
#
# **By hand.** $d=1$, $L^s=L^q=\frac\lambda2(\theta-c)^2$ with $\lambda=2$, $c=3$,
# $\alpha=\frac14$, start $\theta=1$. Inner gradient $2(1-3)=-4$, so
# $\theta'=1+1=2$. There the gradient is $2(2-3)=-2$, and
# $(1-\frac14\cdot2)\cdot(-2)=-1$.

# %% [markdown]
# ### Where does MAML want to start?
#
# Two such tasks: $\lambda=1$ at $c=0$ and $\lambda=3$ at $c=4$; $\alpha=\frac14$. One
# step shrinks the distance by $1-\alpha\lambda$, to $\frac34$ and $\frac14$ of it. So
# $V=\frac12\sum_t\frac{\lambda_t}{2}(1-\alpha\lambda_t)^2(\theta-c_t)^2$, and the best
# start is a mean of the centres with the weights
#
# | method | weight of task $t$ | here | start |
# |---|---|---|---|
# | joint | $\lambda_t$ | 1 : 3 | **3** |
# | FOMAML (part 6) | $\lambda_t(1-\alpha\lambda_t)$ | ¾ : ¾ | **2** |
# | MAML | $\lambda_t(1-\alpha\lambda_t)^2$ | 9⁄16 : 3⁄16 | **1** |
#
# Joint training sits near the steep task. MAML knows that one step nearly settles
# the steep one, and starts near the **slow** one.

# %%
def bowl(params, x, y):
    """x: the curvature, y: the centre of one task."""
    return (x / 2 * (params["theta"] - y).square()).mean()


def slope(theta, curvatures, centres, method=meta.maml_grad, steps=1):
    sets = [torch.tensor(v)[:, None] for v in (curvatures, centres)]  # (T, 1)
    start = {"theta": torch.tensor(theta)}
    grads, value = method(bowl, start, sets, sets, 0.25, steps)
    return grads["theta"].item(), value.item()


assert slope(1.0, [2.0], [3.0]) == (-1, 1)  # by hand, above
assert slope(1.0, [2.0], [3.0], steps=2)[0] == -0.25  # by hand, below
pair = ([1.0, 3.0], [0.0, 4.0])
assert slope(3.0, *pair, steps=0)[0] == 0  # no inner step: joint training
assert slope(2.0, *pair, method=meta.fomaml_grad)[0] == 0
assert slope(1.0, *pair)[0] == 0
losses = [slope(place, *pair)[1] for place in (3.0, 2.0, 1.0)]
print("loss after a step from joint's, FOMAML's, MAML's start:", losses)

# %% [markdown]
# ### Several inner steps
#
# With $\theta_0=\theta$, $\theta_{j+1}=\theta_j-\alpha\nabla L^s(\theta_j)$ and $K$ steps
# the Jacobians multiply. Brought back from the end to the start:
#
# $$\nabla V=(I-\alpha H_0)(I-\alpha H_1)\cdots(I-\alpha H_{K-1})\,\nabla
#   L^q(\theta_K),\qquad H_j=\nabla^2L^s(\theta_j).$$
#
# Each Hessian is taken at its own point, and the whole path must stay in memory. By
# hand: our bowl with $K=2$ goes $1\to2\to2.5$; gradient $2(2.5-3)=-1$, times
# $\frac12\cdot\frac12$: $-\frac14$.
#
# Now a task that is no bowl: two parameters, $\tanh$, product of explicit Hessians
# against `maml_grad`, in float64.

# %%
def curved(params, x, y):
    return (torch.tanh(x @ params["w"]) - y).square().mean()


g = torch.Generator().manual_seed(0)
sx, sy = torch.randn(5, 2, generator=g).double(), torch.ones(5).double()
qx, qy = torch.randn(7, 2, generator=g).double(), torch.zeros(7).double()
point, back = torch.tensor([0.3, -0.5]).double(), torch.eye(2).double()
first = {"w": point}
for _ in range(3):
    H = jacrev(jacrev(lambda w: curved({"w": w}, sx, sy)))(point)
    back = back @ (torch.eye(2) - 0.4 * H)
    point = point - 0.4 * grad(curved)({"w": point}, sx, sy)["w"]
by_hand = back @ grad(curved)({"w": point}, qx, qy)["w"]
tasks = ((sx[None], sy[None]), (qx[None], qy[None]))  # T = 1
full, _ = meta.maml_grad(curved, first, *tasks, inner_lr=0.4, steps=3)
assert torch.allclose(full["w"], by_hand, rtol=1e-10)
print("product of factors:", by_hand.tolist())

# %% [markdown]
# ## 3. From a network to the meta-gradient
#
# `torch.func` turns all of this into functions. Three pieces:
#
# 1. `functional_call(net, params, x)`: the network with *these* parameters, not its
#    own. Adapted parameters are then just another dict, and no weight is overwritten.
# 2. `grad(f)`: the function that returns $\nabla f$ by its first argument, here a dict
#    like `params`. It can be applied again: `grad` of something with `grad` in it.
# 3. `vmap(f)`: `f` for one task becomes a function for all tasks at once. `in_dims`
#    says which arguments have a task dimension (0) and which are common (None).

# %%
net = meta.sinusoid_model().double()  # 1 - 40 - 40 - 1, ReLU
params = {name: p.detach() for name, p in net.named_parameters()}
support, query = meta.sinusoid_batch(8, 10, 10, g)
support, query = ([part.double() for part in s] for s in (support, query))
print("x and y of the support sets:", *(tuple(s.shape) for s in support))


# %%
def task_loss(params, x, y):
    return F.mse_loss(functional_call(net, params, (x,)), y)


inner = grad(task_loss)(params, support[0][0], support[1][0])  # task 0
print({name: tuple(value.shape) for name, value in inner.items()})


# %%
def after(params, sx, sy, qx, qy, rate=0.01):
    """Query loss of one task after one inner step."""
    inner = grad(task_loss)(params, sx, sy)
    moved = {name: params[name] - rate * inner[name] for name in params}
    return task_loss(moved, qx, qy)


# %% [markdown]
# ### The same with an explicit loop
#
# Without `torch.func`: `create_graph=True` keeps the graph **of the gradient**, so that
# the outer `backward` can go through it. Leave it out and the second-order term is
# missing, without an error as long as a first-order path is left.

# %%
leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
total = 0.0
for t in range(8):
    (sx, sy), (qx, qy) = ([part[t] for part in s] for s in (support, query))
    slopes = torch.autograd.grad(
        task_loss(leaves, sx, sy), list(leaves.values()), create_graph=True
    )
    steps = zip(leaves.items(), slopes, strict=True)
    moved = {name: p - 0.01 * s for (name, p), s in steps}
    total = total + task_loss(moved, qx, qy) / 8
total.backward()


def distance(one, other):  # relative, of two gradients given as dicts
    gap = sum((one[k] - other[k]).square().sum() for k in one)
    return (gap / sum(other[k].square().sum() for k in one)).sqrt().item()


by_loop = {name: p.grad for name, p in leaves.items()}
per_task = vmap(grad(after), in_dims=(None, 0, 0, 0, 0))
by_func = per_task(params, *support, *query)  # every tensor (8, ...)
by_func = {name: value.mean(0) for name, value in by_func.items()}
assert distance(by_func, by_loop) < 1e-12
print(f"vmap against loop, float64: {distance(by_func, by_loop):.0e} relative")

# %% [markdown]
# `meta.maml_grad(..., tasks=...)` offers both, `"vmap"` and `"loop"`, and a third:
# `"batched"` stacks the tasks' weights and calls one batched matrix product per layer,
# the fastest for perceptrons. For wide convolutions on a CPU take the loop: weights
# that differ by task make a *grouped* convolution, which gains nothing there, and
# the graphs of all tasks are in memory at once.
#
# ### A silent error: the order of `grad` and `vmap`
#
# Mean first or gradient first, in mathematics that is the same:
# $\nabla\frac1T\sum_tV_t=\frac1T\sum_t\nabla V_t$. In code one writes
# `grad(mean(vmap(after)))` or `vmap(grad(after))` and then the mean. Try both on a
# layer with a norm whose scale and shift adapt, too.

# %%
def normed(p, x, y):
    z = F.layer_norm(x @ p["w"], (4,), p["scale"], p["shift"])
    return F.mse_loss(z, y)


def moved_loss(p, sx, sy, qx, qy):
    inner = grad(normed)(p, sx, sy)
    return normed({k: p[k] - 0.2 * inner[k] for k in p}, qx, qy)


shapes = dict(w=(4, 4), scale=(4,), shift=(4,))
toy = {k: torch.randn(s, generator=g).double() for k, s in shapes.items()}
sets = torch.randn(4, 3, 6, 4, generator=g).double().unbind()  # 3 tasks
dims = (None, 0, 0, 0, 0)
outside = grad(lambda p: vmap(moved_loss, dims)(p, *sets).mean())(toy)
inside = vmap(grad(moved_loss), dims)(toy, *sets)
inside = {k: v.mean(0) for k, v in inside.items()}
truth, _ = meta.maml_grad(normed, toy, sets[:2], sets[2:], 0.2, tasks="loop")
wrong, right = distance(outside, truth), distance(inside, truth)
assert wrong > 1e-3, "this version of torch has mended it"
assert right < 1e-12
print(f"grad outside vmap: {wrong:.1%} off, and no warning")
print(f"vmap outside grad: {right:.0e}")

# %% [markdown]
# With `grad` outside, `vmap`'s rule for the *backward* of the built-in layer norm takes
# the saved mean and deviation as constants, so a part of the second derivative is
# lost. BatchNorm and InstanceNorm are affected alike, as soon as scale and shift
# move in the inner loop; GroupNorm, RMSNorm and a norm written out by hand are exact.
# With `vmap` outside, the derivative is taken first, for one task. Versions
# differ: **hold your meta-gradient against a float64 loop once**. `maml_grad` keeps
# `vmap` outside, and a test of this course checks it for every norm.

# %% [markdown]
# ## 4. How large may the inner rate be?
#
# On a quadratic with Hessian $H$ and minimum $c$, a step gives
# $\theta_{j+1}-c=(I-\alpha H)(\theta_j-c)$. Along an eigenvector with eigenvalue
# $\lambda$ the distance is multiplied by $1-\alpha\lambda$ each time: it shrinks if and
# only if, for $\lambda>0$,
#
# $$|1-\alpha\lambda|<1\quad\Longleftrightarrow\quad0<\alpha<\frac2\lambda .$$
#
# The **steepest** direction decides: $\alpha<2/\lambda_{\max}$. In the
# meta-gradient of $K$ steps each factor counts twice, on the way to
# $\theta_K$ and on the way back: beyond that rate it grows like
# $|1-\alpha\lambda_{\max}|^{2K}$, and the outer loop has nothing to learn from.
#
# By hand: $\lambda=4$, $\alpha=0.6$: factor $-1.4$; ten steps give $29$ times the
# distance.

# %% [markdown]
# ### And for a network?
#
# **Waves** $y=A\sin(x-\varphi)$, $A\in[0.1,5]$, $\varphi\in[0,\pi]$, 10 points each (Finn
# et al., 2017, section 5.1). Given $x$ alone, the best joint answer is the *mean* wave,
# wrong for nearly all of them. We train a start by MAML with the very settings of the
# study (`study.py` beside this lesson), and a joint one: the same loop with 0 inner
# steps.
#
# $\lambda_{\max}$ of a wave's support loss comes from the **power method**: multiply a
# vector by $H$ again and again, and the factor by which it grows tends to
# $|\lambda|_{\max}$. The product $Hv$ is the gradient of $\langle\nabla L^s,v\rangle$.

# %%
loss = meta.module_loss(meta.sinusoid_model(seed=0), F.mse_loss)


def draw(generator, shots=10):
    return meta.sinusoid_batch(25, shots, 10, generator)


def train(iterations=1500, sample=draw, outer_lr=3e-3, **more):
    more = dict(outer_lr=outer_lr, tasks="batched", **more)
    start = loss.params()
    options = dict(iterations=iterations, **more)
    return meta.meta_train(loss, start, sample, **options).params


starts = {"MAML": train(), "joint": train(steps=0), "scratch": loss.params()}
test = meta.sinusoid_batch(200, 10, 100, torch.Generator().manual_seed(5))


# %%
def steepest(start, x, y, v, rounds=40):
    def along(p, v):
        slopes = grad(loss)(p, x, y)
        return sum((slopes[name] * v[name]).sum() for name in v)

    for _ in range(rounds):
        hv = grad(along)(start, v)
        size = sum(part.square().sum() for part in hv.values()).sqrt()
        v = {name: part / size for name, part in hv.items()}
    return size


anywhere = {k: torch.randn_like(v) for k, v in starts["MAML"].items()}
bends = vmap(steepest, (None, 0, 0, None))(starts["MAML"], *test[0], anywhere)
limit = 2 / bends.median()
print(f"2 / curvature for the median wave: {limit:.3f}")

# %%
rates = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2]


def errors(start, rate, **more):  # after 10 steps, (T,)
    options = dict(tasks="batched", **more)
    found = meta.adaptation_curve(loss, start, *test, rate, 10, **options)
    return found[10].nan_to_num(1e6).clamp(max=1e6)


table = {
    name: [errors(start, rate).median().item() for rate in rates]
    for name, start in starts.items()
}
ax = plots.learning_curve(
    rates, table, log_x=True, xlabel="inner rate",
    ylabel="median error after 10 steps (200 waves)",
    title="Well past 2 / curvature, adapting destroys MAML's start",
)
ax.set(yscale="log", ylim=(0.05, 1e4))
ax.axvline(limit, color="black", ls=":", label="2 / curvature, MAML")
ax.legend()
best = rates[int(np.argmin(table["MAML"]))]
assert best < 2 * limit and table["MAML"][-1] > 10 * min(table["MAML"])
assert min(table["MAML"]) < min(table["joint"]) / 2
print("best inner rate for MAML's start:", best)

# %% [markdown]
# The dotted line is for the median wave and at MAML's start; the best rate lies near
# it, larger ones fail. It is a guide and no theorem here: curvature changes along the
# path and from wave to wave. Each start has its own best rate, so a fair comparison
# **tunes the rate of every start**, on other tasks than those of the test. Some authors
# learn one rate per layer and step in the outer loop (Antoniou et al., 2019).
#
# ## 5. Waves: what a trained start does
#
# One wave, 10 points, the adapted network after 0, 1, 5 and 10 steps, each start with
# its best rate from the curves above.

# %%
wave = meta.Sinusoids(torch.tensor([3.5]), torch.tensor([2.9]))
few = wave.draw(10, torch.Generator().manual_seed(3))
grid, steps = torch.linspace(-5, 5, 200)[:, None], (0, 1, 5, 10)
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for ax, name in zip(axes, ("MAML", "joint"), strict=True):
    ax.plot(grid, wave(grid[None])[0], color="black", lw=1, label="the wave")
    ax.plot(*(part[0] for part in few), "k^", label="10 points")
    rate = rates[int(np.argmin(table[name]))]
    for n, dash in zip(steps, (":", "-.", "--", "-"), strict=True):
        own = meta.adapt_params(loss, starts[name], few, rate, n)
        own = {k: v[0] for k, v in own.items()}
        ax.plot(grid, loss.outputs(own, grid), ls=dash, label=f"steps: {n}")
    ax.set(title=f"start: {name}", xlabel="input x", ylabel="height y")
axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
title = "Ten points and a few steps are enough from MAML's start"
figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold");

# %% [markdown]
# ## 6. Cheaper relatives
#
# **FOMAML** drops the Hessian: $\mathbb E_t[\nabla L_t^q(\theta_t')]$. Exact only in
# the limit $\alpha H\to0$; by hand $-2$ instead of $-1$ in part 2. In general it is not
# the gradient of any function. No backward pass goes through the inner gradient.
#
# **Reptile** (Nichol et al., 2018) needs no query set: take $k\ge2$ steps on the task's
# data and move towards the end, $\theta\leftarrow\theta+\epsilon\,
# (\overline{\theta_t'}-\theta)$ with $0<\epsilon\le1$, the mean over tasks. With $k=1$
# it would be joint training.
#
# **ANIL**, *almost no inner loop* (Raghu et al., 2020): only the head adapts in the inner
# loop; the body learns in the outer loop alone. Second order through the head only: the
# body's forward pass is done once per set.

# %% [markdown]
# ### Why do they work? A Taylor expansion
#
# Following Nichol et al. (2018, section 5.1). Two mini-batches of one task, in random
# order, losses $L_1,L_2$ with gradients $g_i$ and Hessians $H_i$ **at the start**. After
# one step on batch 1, batch 2 has the gradient
#
# $$\nabla L_2(\theta-\alpha g_1)=g_2-\alpha H_2g_1+O(\alpha^2).$$
#
# | method | gradient | its mean |
# |---|---|---|
# | MAML | $(I-\alpha H_1)(g_2-\alpha H_2g_1)$ | $A-2\alpha B$ |
# | FOMAML | $g_2-\alpha H_2g_1$ | $A-\alpha B$ |
# | Reptile | $g_1+(g_2-\alpha H_2g_1)$ | $2A-\alpha B$ |
#
# $A=\mathbb E[g_1]$ is joint training. $B=\mathbb E[H_2g_1]=\frac12\mathbb
# E[\nabla(g_1^\top g_2)]$, since the order is random and
# $\nabla(g_1^\top g_2)=H_1g_2+H_2g_1$. **Minus $B$** makes $g_1^\top g_2$ grow: a step
# for one batch helps another batch of the same task. All of this is for small $\alpha$;
# with $\alpha\lambda$ near 1 the methods part.

# %% [markdown]
# ### Predict first
#
# Five seeds of each, 1,500 outer steps, one inner step in training (Reptile: five);
# 600 new waves; every start with its best inner rate, tuned on 200 other waves.
# Which start is best after 10 steps, and how much worse is FOMAML: not visibly, by a
# third, twice? Does ANIL, which moves 41 of 1,761 numbers, keep up? Write it down, run,
# unfold.

# %%
my_guess = {"best": "reptile", "fomaml worse by": "twice", "anil": "keeps up"}

# %% fold=true
names = ("maml", "fomaml", "reptile", "anil", "joint", "scratch")
paired = metrics.paired_difference


def wave_runs(name, metric="median_10"):
    return study.values(metric, question="waves", method=name)


curves = {
    name: np.array([wave_runs(name, f"median_{n}") for n in steps]).T
    for name in names
}
ax = plots.learning_curve(
    steps, curves, xlabel="inner steps at test time",
    ylabel="median squared error (600 waves)",
    title="MAML first, FOMAML behind it, ANIL and Reptile next",
)
ax.set_yscale("log")
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
print("you guessed:", my_guess);

# %%
for name in names[1:]:
    gap = paired(*(np.log10(wave_runs(n)) for n in (name, "maml")))
    low, ratio, high = 10 ** np.array([gap.low, gap.value, gap.high])
    assert low > 1
    print(f"{name:8} {ratio:5.2f} [{low:.2f}, {high:.2f}] times MAML's error")

# %% [markdown]
# ### Why medians?
#
# An inner loop with a fixed rate can **diverge** on a single task: one wave too steep for
# the rate, and its error is anything. A mean over tasks then says nothing about the
# method and everything about that wave. Report median and quantiles, and the worst case
# beside them: below, `high_10` is the 90 % quantile and `max_10` the worst of 600 waves,
# all averaged over seeds.
#
# Then a check, live: MAML's start of part 4 is seed 0 of the study; it must fall into
# the range that the stored runs predict.

# %%
keys = ("median_10", "high_10", "mean_10", "max_10")
print("method  ", *[f"{key:>10}" for key in keys])
for name in names:
    row = [wave_runs(name, key).mean() for key in keys]
    print(f"{name:8}", *[f"{value:10.2f}" for value in row])

# %%
live = errors(starts["MAML"], 0.01).median().item()
assert study.holds("median_10", live, question="waves", method="maml")
print(f"live {live:.3f} (other waves), stored {wave_runs('maml').round(3)}")

# %% [markdown]
# ## 7. Glyph episodes: is it worth it?
#
# 5-way 1-shot (chapter 10): train on Latin, Greek and Cyrillic, test on Armenian and
# Georgian. Every method gets **as many pictures**, 1,280 episodes of them, and the same
# small network; the intervals are over five seeds. The meta-learners learn twice: with 16
# episodes for an outer step, 80 updates, and with 4, 320 updates of the **same number of
# episodes**. Beside them three baselines:
#
# - **ProtoNet**: nearest class mean, trained by episodes;
# - **probe**: the same body trained by plain cross-entropy on as many pictures, then
#   nearest class mean;
# - **random**: a body that was never trained.

# %%
def glyph(name, metric="accuracy", question="glyphs"):
    return study.values(metric, question=question, method=name)


judged = {n: "accuracy" for n in ("anil", "maml", "fomaml")}
judged |= {"protonet": "prototypes"}
scores = {"reptile, 80 updates": glyph("reptile")}
scores["random body"] = glyph("random", "prototypes")
for name, metric in judged.items():
    scores[f"{name}, 80 updates"] = glyph(name, metric)
    scores[f"{name}, 320 updates"] = glyph(name, metric, "updates")
probe = glyph("probe", "prototypes")
effects = {name: paired(values, probe) for name, values in scores.items()}
plots.effect_table(
    dict(sorted(effects.items(), key=lambda item: -item[1].value)),
    title="80 updates: MAML behind a plain probe. 320: ahead of it",
    xlabel="accuracy minus the probe's (5-way 1-shot, 5 seeds)",
)
print("probe:", metrics.mean_interval(probe))
rivals = [scores[f"{n}, 320 updates"] for n in ("maml", "protonet")]
print("320 updates, maml minus protonet:", paired(*rivals))
few, many = (effects[f"maml, {n} updates"] for n in (80, 320))
assert few.high < 0 < many.low and effects["fomaml, 320 updates"].high < 0

# %% [markdown]
# ### Two questions
#
# **What did MAML learn?** Forget its head and its inner loop, classify by nearest class
# mean of its body. If that is as good, adaptation was not the point: *feature reuse*,
# not *rapid learning* (Raghu et al., 2020).
#
# **Which verdict is right?** Both, for their budgets. The probe takes a step for every 64
# pictures, hundreds in all. With 80 updates MAML is behind it; a report that stopped there
# would call that a negative result. With 320 it is ahead, and no difference from ProtoNet
# shows, which is far cheaper. FOMAML stays behind. Nothing was trained to its end
# (Reptile's paper takes a hundred thousand steps). Live: one seed's 320 updates, the body
# alone.

# %%
for name in ("maml", "fomaml", "anil"):
    whole = glyph(name, question="updates")
    reuse = paired(glyph(name, "prototypes", "updates"), whole)
    assert reuse.low > -0.05
    print(f"{name:7} body + prototypes minus its inner loop: {reuse}")


# %%
def glyphs_of(*scripts):
    options = dict(face="all", per_class=20, size=16)
    sets = [data.load("glyphs", script=s, **options) for s in scripts]
    y = [part.y + 100 * n for n, part in enumerate(sets)]  # kept apart
    return 4 * torch.cat([part.x for part in sets]) - 1, torch.cat(y)


# %%
torch.manual_seed(0)
layers = []
for channels in (1, 16, 16):
    layers += [nn.Conv2d(channels, 16, 3, stride=2, padding=1)]
    layers += [nn.GroupNorm(4, 16), nn.ReLU()]
body = nn.Sequential(*layers, nn.Flatten())
small = meta.module_loss(nn.Sequential(body, nn.Linear(64, 5)))
pictures, classes = glyphs_of("latin", "greek", "cyrillic")
sampler = meta.EpisodeSampler(classes, 5, 1, 5)


def episodes(generator):
    e = sampler.draw(generator, 4).take(pictures)
    return (e.support_x, e.support_y), (e.query_x, e.query_y)


how = dict(iterations=320, steps=3, inner_lr=0.2, outer_lr=5e-3)
found = meta.meta_train(small, small.params(), episodes, **how).params
small.model.load_state_dict(found, strict=False)
new = glyphs_of("armenian", "georgian")
arm = dict(question="updates", method="maml")
done = meta.few_shot_accuracy(body, new, episodes=300, progress=False)
assert study.holds("prototypes", done.interval.value, **arm)
print("live:", done.interval)
print("stored:", study.values("prototypes", **arm).round(3))

# %% [markdown]
# ## 8. BatchNorm in an inner loop
#
# **Running statistics leak.** In train mode BatchNorm writes batch means into a buffer:
# support, query and all tasks end up in *one* average, so the answer for a task depends on
# which tasks came before. `functional_call` does not protect: buffers are changed in
# place.
#
# **Batch statistics are transductive** (chapter 07: unlabelled test samples take part).
# Without buffers a query is normalised by the *other queries*. The usual test batch
# holds all classes equally often, which tells the network something that a single user's
# picture would not. Below: one network, all 75 queries together
# against batches of one class. Safe: GroupNorm, LayerNorm, or statistics of the support
# only (Bronskill et al., 2020).

# %%
shared = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
x, before = torch.randn(6, 3), shared.eval()(torch.ones(1, 3))
own = dict(shared.named_parameters())
functional_call(shared.train(), own, (x + 5,))  # another task
assert (leak := (shared.eval()(torch.ones(1, 3)) - before).abs().max()) > 0.01

# %%
print(f"one look at another task moved our output by {leak.item():.2f}\n")
try:
    meta.module_loss(shared.train()).outputs(own, x)
except ValueError as refused:
    print("maml_grad refuses it:", refused)

# %%
together = study.values("accuracy", question="batchnorm")
apart = study.values("by_class", question="batchnorm")
lost = metrics.paired_difference(together, apart)
assert lost.low > 0.1
assert np.allclose(glyph("maml", "by_class"), glyph("maml"), atol=0.002)

# %%
print("BatchNorm, queries mixed:       ", metrics.mean_interval(together))
print("BatchNorm, one class at a time: ", metrics.mean_interval(apart))
print("GroupNorm, either way:          ", metrics.mean_interval(glyph("maml")))
print("what the mixed batch was worth: ", lost)

# %% [markdown]
# ## 9. Adapting a policy
#
# A walker starts in the middle of a square without walls. Its **state** $s$ is its
# position; it **never sees the goal**. In each of 20 steps it takes an **action** $a$, a
# move of at most 0.1 per coordinate, for a **reward**: minus the distance to the
# goal. One walk is a **trajectory** $\tau$, the sum of its rewards the **return**
# $R(\tau)$. The **policy** $\pi_\theta(a\mid s)$ is Gaussian around a network's output.
# A task is a goal.
#
# The support set is 20 **own** trajectories: to learn about its goal the walker must walk.
# The loss is minus the mean return. `backward` cannot go through it: $\theta$ only
# decides which actions are drawn.

# %% [markdown]
# ### The policy gradient
#
# A trajectory has the probability $p_\theta(\tau)$, a product of $\pi_\theta(a_h\mid s_h)$
# over the steps $h$ and of the world's part, which has no $\theta$. So with $\nabla
# p=p\,\nabla\log p$ (Williams, 1992)
#
# $$\nabla\,\mathbb E[R(\tau)]=\mathbb E\big[R(\tau)\,\nabla\log p_\theta(\tau)\big]
#   =\mathbb E\Big[\sum_h\nabla\log\pi_\theta(a_h\mid s_h)\,(G_h-b_h)\Big].$$
#
# $G_h$ is the sum of the rewards from step $h$ on: earlier rewards do not depend on $a_h$.
# Any **baseline** $b_h$ that does not depend on $a_h$ is free, as
# $\mathbb E[\nabla\log\pi]=0$; ours is the mean $G_h$ of the *other* trajectories. It
# makes the estimate less noisy.

# %% [markdown]
# ### Its second derivative is another matter
#
# The inner loss, the mean over trajectories of $-\sum_h\log\pi(a_h\mid s_h)\,(G_h-b_h)$
# with $G$ and $b$ as constants, is a **surrogate**: its value means nothing, its **first**
# gradient is right. MAML asks for the Hessian of the return:
#
# $$\nabla^2\,\mathbb E[R]=\mathbb E\big[R\,(\nabla^2\log p+\nabla\log p\,\nabla\log
#   p^\top)\big].$$
#
# Differentiating the surrogate again gives the first term only (**naive**): with other
# parameters *other* trajectories would have been drawn, and a constant $G$ hides that.
# **DiCE** (Foerster et al., 2018) multiplies the rewards by $e^{\log p-\mathrm{stop}(\log p)}$,
# `stop` being `detach`: 1 in value, its derivative is the **score** $\nabla\log p$, and it
# can be differentiated again.
#
# By hand: one action, chosen with $p=\operatorname{sigm}(\theta)$, reward 1 for it. At
# $\theta=0$: $(\mathbb E R)''=p(1-p)(1-2p)=0$; naive: $p\,(\log p)''=-p\,p(1-p)
# =-\frac18$.

# %%
def second(surrogate):  # derivative at 0; the other action earns nothing
    def mean(theta):
        return theta.sigmoid().detach() * surrogate(F.logsigmoid(theta))
    return grad(grad(mean))(torch.tensor(0.0)).item()


# %%
naive = second(lambda log_p: log_p)
dice = second(lambda log_p: torch.exp(log_p - log_p.detach()))
assert abs(naive + 0.125) < 1e-6 and abs(dice) < 1e-6
print(f"second derivative: true 0, naive {naive:.3f}, DiCE {dice:.3f}")

# %%
policy = meta.NavigationPolicy(width=40, seed=0)


def train_walker(steps=1, rate=5e-4):  # MAML's: seed 0 of the study
    start, g = policy.params(), torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(start.values(), lr=3e-3)
    settings = meta.RlSettings(inner_lr=rate, steps=steps)
    for _ in range(150):
        args = policy, start, meta.sample_goals(20, g), settings
        grads, _ = meta.rl_maml_grad(*args, generator=g)
        for name, value in start.items():
            value.grad = grads[name]
        adam.step()
    return start


def after_one(start, rate):
    g = torch.Generator().manual_seed(9)
    args = meta.sample_goals(100, g), meta.RlSettings(inner_lr=rate)
    return meta.rl_adapt(policy, start, *args, generator=g)[1][1].mean()


walker, joint = train_walker(), train_walker(steps=0)
tuned = max(after_one(joint, r) for r in (5e-4, 2e-3, 4e-3, 8e-3, 2e-2))

# %%
goals = torch.tensor([[0.4, 0.3], [-0.4, 0.2], [-0.1, -0.4], [0.35, -0.35]])
settings = meta.RlSettings(inner_lr=5e-4, steps=2)
path, returns = meta.rl_adapt(policy, walker, goals, settings, generator=g)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.1), sharex=True, sharey=True)
for n, ax in enumerate(axes):
    done = meta.rollout(policy, path[n], goals, 3, generator=g)
    for t, marker in enumerate("osD^"):
        for walk in done.states[t]:  # (20, 2)
            ax.plot(*walk.T, color=f"C{t}", marker=marker, ms=2, ls="-")
        ax.plot(*goals[t], marker, color=f"C{t}", ms=10, mec="black")
    ax.set(title=f"after {n} updates", xlabel="x (side of the square = 1)")
axes[0].set_ylabel("y")
title = "One policy gradient step, and the walkers head for their goals"
figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
own = after_one(walker, 5e-4)
assert own > tuned + 0.3 and returns[1].mean() > returns[0].mean() + 1
print(f"100 goals, one update: {own:.1f}; joint, its best rate: {tuned:.1f}")

# %% [markdown]
# ### Which meta-gradient?
#
# The study trains with four estimators and, as a control, jointly: `naive`; `dice`;
# `e-maml` (Stadie et al., 2018; Al-Shedivat et al., 2018; it credits the first
# trajectories for the return they lead to, without bias); `fomaml`. 100 new goals, five
# seeds. All use the rate that the starts were trained with. The joint
# start would like a larger one: live, above, it had the best of five, chosen on the
# very test goals, and stayed behind.

# %%
def walks(kind, n=1):
    return study.values(f"return_{n}", question="walkers", method=kind)


kinds = ("naive", "fomaml", "dice", "e-maml", "joint")
curves = {
    kind: np.array([walks(kind, n) for n in range(4)]).T for kind in kinds
}
ax = plots.learning_curve(
    range(4), curves, xlabel="policy gradient updates (20 trajectories each)",
    ylabel="mean return, 20 steps (100 goals)",
    title="A meta-trained start finds its goal in one update",
)
ax.set_xticks(range(4))
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
for other in kinds[1:]:
    gain = metrics.paired_difference(walks("naive"), walks(other))
    print(f"naive minus {other:6}, return after 1 update: {gain}")
    assert other == "fomaml" or gain.low > 0

# %% [markdown]
# A second surprise: the estimators with less bias are **worse** here. A likely reason:
# scores of whole trajectories are noisy, and with few of them noise costs more than
# bias (Rothfuss et al., 2019).
#
# ## 10. How much does second order buy?
#
# First, MAML minus FOMAML, paired by seed, in three worlds (waves: `log10` error, lower
# is better; glyphs: accuracy; walkers: return).
#
# **Design choices**: the knobs of a short training on waves, one at a time, against the
# reference: MAML, one inner step of 0.01, 10 points, 150 outer steps. `log10` of the
# median error after 10 steps at the rate of training: $-0.3$ is half the error. A
# knob's weight depends on how far we turned it.

# %%
wave = paired(*(np.log10(wave_runs(kind)) for kind in ("maml", "fomaml")))
picture = paired(glyph("maml"), glyph("fomaml"))
walk = paired(walks("naive"), walks("fomaml"))
print(f"waves   {wave}\nglyphs  {picture}\nwalkers {walk}")
assert wave.high < 0 < picture.low and walk.low < 0 < walk.high


# %%
def trial(seed, shots=10, inner_lr=0.01, adapted=None, **more):
    options = dict(seed=seed, inner_lr=inner_lr, adapted=adapted, **more)
    options["sample"] = lambda generator: draw(generator, shots)
    start = train(iterations=150, progress=False, **options)
    found = errors(start, inner_lr, adapted=adapted)
    return np.log10(found.median().item())


knobs = {
    "reference": {},
    "first order (FOMAML)": dict(method="fomaml"),
    "head adapts only (ANIL)": dict(adapted=meta.anil_params(loss.params())),
    "3 inner steps in training": dict(steps=3),
    "inner rate 0.001": dict(inner_lr=0.001),
    "inner rate 0.03": dict(inner_lr=0.03),
    "5 points in training": dict(shots=5),
    "outer rate 0.001": dict(outer_lr=0.001),
}
trials = {k: [trial(s, **v) for s in range(5)] for k, v in knobs.items()}
base = trials.pop("reference")
effects = {name: paired(values, base) for name, values in trials.items()}

# %%
title = "In a short training too small a rate costs most"
label = "log10 of the error minus the reference's (negative is better)"
plots.effect_table(effects, title=title, xlabel=label)
for rate in ("inner rate 0.001", "outer rate 0.001"):
    assert effects[rate].low > 0

# %% [markdown]
# ### Choosing
#
# | you have | take |
# |---|---|
# | classes with pictures, few labels | first a pretrained probe or ProtoNet (chapter 10): cheap, no inner rate |
# | regression or control, where no prototype exists | MAML; FOMAML if memory or time is short |
# | a large body | ANIL: the inner loop is the head only |
# | only an optimiser, no query sets | Reptile, with time to train |
# | many inner steps | first order: the graph of all steps must fit in memory |
#
# In any case: tune the inner rate, use a norm without batch statistics, report medians
# and a tuned joint start beside the result.

# %% [markdown]
# ## Recap
#
# - MAML trains the start for what it becomes: $\nabla V=\mathbb E_t[(I-\alpha H_t)\nabla
#   L_t^q(\theta_t')]$; several steps multiply such factors.
# - FOMAML takes the factor as $I$; Reptile moves towards the adapted weights; ANIL adapts
#   the head. To first order all reward agreement of gradients within a task.
# - `vmap(grad(...))`, not `grad(vmap(...))`: with affine norms the latter is silently
#   wrong. One float64 check against a loop finds it.
# - $\alpha<2/\lambda_{\max}$, or adapting destroys.
# - BatchNorm leaks between tasks or makes the test transductive.
# - On glyphs MAML was behind a plain probe with 80 updates and ahead with 320, from as
#   many episodes: compare budgets before methods. FOMAML stayed behind. On waves and
#   walkers, where a mean answer fails, a trained start is worth much.

# %% quiz=true

# %% [markdown]
# ## Sources
#
# - C. Finn, P. Abbeel, S. Levine: Model-agnostic meta-learning. ICML, 2017.
# - A. Nichol, J. Achiam, J. Schulman: On first-order meta-learning algorithms.
#   arXiv:1803.02999, 2018.
# - A. Raghu et al.: Rapid learning or feature reuse? ICLR, 2020.
# - A. Antoniou, H. Edwards, A. Storkey: How to train your MAML. ICLR, 2019.
# - J. Bronskill et al.: TaskNorm. ICML, 2020.
# - R. J. Williams: Simple statistical gradient-following algorithms. Machine Learning,
#   1992.
# - J. Foerster et al.: DiCE. ICML, 2018. M. Al-Shedivat et al.: Continuous adaptation
#   via meta-learning. ICLR, 2018. B. C. Stadie et al.: Some considerations on learning
#   to explore via meta-reinforcement learning. arXiv:1803.01118, 2018. J. Rothfuss et
#   al.: ProMP. ICLR, 2019.
#
# Next: the exercises of this chapter.
