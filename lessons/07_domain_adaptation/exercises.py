# %% [markdown]
# # Domain adaptation: exercises
#
# Answer each cell that says `YOUR CODE HERE`, run it, then run the check below
# it. A check names the likely mistake. Stuck?
# `hint("domain_adaptation.grad_reverse")` gives one of three hints.
#
# Ten exercises, 35 points, and one question that a person marks. No exercise needs
# an optimiser: a step of SGD is `p -= lr * gradient` under `torch.no_grad()`.

# %%
import math

import torch
import torch.nn.functional as F
from torch import nn

from tlcourse import adapt, check, hint, progress, shift

# %% [markdown]
# ## 1. Reverse the gradient
#
# Write `grad_reverse(z, strength)`. It returns the values of `z` unchanged. On the
# way back the gradient that reaches `z` **through the result** is
# $-\lambda$ times what came in, $\lambda$ = `strength` $\ge 0$.
#
# - `z` is any floating tensor, and may need no gradient; the result has its shape,
#   dtype and values. `z` itself is not changed, its `requires_grad` neither.
# - Other users of `z`, such as the classifier, send it their own gradient as usual.
#   What stands behind the result, the discriminator, learns as usual, too.
# - Several calls with unequal strengths may take part in one backward pass.
#
# By hand: $z=3$, $\lambda=0.5$, loss $r^2$ of the result $r$. Forward $r=3$. The
# gradient $\partial r^2/\partial r=6$ arrives, and $z$ gets $-0.5\cdot 6=-3$.


# %% answer="domain_adaptation.grad_reverse"
def grad_reverse(z, strength):
    ### BEGIN SOLUTION
    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            return z.view_as(z)

        @staticmethod
        def backward(ctx, grad):
            return -strength * grad

    return Reverse.apply(z)
    ### END SOLUTION


# %% check="domain_adaptation.grad_reverse"
check("domain_adaptation.grad_reverse", grad_reverse)

# %% [markdown]
# ## 2. The schedule of the reversal
#
# Write `dann_lambda(progress, slope=10.0)`, a float:
#
# $$\lambda(p)=\frac{2}{1+e^{-\gamma p}}-1,$$
#
# with $p$ = `progress`, the share of the training that is done, and $\gamma$ =
# `slope` $>0$, however large (2,000, say). A `progress` outside $[0, 1]$ is a
# `ValueError`: it is most likely a step number.
#
# By hand: $p=0$ gives $\frac22-1=0$; $p=0.1$ with $\gamma=10$ gives
# $\frac{2}{1+e^{-1}}-1=0.462$; $p=1$ gives $0.9999$.


# %% answer="domain_adaptation.dann_lambda"
def dann_lambda(progress, slope=10.0):
    ### BEGIN SOLUTION
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must lie in [0, 1], got {progress}")
    return 2 / (1 + math.exp(-slope * progress)) - 1
    ### END SOLUTION


# %% check="domain_adaptation.dann_lambda"
check("domain_adaptation.dann_lambda", dann_lambda)

# %% [markdown]
# ## 3. One step of adversarial training
#
# Write `dann_step(body, head, discriminator, x_source, y_source, x_target, strength,
# lr)`: one step of plain SGD on all three networks, in place.
#
# - Task loss $L_y$: mean cross-entropy of `head(body(x_source))`.
# - Domain loss $L_d$: binary cross-entropy of the logits
#   `discriminator(features)`, $(b, 1)$; label 1 for the source, 0 for the target.
#   The mean over each domain, then half the sum; the domains may differ in size:
#   `y_source` is $(n,)$ int64 for $n$ source samples, and there are $m$ of the target.
# - `head` moves by $-\eta\,\partial L_y$, `discriminator` by $-\eta\,\partial L_d$,
#   `body` by $-\eta\,\partial(L_y-\lambda L_d)$, all three at once: every gradient is
#   taken at the old weights. $\lambda$ = `strength` $\ge0$, $\eta$ = `lr`.
# - Gradients that earlier steps left in `.grad` must not count.
# - Return the pair $(L_y, L_d)$ before the step, as numbers.
#
# You may use `adapt.grad_reverse(z, strength)`.
#
# By hand: $\partial L_y=2$ and $\partial L_d=3$ for one weight of the body,
# $\lambda=0.5$, $\eta=0.1$: it moves by $-0.1\,(2-1.5)=-0.05$.


