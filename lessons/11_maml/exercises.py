# %% [markdown]
# # Learning to adapt: exercises
#
# Answer each cell that says `YOUR CODE HERE`, run it, then run the check below
# it. A check names the likely mistake. Stuck? `hint("maml.inner_step")` gives one of
# three hints.
#
# Seven exercises, 25 points, and one question that a person marks.
#
# In all of them `params` is a dict of float tensors by name, and
# `loss(params, x, y)` is the mean loss of **one** task, a scalar tensor, whatever
# the model behind it. You may use `torch.autograd.grad` or `torch.func`, loops or
# `vmap`: the checks ask for the right numbers. The first use of `torch.func` loads for
# some seconds, longer inside a check: try your function on an example first.

# %%
import torch

from tlcourse import check, hint, progress

# %% [markdown]
# The examples by hand below use this loss, $\frac12(wx-y)^2$ with the Hessian
# $x^2$. Try your functions on it, too.


# %%
def half_square(params, x, y):
    return (params["w"] * x - y).square().mean() / 2


# %% [markdown]
# ## 1. A step of SGD that can be differentiated
#
# Write `inner_step(loss, params, x, y, inner_lr, adapted=None)`, a **new** dict with
# all names of `params`:
#
# $$\theta'=\theta-\alpha\,\nabla_\theta\mathcal L(\theta; x, y),\qquad
#   \alpha=\texttt{inner\_lr}.$$
#
# - `adapted` is a list of names in any order: only these move. The others are passed
#   on as they are, also for gradients. `None`: all move.
# - The step is differentiable: the derivative of $\theta'$ by $\theta$ is
#   $I-\alpha H$, with $H$ the Hessian of the loss. This holds through several steps
#   in a row, too.
# - All of `params` require a gradient; they may be results of an earlier step. A
#   parameter that `loss` does not use stays as it is (`allow_unused=True` makes
#   `torch.autograd.grad` return None for it instead of an error).
# - The dict `params`, its tensors, their `requires_grad` and `.grad` stay as they are.
#
# By hand: $w=1$, $x=1$, $y=3$, $\alpha=0.5$. The gradient is $(1-3)\cdot1=-2$, so
# $w'=1+0.5\cdot2=2$; and $dw'/dw=1-0.5\cdot1=0.5$.


# %% answer="maml.inner_step"
def inner_step(loss, params, x, y, inner_lr, adapted=None):
    ### BEGIN SOLUTION
    names = list(params) if adapted is None else list(adapted)
    gradients = torch.autograd.grad(
        loss(params, x, y),
        [params[name] for name in names],
        create_graph=True,
        allow_unused=True,
    )
    moved = dict(params)
    for name, gradient in zip(names, gradients, strict=True):
        if gradient is not None:
            moved[name] = params[name] - inner_lr * gradient
    return moved
    ### END SOLUTION


# %% check="maml.inner_step"
check("maml.inner_step", inner_step)

# %% [markdown]
# ## 2. ANIL: what moves in the inner loop
#
# Write `anil_params(params, head="head")`: the names of the parameters at or below
# the part `head`, as a tuple or list, in the order of `params`.
#
# - With `head="head"`: `head`, `head.weight` and `head.proj.bias` count;
#   `head2.weight`, `header.bias`, `head_scale` and `body.head.weight` do not.
# - `head` may have dots: `"net.1"` is not `"net.10"`, nor `"net_1"`.
# - No such parameter: a `ValueError`. Otherwise nothing would adapt, and nobody would
#   notice.
# - The dict `params`, its tensors and their `requires_grad` stay as they are.
#
# By hand: names `body.weight`, `head.weight`, `head.bias` give
# `("head.weight", "head.bias")`.


# %% answer="maml.anil_params"
def anil_params(params, head="head"):
    ### BEGIN SOLUTION
    names = []
    for name in params:
        if name == head or name.startswith(head + "."):
            names.append(name)
    if len(names) == 0:
        raise ValueError(f"no parameter at or below {head!r}")
    return names
    ### END SOLUTION


# %% check="maml.anil_params"
check("maml.anil_params", anil_params)

