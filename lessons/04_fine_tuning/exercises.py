# %% [markdown]
# # Fine-tuning: exercises
#
# Answer each cell that says `YOUR CODE HERE`, run it, then run the check below
# it. A check names the likely mistake. Stuck? `hint("fine_tuning.param_groups")`
# gives one of three hints.
#
# Eight exercises, 32 points, and one question that a person marks.

# %%
import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from tlcourse import check, hint, progress
from tlcourse.features import freeze, unfreeze

# %% [markdown]
# ## 1. A learning rate for every stage
#
# Write `param_groups(model, lr, stages, factor)`. `stages` are names of parts, as in
# `model.named_modules()` (`body`, or `body.0`), from the input to the head. Return a
# list of dictionaries `{"params": [...], "lr": rate}`, as a torch optimiser takes it.
#
# - The last stage learns at `lr`, each stage before it at the next one's rate
#   divided by `factor`.
# - Every parameter of the model that asks for a gradient is in **exactly one**
#   group. If two stages share a parameter, it is in the earlier one of the list.
# - Frozen parameters are in no group, and stay frozen. A stage that is frozen as a
#   whole keeps its place in the count.
# - Any trainable parameter outside all stages is a `ValueError`, and so is a name that
#   the model does not have. `"body"` names that part, not one called `body2`.
#
# By hand: stages `stem`, `body`, `head` with `lr=0.1` and `factor=2` have the rates
# $0.025,\ 0.05,\ 0.1$; also when `body` is frozen and has no group.


# %% answer="fine_tuning.param_groups"
def param_groups(model, lr, stages, factor):
    ### BEGIN SOLUTION
    parts = dict(model.named_modules())
    placed, groups = set(), []
    for i, stage in enumerate(stages):
        if stage not in parts:
            raise ValueError(f"the model has no part {stage!r}")
        params = []
        for parameter in parts[stage].parameters():
            if parameter.requires_grad and parameter not in placed:
                params.append(parameter)
                placed.add(parameter)
        if params:
            distance = len(stages) - 1 - i
            groups.append({"params": params, "lr": lr / factor**distance})
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter not in placed:
            raise ValueError(f"no stage holds {name!r}")
    return groups
    ### END SOLUTION


# %% check="fine_tuning.param_groups"
check("fine_tuning.param_groups", param_groups)

# %% [markdown]
# ## 2. Gradual unfreezing
#
# Write `gradual_unfreeze(model, epoch, stages, every)`, called before each epoch
# $e=0,1,\dots$ It lets the last $1+\lfloor e/\text{every}\rfloor$ stages learn, at
# most all of them, and returns the list of their names, in their order. Names are as in
# exercise 1.
#
# - Everything else in the model is frozen: no gradient, and eval mode also after
#   `model.train()`, so that its BatchNorm statistics stay and its dropout does nothing.
#   You may use `freeze` and `unfreeze`, imported above from chapter 03.
# - In a stage that learns, all weights learn, also one that was frozen before; after
#   `model.train()` its BatchNorm and dropout are in train mode.
# - The result depends on `epoch` alone, not on earlier calls.
# - A name that the model does not have, at whatever place, and a negative epoch are a
#   `ValueError`.
#
# By hand: stages `stem`, `body`, `head` and `every=2`. Epochs 0 and 1: `["head"]`; 2
# and 3: `["body", "head"]`; from 4 on all three.