# %% answer="domain_adaptation.dann_step"
def dann_step(body, head, discriminator, x_source, y_source, x_target, strength, lr):
    ### BEGIN SOLUTION
    z_source, z_target = body(x_source), body(x_target)
    task = F.cross_entropy(head(z_source), y_source)
    d_source = discriminator(adapt.grad_reverse(z_source, strength))
    d_target = discriminator(adapt.grad_reverse(z_target, strength))
    domain_source = F.binary_cross_entropy_with_logits(
        d_source, torch.ones_like(d_source)
    )
    domain_target = F.binary_cross_entropy_with_logits(
        d_target, torch.zeros_like(d_target)
    )
    domain = (domain_source + domain_target) / 2
    for network in (body, head, discriminator):
        network.zero_grad()
    (task + domain).backward()
    with torch.no_grad():
        for network in (body, head, discriminator):
            for p in network.parameters():
                p -= lr * p.grad
    return task.item(), domain.item()
    ### END SOLUTION


# %% check="domain_adaptation.dann_step"
check("domain_adaptation.dann_step", dann_step)

# %% [markdown]
# ## 4. One step with an MMD
#
# Write `dan_step(body, head, x_source, y_source, x_target, strength, bandwidth,
# lr)`: one step of plain SGD on `body` and `head`, in place, on
#
# $$L_y+\lambda\,\widehat{\mathrm{MMD}}{}^2(z_S, z_T).$$
#
# - $L_y$: mean cross-entropy of `head(body(x_source))`; $z_S$, $z_T$: the features
#   `body(x)` of both domains, with gradient through both.
# - The unbiased estimate with one Gaussian kernel of width `bandwidth`:
#   `shift.mmd2` from chapter 06 computes it.
# - $\lambda$ = `strength` $\ge0$, $\eta$ = `lr`. Gradients that earlier steps left in
#   `.grad` must not count.
# - Return the pair $(L_y, \widehat{\mathrm{MMD}}{}^2)$ before the step, as numbers.
#
# By hand: $\partial L_y=2$ and $\partial\mathrm{MMD}^2=-0.1$ for one weight,
# $\lambda=5$, $\eta=0.1$: it moves by $-0.1\,(2-0.5)=-0.15$.


# %% answer="domain_adaptation.dan_step"
def dan_step(body, head, x_source, y_source, x_target, strength, bandwidth, lr):
    ### BEGIN SOLUTION
    z_source, z_target = body(x_source), body(x_target)
    task = F.cross_entropy(head(z_source), y_source)
    distance = shift.mmd2(z_source, z_target, bandwidth)
    parameters = list(body.parameters()) + list(head.parameters())
    loss = task + strength * distance
    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for p, gradient in zip(parameters, gradients, strict=True):
            p -= lr * gradient
    return task.item(), distance.item()
    ### END SOLUTION


# %% check="domain_adaptation.dan_step"
check("domain_adaptation.dan_step", dan_step)

# %% [markdown]
# ## 5. Whiten the source, colour it like the target
#
# Write `coral_map(source, target, ridge=1.0)`, the moved source $(n, d)$:
#
# $$\hat s=(s-\mu_S)\,C_S^{-1/2}\,C_T^{1/2}+\mu_T,\qquad
#   C=\frac{1}{n-1}\bar Z^{\top}\bar Z+\rho I,$$
#
# with $\bar Z$ the centred samples of a side, $\rho$ = `ridge` $>0$, and **symmetric**
# powers: $C^a=V\,\mathrm{diag}(\lambda^a)\,V^{\top}$ from the eigenvalues.
#
# - `source`: $(n, d)$, `target`: $(m, d)$ float32; result float32. There may be fewer
#   samples than features.
# - Unequal widths, or fewer than two samples on a side (1 or 0), are a `ValueError`.
#   The inputs are not changed.
#
# By hand, one feature: mean 2 and $C_S=4$; mean 10 and $C_T=9$. The sample $s=6$ goes
# to $(6-2)\cdot\frac12\cdot 3+10=16$.