# %% [markdown]
# ## 3. The gradient of MAML
#
# Write `maml_grad(loss, params, support, query, inner_lr, steps=1)`. It returns the
# pair `grads, value`:
#
# $$\text{value}=\frac1T\sum_{t=1}^T
#   \mathcal L\bigl(\theta_t^{(s)};\text{query}_t\bigr),$$
#
# $$\theta_t^{(0)}=\theta,\qquad \theta_t^{(j+1)}=\theta_t^{(j)}
#   -\alpha\,\nabla\mathcal L\bigl(\theta_t^{(j)};\text{support}_t\bigr),$$
#
# and `grads`, a dict with the names of `params`: the **full** gradient of the value
# by $\theta$, through all $s$ = `steps` inner steps.
#
# - `support` and `query` are pairs $(x, y)$, $x$ of shape $(T, n, \ldots)$ and $y$ of
#   $(T, n, \ldots)$ with tasks first; $n$ differs between the two, $T\ge1$.
#   `y` may hold classes (int64).
# - `steps` $\ge0$; with 0 nothing adapts. `value`: a number or a scalar tensor.
# - One of the models has a LayerNorm whose scale and shift adapt: see part 3 of the
#   lesson if you use `vmap`.
# - `params` may require gradients or not. Their values, `requires_grad` and `.grad`,
#   and the dict, are left as they are.
#
# By hand: as above, $w'=2$. The query $x=1$, $y=4$ gives the value
# $\frac12(2-4)^2=2$ and, at $w'$, the gradient $-2$. By the chain rule
# $-2\cdot0.5=-1$.


# %% answer="maml.maml_grad"
def maml_grad(loss, params, support, query, inner_lr, steps=1):
    ### BEGIN SOLUTION
    start = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    names, num_tasks = list(start), len(support[0])
    value = 0
    for t in range(num_tasks):
        fast = start
        for _ in range(steps):
            inner = loss(fast, support[0][t], support[1][t])
            gradients = torch.autograd.grad(
                inner, [fast[name] for name in names], create_graph=True
            )
            fast = {
                name: fast[name] - inner_lr * gradient
                for name, gradient in zip(names, gradients, strict=True)
            }
        value = value + loss(fast, query[0][t], query[1][t]) / num_tasks
    outer = torch.autograd.grad(value, [start[name] for name in names])
    return dict(zip(names, outer, strict=True)), value.detach()
    ### END SOLUTION


# %% check="maml.maml_grad"
check("maml.maml_grad", maml_grad)

# %% [markdown]
# ## 4. The first-order gradient
#
# Write `fomaml_grad(loss, params, support, query, inner_lr, steps=1)`. Arguments,
# adaptation, `value` and what is left alone are as in exercise 3. But `grads` counts
# every inner gradient as a constant:
#
# $$\text{grads}=\frac1T\sum_{t=1}^T\nabla_\varphi
#   \mathcal L\bigl(\varphi;\text{query}_t\bigr)
#   \Big|_{\varphi=\theta_t^{(s)}} .$$
#
# By hand: the query gradient at $w'=2$ is $-2$, and that is all: $-2$, where MAML has
# $-1$. The value is again 2.


# %% answer="maml.fomaml_grad"
def fomaml_grad(loss, params, support, query, inner_lr, steps=1):
    ### BEGIN SOLUTION
    num_tasks, value = len(support[0]), 0
    grads = {name: torch.zeros_like(p) for name, p in params.items()}

    def gradient(fast, x, y):
        fast = {name: p.detach().clone().requires_grad_() for name, p in fast.items()}
        loss_here = loss(fast, x, y)
        found = torch.autograd.grad(loss_here, list(fast.values()))
        return dict(zip(fast, found, strict=True)), loss_here.detach()

    for t in range(num_tasks):
        fast = {name: p.detach() for name, p in params.items()}
        for _ in range(steps):
            inner, _ = gradient(fast, support[0][t], support[1][t])
            fast = {name: p - inner_lr * inner[name] for name, p in fast.items()}
        outer, loss_after = gradient(fast, query[0][t], query[1][t])
        value = value + loss_after / num_tasks
        grads = {name: g + outer[name] / num_tasks for name, g in grads.items()}
    return grads, value
    ### END SOLUTION