# %% answer="fine_tuning.gradual_unfreeze"
def gradual_unfreeze(model, epoch, stages, every):
    ### BEGIN SOLUTION
    known = [name for name, _ in model.named_modules()]
    for stage in stages:
        if stage not in known:
            raise ValueError(f"the model has no part {stage!r}")
    if epoch < 0:
        raise ValueError(f"epoch must be at least 0, got {epoch}")
    count = min(len(stages), 1 + epoch // every)
    learning = list(stages[len(stages) - count :])
    unfreeze(model)
    freeze(model, except_for=learning)
    return learning
    ### END SOLUTION


# %% check="fine_tuning.gradual_unfreeze"
check("fine_tuning.gradual_unfreeze", gradual_unfreeze)

# %% [markdown]
# ## 3. Warm-up, then a cosine
#
# Write `warmup_cosine(step, total_steps, warmup_steps, peak, floor)`, the learning
# rate of step $t$. With $T$ steps in all and $W$ of them for warming up,
#
# $$\eta(t)=\begin{cases}\text{peak}\,\dfrac{t+1}{W+1} & t\le W\\[1ex]
#   \text{floor}+\dfrac{\text{peak}-\text{floor}}{2}
#   \Bigl(1+\cos\pi\,\dfrac{t-W}{T-1-W}\Bigr) & W<t<T\\[1ex]
#   \text{floor} & t\ge T.\end{cases}$$
#
# - Return a `float`. $W=0$ means no warm-up, $W=T-1$ nothing but.
# - $t<0$ and $W\ge T$ are a `ValueError`.
#
# By hand, with $T=7$, $W=2$, peak $0.9$, floor $0.1$: the steps 0, 1, 2 have
# $0.3,\ 0.6,\ 0.9$; step 4 is half-way down, $0.5$; step 6 has $0.1$.


# %% answer="fine_tuning.warmup_cosine"
def warmup_cosine(step, total_steps, warmup_steps, peak, floor):
    ### BEGIN SOLUTION
    if step < 0 or warmup_steps >= total_steps:
        raise ValueError("need step >= 0 and warmup_steps < total_steps")
    if step <= warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    if step >= total_steps:
        return floor
    way = (step - warmup_steps) / (total_steps - 1 - warmup_steps)
    return floor + (peak - floor) * (1 + math.cos(math.pi * way)) / 2
    ### END SOLUTION


# %% check="fine_tuning.warmup_cosine"
check("fine_tuning.warmup_cosine", warmup_cosine)

# %% [markdown]
# ## 4. Linear probing, then fine-tuning
#
# Write `lp_ft(model, head, x, y, probe_lr, lr, probe_steps, steps)`. `head` is the
# name of the new head. It trains the model in place, by `descend` below.
#
# - Phase 1: `probe_steps` steps at `probe_lr`. Only the head learns; the rest stays,
#   BatchNorm statistics included, and is in eval mode, every module of it.
# - Phase 2: `steps` steps at `lr`, in train mode. What asked for a gradient **before
#   the call** learns; what its owner had frozen stays as it is.
# - Afterwards each parameter has the `requires_grad` it had, the model is in eval
#   mode, and `model.train()` reaches all its modules again.
#
# The head asks for a gradient from the start. You may use `freeze` and `unfreeze`;
# remember that `unfreeze` thaws everything.
#
# By hand: a BatchNorm of the body with momentum $0.1$ and running mean $0$ sees
# batches of mean $4$. After phase 1 its running mean is $0$, after the first step of
# phase 2 it is $0.4$.


# %%
def descend(model, x, y, lr, steps):
    """Full-batch gradient descent on all that asks for a gradient."""
    for _ in range(steps):
        learning = [p for p in model.parameters() if p.requires_grad]
        loss = F.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, learning)
        with torch.no_grad():
            for parameter, gradient in zip(learning, gradients, strict=True):
                parameter -= lr * gradient


# %% answer="fine_tuning.lp_ft"
def lp_ft(model, head, x, y, probe_lr, lr, probe_steps, steps):
    ### BEGIN SOLUTION
    asked = [(p, p.requires_grad) for p in model.parameters()]
    freeze(model, except_for=[head])
    model.train()
    descend(model, x, y, probe_lr, probe_steps)
    unfreeze(model)
    for parameter, flag in asked:
        parameter.requires_grad = flag
    model.train()
    descend(model, x, y, lr, steps)
    model.eval()
    ### END SOLUTION


# %% check="fine_tuning.lp_ft"
check("fine_tuning.lp_ft", lp_ft)

# %% [markdown]
# ## 5. Elastic weight consolidation
#
# Write `ewc_penalty(params, source, fisher, strength)`, a scalar tensor:
#
# $$\frac\lambda2\sum_i F_i\,(w_i-w_i^0)^2 ,\qquad \lambda=\texttt{strength}.$$
#
# - All three map names to tensors. The sum runs over the entries of the parameters
#   that `source` and `fisher` both have **under the same name and with the same
#   shape**. Other parameters, such as a new head, are free. At least one counts.
# - No gradient flows into `source` or `fisher`, and you change neither, nor their
#   `requires_grad`.
# - The dictionaries may list their names in any order, and stay as they are.
# - A negative strength is a `ValueError`; 0 is not.
#
# By hand: $w=(1,2)$, $w^0=(0,2.5)$, $F=(2,4)$, $\lambda=3$ give
# $\frac32(2\cdot1+4\cdot\frac14)=4.5$, and the gradient $\lambda F(w-w^0)=(6,-6)$.