# %% answer="domain_adaptation.coral_map"
def coral_map(source, target, ridge=1.0):
    ### BEGIN SOLUTION
    if source.shape[1] != target.shape[1]:
        raise ValueError("source and target have different numbers of features")
    if len(source) < 2 or len(target) < 2:
        raise ValueError("a covariance needs at least two samples")

    def covariance(z):
        centred = z - z.mean(dim=0)
        return centred.T @ centred / (len(z) - 1) + ridge * torch.eye(z.shape[1])

    def power(matrix, exponent):
        values, vectors = torch.linalg.eigh(matrix)
        return vectors @ torch.diag(values**exponent) @ vectors.T

    whitened = (source - source.mean(dim=0)) @ power(covariance(source), -0.5)
    return whitened @ power(covariance(target), 0.5) + target.mean(dim=0)
    ### END SOLUTION


# %% check="domain_adaptation.coral_map"
check("domain_adaptation.coral_map", coral_map)

# %% [markdown]
# ## 6. BatchNorm statistics of the target
#
# Write `adabn(model, x)`. It sets `running_mean` and `running_var` of **every**
# `BatchNorm1d` and `BatchNorm2d`, in place, such that in eval mode `model(x)` is
# what one pass of **all** of `x` gives when the BatchNorm layers alone are in train
# mode.
#
# - So the variance is divided by $N$, the number of values per channel (of a picture,
#   each place counts), not by $N-1$. And a layer sees what comes out of the layers
#   before it *after* they have their new statistics.
# - `model` is any module: BatchNorm may stand inside blocks, and blocks may be
#   registered in another order than `x` meets them.
# - The order of `x` does not matter. All of `x` fits into memory.
# - Nothing else changes: parameters, `requires_grad`, each layer's `momentum`, each
#   module's mode. No hook stays. What `adabn` returns does not count.
#
# By hand: a single layer with `x` $=(1, 3, 8)$: mean $4$, variance
# $\frac{9+1+16}{3}=8.67$, whatever the statistics were before.


# %% answer="domain_adaptation.adabn"
def adabn(model, x):
    ### BEGIN SOLUTION
    layers = [
        module
        for module in model.modules()
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))
    ]

    def set_statistics(layer, args):
        values = args[0].transpose(0, 1).flatten(1)  # (channels, N)
        layer.running_mean.copy_(values.mean(dim=1))
        layer.running_var.copy_(values.var(dim=1, unbiased=False))

    modes = [(module, module.training) for module in model.modules()]
    handles = [layer.register_forward_pre_hook(set_statistics) for layer in layers]
    model.eval()
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    for module, mode in modes:
        module.training = mode
    return model
    ### END SOLUTION


# %% check="domain_adaptation.adabn"
check("domain_adaptation.adabn", adabn)

# %% [markdown]
# ## 7. Pseudo-labels where the model is sure
#
# Write `pseudo_labels(logits, threshold, per_class=None)`. The confidence of a sample
# is its largest softmax probability. Return the pair `indices`, `labels`:
#
# - the samples with confidence $\ge$ `threshold`, in ascending order, $(m,)$ int64,
#   and the class each is predicted to have, $(m,)$ int64;
# - with `per_class=c` $\ge1$, at most $c$ samples of each predicted class: the most
#   confident ones.
#
# `logits` is $(n, k)$ float32, not to be changed, and may require a gradient. $m$ may
# be 0.
#
# By hand: confidences $0.9, 0.6, 0.95, 0.8$ for classes $0, 1, 0, 1$ and threshold
# $0.7$ give indices $(0, 2, 3)$, labels $(0, 0, 1)$. With `per_class=1`: $(2, 3)$ and
# $(0, 1)$.


# %% answer="domain_adaptation.pseudo_labels"
def pseudo_labels(logits, threshold, per_class=None):
    ### BEGIN SOLUTION
    confidence, predicted = logits.detach().softmax(dim=1).max(dim=1)
    keep = confidence >= threshold
    if per_class is not None:
        for c in range(logits.shape[1]):
            members = torch.where(keep & (predicted == c))[0]
            order = confidence[members].argsort(descending=True)
            keep[members[order][per_class:]] = False
    indices = torch.where(keep)[0]
    return indices, predicted[indices]
    ### END SOLUTION


# %% check="domain_adaptation.pseudo_labels"
check("domain_adaptation.pseudo_labels", pseudo_labels)