# %% check="maml.fomaml_grad"
check("maml.fomaml_grad", fomaml_grad)

# %% [markdown]
# ## 5. Reptile's step
#
# Write `reptile_update(params, adapted, step)`, a new dict:
#
# $$\theta+\epsilon\Bigl(\frac1T\sum_{t=1}^T\theta'_t-\theta\Bigr),\qquad
#   \epsilon=\texttt{step}\in(0, 1].$$
#
# - `adapted` has the names of `params`, perhaps in another order; each of its tensors
#   has one more dimension, the $T$ tasks, in front. A parameter may have any shape,
#   `()` too.
# - Both dicts, their tensors and `requires_grad` stay as they are.
#
# By hand: $\theta=1$, adapted $(2, 4)$, step $0.5$: the mean is 3, so
# $1+0.5\,(3-1)=2$.


# %% answer="maml.reptile_update"
def reptile_update(params, adapted, step):
    ### BEGIN SOLUTION
    updated = {}
    for name, p in params.items():
        mean = adapted[name].mean(dim=0)
        updated[name] = p.detach() + step * (mean - p.detach())
    return updated
    ### END SOLUTION


# %% check="maml.reptile_update"
check("maml.reptile_update", reptile_update)

# %% [markdown]
# ## 6. REINFORCE as an inner loss
#
# A policy adapts to a task by a step down this loss. Write
# `rl_inner_loss(log_probs, rewards, discount=1.0)`, a scalar tensor:
#
# $$-\frac1N\sum_{i=1}^N\sum_{h=1}^H\ln\pi(a_{ih}\mid s_{ih})\,A_{ih},\qquad
#   G_{ih}=\sum_{k\ge h}\gamma^{k-h}r_{ik},\quad
#   A_{ih}=G_{ih}-\frac1{N-1}\sum_{j\ne i}G_{jh}.$$
#
# - `log_probs` and `rewards` are float tensors $(N, H)$: $N$ trajectories of $H$
#   steps. They are not changed. The discount $\gamma$ = `discount` $\in[0, 1]$, with
#   $\gamma^0=1$ also for $\gamma=0$.
# - The baseline of a trajectory is the mean return-to-go of the **others** at the
#   same step.
# - $A$ is a constant: a gradient reaches `log_probs` only, even if `rewards` carry a
#   graph.
# - $N=1$ (there are no others) and unequal shapes, in whichever dimension, are a
#   `ValueError`.
#
# By hand, $\gamma=0.5$: rewards $(1, 2)$ and $(3, 0)$ have $G=(2, 2)$ and $(3, 0)$,
# so $A=(-1, 2)$ and $(1, -2)$. With log-probabilities $(-1, -1)$ and $(-1, -2)$ the
# loss is $-\frac12\,[(1-2)+(-1+4)]=-1$.


# %% answer="maml.rl_inner_loss"
def rl_inner_loss(log_probs, rewards, discount=1.0):
    ### BEGIN SOLUTION
    if log_probs.shape != rewards.shape:
        raise ValueError(f"shapes {log_probs.shape} and {rewards.shape} differ")
    num_trajectories, horizon = rewards.shape
    if num_trajectories < 2:
        raise ValueError("the baseline needs at least two trajectories")
    to_go = rewards.detach().clone()
    for h in reversed(range(horizon - 1)):
        to_go[:, h] = to_go[:, h] + discount * to_go[:, h + 1]
    others = (to_go.sum(dim=0) - to_go) / (num_trajectories - 1)
    return -(log_probs * (to_go - others)).sum(dim=1).mean()
    ### END SOLUTION


# %% check="maml.rl_inner_loss"
check("maml.rl_inner_loss", rl_inner_loss)