# %% answer="fine_tuning.ewc_penalty"
def ewc_penalty(params, source, fisher, strength):
    ### BEGIN SOLUTION
    if strength < 0:
        raise ValueError(f"strength must be at least 0, got {strength}")
    total = 0
    for name, w in params.items():
        if name not in source or name not in fisher:
            continue
        anchor, weight = source[name].detach(), fisher[name].detach()
        if anchor.shape == w.shape and weight.shape == w.shape:
            total = total + (weight * (w - anchor) ** 2).sum()
    return strength / 2 * total
    ### END SOLUTION


# %% check="fine_tuning.ewc_penalty"
check("fine_tuning.ewc_penalty", ewc_penalty)

# %% [markdown]
# ## 6. Weights on the line
#
# Write `wise_ft(source_state, tuned_state, alpha)`. Both are `state_dict`s of one
# architecture. Return a new dictionary with the same names.
#
# - Float entries: $(1-\alpha)\,w^0+\alpha\,w$, with $w^0$ from the source, in their
#   own dtype. Running statistics are float entries, too.
# - Other entries (counters, masks) are copies of the **tuned** ones.
# - The inputs do not change, and the result shares no memory with them: writing into
#   it must not reach a model.
# - $\alpha\notin[0,1]$, a name that only one state has (whichever), and entries of
#   different shapes (of any dtype) are a `ValueError`.
#
# By hand: source $1$, tuned $3$, $\alpha=\frac14$ give $1.5$. Counters $10$ and $40$
# give $40$.


# %% answer="fine_tuning.wise_ft"
def wise_ft(source_state, tuned_state, alpha):
    ### BEGIN SOLUTION
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    if set(source_state) != set(tuned_state):
        raise ValueError("the states do not have the same names")
    mixed = {}
    for name, tuned in tuned_state.items():
        source = source_state[name]
        if source.shape != tuned.shape:
            raise ValueError(f"{name!r} has two shapes")
        if tuned.is_floating_point():
            mixed[name] = (1 - alpha) * source + alpha * tuned
        else:
            mixed[name] = tuned.clone()
    return mixed
    ### END SOLUTION


# %% check="fine_tuning.wise_ft"
check("fine_tuning.wise_ft", wise_ft)

# %% [markdown]
# ## 7. LoRA
#
# Write the class `LoRALinear(linear, rank, alpha)`, an `nn.Module`:
# $h=Wx+b+\frac{\alpha}{r}BAx$, with $W$ and $b$ of the given `nn.Linear`.
#
# - `lora_a`: $A$, a parameter $(r, d_{in})$, drawn anew for every layer; set no seed.
#   `lora_b`: $B$, a parameter $(d_{out}, r)$, zeros. Both in the given layer's dtype and
#   on its device.
# - `forward(x)` takes $(\dots, d_{in})$. $W$ and $b$, which may be missing, stay as
#   they are: of the layer's parameters only $A$ and $B$ ask for a gradient.
# - `merge()` returns a **new** `nn.Linear` with the same output, in the same dtype,
#   with a bias only if the given layer has one. It shares no memory with the
#   `LoRALinear`, which goes on learning as before; merging twice gives the same twice.
# - $1\le r\le\min(d_{in},d_{out})$, otherwise a `ValueError`.
#
# By hand: $W=(1,2)$, $b=0$, $A=(1,-1)$, $B=(3)$, $\alpha=2$, $r=1$ and $x=(1,4)$:
# $9+2\cdot3\cdot(-3)=-9$. Merged: $(1,2)+6\,(1,-1)=(7,-4)$, and $7-16=-9$.


# %% answer="fine_tuning.lora_linear"
class LoRALinear(nn.Module):
    def __init__(self, linear, rank, alpha):
        ### BEGIN SOLUTION
        super().__init__()
        d_out, d_in = linear.weight.shape
        if rank < 1 or rank > min(d_in, d_out):
            raise ValueError(f"rank must lie in [1, {min(d_in, d_out)}]")
        self.linear = linear
        for parameter in linear.parameters():
            parameter.requires_grad = False
        self.scale = alpha / rank
        like = {"dtype": linear.weight.dtype, "device": linear.weight.device}
        start = torch.randn(rank, d_in, **like) / d_in**0.5
        self.lora_a = nn.Parameter(start)
        self.lora_b = nn.Parameter(torch.zeros(d_out, rank, **like))
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        update = x @ self.lora_a.T @ self.lora_b.T
        return self.linear(x) + self.scale * update
        ### END SOLUTION

    def merge(self):
        ### BEGIN SOLUTION
        merged = copy.deepcopy(self.linear)
        with torch.no_grad():
            merged.weight += self.scale * self.lora_b @ self.lora_a
        return merged
        ### END SOLUTION