# %% [markdown]
# ## 8. One step of TENT
#
# Write `entropy_minimization(model, x, lr)`, what TENT does with one batch:
#
# - one pass in which every `nn.BatchNorm1d`, inside blocks too, normalises by the
#   **batch**, and all other modules are in eval mode;
# - one step of plain SGD, `lr` $=\eta$, on the **mean** entropy
#   $H=-\frac1n\sum_i\sum_k p_{ik}\ln p_{ik}$, that moves only `weight` and `bias` of
#   the BatchNorm layers;
# - return the logits $(n, k)$ of that pass.
#
# A certain prediction ($p=1$ and $p=0$ exactly) must not give NaN. Gradients left in
# `.grad` must not count. Afterwards the other parameters, running statistics,
# `momentum`, `track_running_stats`, `requires_grad` (some may be frozen) and each
# module's mode are as before.
#
# By hand: $p=(0.5, 0.5)$ has $H=\ln 2=0.693$; $p=(1, 0)$ has $H=0$.


# %% answer="domain_adaptation.entropy_minimization"
def entropy_minimization(model, x, lr):
    ### BEGIN SOLUTION
    modes = [(module, module.training) for module in model.modules()]
    layers = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    saved = [(m, m.running_mean.clone(), m.running_var.clone()) for m in layers]
    model.eval()
    for layer in layers:
        layer.train()
    logits = model(x)
    log_p = F.log_softmax(logits, dim=1)
    loss = -(log_p.exp() * log_p).sum(dim=1).mean()
    moved = [p for layer in layers for p in (layer.weight, layer.bias)]
    gradients = torch.autograd.grad(loss, moved)
    with torch.no_grad():
        for p, gradient in zip(moved, gradients, strict=True):
            p -= lr * gradient
        for layer, mean, variance in saved:
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)
    for module, mode in modes:
        module.training = mode
    return logits.detach()
    ### END SOLUTION


# %% check="domain_adaptation.entropy_minimization"
check("domain_adaptation.entropy_minimization", entropy_minimization)

# %% [markdown]
# ## 9. Deep embedded validation
#
# Write `dev_risk(losses, weights)`, the target risk estimated from labelled source
# samples:
#
# $$\frac1n\sum_i w_i\ell_i+\eta\,\bar w-\eta,\qquad
#   \eta=-\frac{\mathrm{Cov}(w\ell, w)}{\mathrm{Var}(w)} .$$
#
# - `losses` and `weights`: $(n,)$ float32, $n\ge2$; the weights are density ratios
#   target : source, used as they are. Covariance and variance have the same divisor.
# - If all weights are equal, $\mathrm{Var}(w)=0$: return the weighted mean. Mind that
#   rounding may leave a computed variance of $10^{-15}$ there.
# - Unequal lengths or a negative weight are a `ValueError`; a weight of 0 is not.
#
# By hand: $\ell=(1, 3)$, $w=(0.5, 1)$. $w\ell=(0.5, 3)$ has mean $1.75$;
# $\bar w=0.75$; $\mathrm{Cov}=0.3125$ and $\mathrm{Var}=0.0625$ (divisor 2), so
# $\eta=-5$ and the risk is $1.75-5\cdot0.75+5=3$.


# %% answer="domain_adaptation.dev_risk"
def dev_risk(losses, weights):
    ### BEGIN SOLUTION
    if len(losses) != len(weights):
        raise ValueError(f"{len(losses)} losses but {len(weights)} weights")
    if (weights < 0).any():
        raise ValueError("density ratios are not negative")
    weighted = weights * losses
    if (weights == weights[0]).all():
        return weighted.mean()
    off = weights - weights.mean()
    eta = -(weighted * off).mean() / (off * off).mean()
    return weighted.mean() + eta * weights.mean() - eta
    ### END SOLUTION


# %% check="domain_adaptation.dev_risk"
check("domain_adaptation.dev_risk", dev_risk)