# %% [markdown]
# ## 7. Bug hunt: meta-training
#
# The code below runs without an error. It has **five mistakes**, each of them common.
# Find and mend them.
#
# What it should do: one outer step of plain SGD per entry of `batches`, a list of
# pairs `support, query` as in exercise 3.
#
# - The outer step moves the start by $-\eta$ (`outer_lr`) times MAML's full gradient:
#   mean over the tasks, `steps` inner steps with `inner_lr`.
# - It returns the start after all steps, and the list of the values: the mean query
#   loss after adaptation, before each outer step, one per entry of `batches`.
# - The dict `params`, its tensors and their `requires_grad` stay as they are.
#
# By hand, one batch with the one task of exercise 3 and $\eta=0.1$: $w$ goes from 1
# to $1-0.1\cdot(-1)=1.1$, and the list is $[2]$.


# %% answer="maml.bug_hunt"
### BEGIN STUB
def bug_hunt(loss, params, batches, inner_lr, outer_lr, steps):
    start = {k: p.detach().clone().requires_grad_() for k, p in params.items()}
    values = []
    for (support_x, support_y), (query_x, query_y) in batches:
        total, fast = 0, start
        tasks = zip(support_x, support_y, query_x, query_y, strict=True)
        for x_s, y_s, x_q, y_q in tasks:
            for _ in range(steps):
                inner = loss(fast, x_s, y_s)
                gradients = torch.autograd.grad(inner, list(start.values()))
                fast = {
                    k: p - inner_lr * g
                    for (k, p), g in zip(fast.items(), gradients, strict=True)
                }
            total = total + loss(fast, x_s, y_s) / len(support_x)
        total.backward()
        with torch.no_grad():
            for p in start.values():
                p -= outer_lr * p.grad
        values.append(total.item())
    return {k: p.detach() for k, p in start.items()}, values


### END STUB
### BEGIN SOLUTION
def bug_hunt(loss, params, batches, inner_lr, outer_lr, steps):
    start = {k: p.detach().clone().requires_grad_() for k, p in params.items()}
    values = []
    for (support_x, support_y), (query_x, query_y) in batches:
        total = 0
        tasks = zip(support_x, support_y, query_x, query_y, strict=True)
        for x_s, y_s, x_q, y_q in tasks:
            fast = start
            for _ in range(steps):
                inner = loss(fast, x_s, y_s)
                gradients = torch.autograd.grad(
                    inner, list(fast.values()), create_graph=True
                )
                fast = {
                    k: p - inner_lr * g
                    for (k, p), g in zip(fast.items(), gradients, strict=True)
                }
            total = total + loss(fast, x_q, y_q) / len(support_x)
        for p in start.values():
            p.grad = None
        total.backward()
        with torch.no_grad():
            for p in start.values():
                p -= outer_lr * p.grad
        values.append(total.item())
    return {k: p.detach() for k, p in start.items()}, values


### END SOLUTION


# %% check="maml.bug_hunt"
check("maml.bug_hunt", bug_hunt)

# %% [markdown] question="maml-why" points=2
# ## 8. Is it MAML? (marked by a person)
#
# A colleague's new "MAML" runs all tasks at once by `torch.func`, on a network with
# BatchNorm. On the held-out tasks it is as good as FOMAML, no better, and takes three
# times as long. In at most 150 words: how would you find out whether its gradient is
# right, which two or three causes would you suspect first, and if it turns out to be
# right, which method would you keep and why?
#
# === BEGIN MARK SCHEME ===
# 1 point for the test: compares the gradient, not the accuracy, in float64, with an
# independent one: a quadratic with the factors (I - alpha H) in closed form, finite
# differences, or a loop with create_graph=True, on the network with its norm layers;
# and holds FOMAML's gradient beside it, since a first-order gradient differs by just
# those factors.
# 1 point for causes and decision. Causes, at least two of: a detach, no_grad or copy
# in the inner loop (first order sold as MAML); the gradient taken of vmap through
# BatchNorm whose scale and shift adapt (a silent second-order error, exact when vmap
# stands outside); running statistics that leak between tasks or change between
# support and query; too small an inner rate, for which both gradients agree. Decision:
# if right and the paired difference over tasks and seeds is within its interval, keep
# FOMAML (or ANIL) for its cost; or MAML where curvature matters: large inner rate,
# many steps, a policy-gradient inner loop.
# === END MARK SCHEME ===