# %% check="fine_tuning.lora_linear"
check("fine_tuning.lora_linear", LoRALinear)

# %% [markdown]
# ## 8. Bug hunt: a fine-tuning script
#
# The code below runs without an error. It has **five mistakes**, each of them common.
# Find and mend them.
#
# The model has the parts `stem`, `body` and `head`, the first two with BatchNorm. What
# `bug_hunt` should do:
#
# - Put a new head with `num_classes` outputs on. The stem is frozen: weights, running
#   statistics, and eval mode in every forward pass. All the rest learns, in train mode.
# - Every training batch is augmented anew by `augment`, the validation never.
#   Validation is in eval mode, on all of `x_val`.
# - `rate(step)` is the learning rate of optimiser step $0, 1, 2, \dots$, counted
#   through all epochs. (In the check some of its rates do harm, or are 0, on purpose.)
# - At the end the model has the weights of the epoch with the best validation
#   accuracy, which is returned.
#
# The optimiser and the evaluation come first. They are right; use them as they are.


# %%
class SGD:
    def __init__(self, parameters):
        self.parameters = [p for p in parameters if p.requires_grad]

    @torch.no_grad()
    def step(self, lr):
        for p in self.parameters:
            if p.grad is not None:
                p -= lr * p.grad
                p.grad = None


def accuracy_on(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


# %% answer="fine_tuning.bug_hunt"
### BEGIN STUB
def bug_hunt(model, x, y, x_val, y_val, num_classes, epochs, batch_size, rate, augment):
    model.stem.requires_grad_(False)
    optimizer = SGD(model.parameters())
    model.head = nn.Linear(model.head.in_features, num_classes)
    best_accuracy = -1
    for epoch in range(epochs):
        model.train()
        for index in torch.randperm(len(x)).split(batch_size):
            loss = F.cross_entropy(model(augment(x[index])), y[index])
            loss.backward()
            optimizer.step(rate(epoch))
        accuracy = accuracy_on(model, augment(x_val), y_val)
        if accuracy > best_accuracy:
            best_accuracy, best = accuracy, model.state_dict()
    model.load_state_dict(best)
    return best_accuracy


### END STUB
### BEGIN SOLUTION
def bug_hunt(model, x, y, x_val, y_val, num_classes, epochs, batch_size, rate, augment):
    model.stem.requires_grad_(False)
    model.head = nn.Linear(model.head.in_features, num_classes)
    optimizer = SGD(model.parameters())
    best_accuracy, step = -1, 0
    for epoch in range(epochs):
        model.train()
        model.stem.eval()
        for index in torch.randperm(len(x)).split(batch_size):
            loss = F.cross_entropy(model(augment(x[index])), y[index])
            loss.backward()
            optimizer.step(rate(step))
            step += 1
        accuracy = accuracy_on(model, x_val, y_val)
        if accuracy > best_accuracy:
            best_accuracy = accuracy
            best = copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    return best_accuracy


### END SOLUTION


# %% check="fine_tuning.bug_hunt"
check("fine_tuning.bug_hunt", bug_hunt)

# %% [markdown] question="fine_tuning-why" points=2
# ## 9. Which weights would you move? (marked by a person)
#
# A factory inspects welds. You have 40 labelled pictures of a new alloy, 3,000 of an
# old one on which your network was trained, and the network must go on working for
# both. A colleague proposes: replace the head, train everything for 100 epochs at one
# rate, keep the epoch with the best accuracy on the 40. In at most 150 words: name
# three risks, and what you would do instead.
#
# === BEGIN MARK SCHEME ===
# 1 point for three risks, with reasons: the random head's gradients distort the body;
# 40 labels overfit millions of weights, and their accuracy, measured on the training
# pictures, picks the most overfitted epoch; the old alloy is forgotten, and nobody
# measures it; BatchNorm statistics move to the new alloy.
# 1 point for a plan that answers them: same classes, so keep the head; probe first,
# then small or discriminative rates, or LoRA or BitFit, with BatchNorm frozen; old
# pictures replayed, or L2-SP or EWC, or WiSE-FT; a validation part that holds both
# alloys, cross-validated because 40 is few, and a number for each alloy, against the
# unchanged network as a baseline.
# === END MARK SCHEME ===