# %% [markdown]
# ## 10. Bug hunt: a conditional discriminator
#
# The code below runs without an error. It has **five mistakes**, each of them common.
# Find and mend them.
#
# What it should do: train `body`, `head` and `discriminator` in place by plain SGD,
# all with weight 1 for the task loss plus the domain loss (half the sum of the two
# domains' means, source 1, target 0).
#
# - The discriminator sees the outer product $z\otimes p$, flattened, with the
#   gradient of $z$ reversed. $p$, the predicted probabilities, is a condition only.
# - The strength is $2/(1+e^{-10s})-1$, $s$ the number of finished steps divided by the
#   number of all steps, those of all epochs together.
# - In every epoch each domain comes in a new random order of its own, each sample
#   once.
#
# Source and target have equally many samples, a multiple of `batch_size`.


# %% answer="domain_adaptation.bug_hunt"
### BEGIN STUB
def bug_hunt(
    body, head, discriminator, x_source, y_source, x_target, epochs, batch_size, lr
):
    networks = nn.ModuleList([body, head, discriminator])
    step = 0
    for epoch in range(epochs):
        order = torch.randperm(len(x_source))
        batches = zip(
            x_source[order].split(batch_size),
            y_source[order].split(batch_size),
            x_target.split(batch_size),
            strict=True,
        )
        for x_s, y_s, x_t in batches:
            strength = 2 / (1 + math.exp(-10 * step)) - 1
            domain = 0
            for x in (x_s, x_t):
                z = body(x)
                p = head(z).softmax(1)
                z = adapt.grad_reverse(z, strength)
                judged = discriminator(torch.einsum("bd,bk->bdk", z, p).flatten(1))
                domain = domain + F.binary_cross_entropy_with_logits(
                    judged, torch.ones_like(judged)
                )
            task = F.cross_entropy(head(body(x_s)), y_s)
            networks.zero_grad()
            (task - domain / 2).backward()
            with torch.no_grad():
                for parameter in networks.parameters():
                    parameter -= lr * parameter.grad
            step += 1


### END STUB
### BEGIN SOLUTION
def bug_hunt(
    body, head, discriminator, x_source, y_source, x_target, epochs, batch_size, lr
):
    networks = nn.ModuleList([body, head, discriminator])
    total = epochs * (len(x_source) // batch_size)
    step = 0
    for epoch in range(epochs):
        order = torch.randperm(len(x_source))
        target_order = torch.randperm(len(x_target))
        batches = zip(
            x_source[order].split(batch_size),
            y_source[order].split(batch_size),
            x_target[target_order].split(batch_size),
            strict=True,
        )
        for x_s, y_s, x_t in batches:
            strength = 2 / (1 + math.exp(-10 * step / total)) - 1
            domain = 0
            for x, label in ((x_s, 1.0), (x_t, 0.0)):
                z = body(x)
                p = head(z).softmax(1).detach()
                z = adapt.grad_reverse(z, strength)
                judged = discriminator(torch.einsum("bd,bk->bdk", z, p).flatten(1))
                domain = domain + F.binary_cross_entropy_with_logits(
                    judged, torch.full_like(judged, label)
                )
            task = F.cross_entropy(head(body(x_s)), y_s)
            networks.zero_grad()
            (task + domain / 2).backward()
            with torch.no_grad():
                for parameter in networks.parameters():
                    parameter -= lr * parameter.grad
            step += 1


### END SOLUTION


# %% check="domain_adaptation.bug_hunt"
check("domain_adaptation.bug_hunt", bug_hunt)

# %% [markdown] question="domain_adaptation-why" points=2
# ## 11. Choose without target labels (marked by a person)
#
# A factory trains a defect classifier on camera A (20,000 labelled pictures, 5 %
# defects) and moves it to camera B (5,000 pictures without labels; the new line is
# believed to make more defects). In at most 150 words: which method of this chapter
# would you try first, which one would you avoid and why, how would you choose its
# strength, and what would you show the manager before it goes live?
#
# === BEGIN MARK SCHEME ===
# 1 point for the method: names the label shift; avoids or weakens global alignment
# (MMD, CORAL, DANN with balanced batches) because matching marginals moves samples
# across classes when the class shares differ; starts with something that leaves the
# class shares alone or treats them (BatchNorm statistics with care, BBSE or
# reweighting, careful self-training).
# 1 point for the choice: settings by a validator fixed beforehand that uses no target
# label (DEV, information maximisation with the expected class shares, source risk as
# a floor), several seeds, source-only in the same table; then a small labelled sample
# of camera B opened once, for the final estimate with its interval, and a way back.
# === END MARK SCHEME ===
