"""A second right answer to each exercise, in another style than solutions/."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tlcourse import shift


def grad_reverse(z, strength):
    # The value of z, with the slope -strength.
    return z.detach() + strength * (z.detach() - z)


def dann_lambda(progress, slope=10):
    if progress < 0 or progress > 1:
        raise ValueError("a share, not a step number")
    return math.tanh(progress * slope / 2)


def _move(parameters, loss, lr):
    parameters = list(parameters)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
    return [(p, lr * g) for p, g in zip(parameters, gradients, strict=True)]


def _apply(moves):
    for p, step in moves:
        p.data.sub_(step)


def dann_step(body, head, discriminator, x_source, y_source, x_target, strength, lr):
    # Three gradients of three losses; no reversal layer.
    z = [body(x_source), body(x_target)]
    task = F.cross_entropy(head(z[0]), y_source)
    domain = (
        F.softplus(-discriminator(z[0])).mean() + F.softplus(discriminator(z[1])).mean()
    ) / 2
    _apply(
        _move(body.parameters(), task - strength * domain, lr)
        + _move(head.parameters(), task, lr)
        + _move(discriminator.parameters(), domain, lr)
    )
    return task, domain


def dan_step(body, head, x_source, y_source, x_target, strength, bandwidth, lr):
    z = body(torch.cat([x_source, x_target]))
    s, t = z[: len(x_source)], z[len(x_source) :]

    def within(z):
        k = shift.rbf_kernel(z, z, bandwidth)
        return (k.sum() - k.diagonal().sum()) / (len(z) * (len(z) - 1))

    distance = within(s) + within(t) - 2 * shift.rbf_kernel(s, t, bandwidth).mean()
    task = F.cross_entropy(head(s), y_source)
    for network in (body, head):
        network.zero_grad(set_to_none=False)
    (task + strength * distance).backward()
    for network in (body, head):
        for p in network.parameters():
            p.data.add_(p.grad, alpha=-lr)
    return task, distance


def coral_map(source, target, ridge=1.0):
    d = source.shape[1]
    if target.shape[1] != d or min(len(source), len(target)) < 2:
        raise ValueError("no covariances to match")

    def root(z):
        # Symmetric root by singular values of the centred samples.
        z = z.double()
        _, s, v = torch.linalg.svd(z - z.mean(0), full_matrices=True)
        squares = torch.zeros(d, dtype=torch.float64)
        squares[: len(s)] = s**2 / (len(z) - 1)
        return v.T * (squares + ridge).sqrt() @ v

    s = (source - source.mean(0)).double()
    moved = torch.linalg.solve(root(source), s.T).T @ root(target)
    return moved.float() + target.mean(0)


def adabn(model, x):
    # Momentum 1 in train mode, then the unbiased variance made biased.
    was = {m: m.training for m in model.modules()}
    norms = [m for m in was if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    old = [m.momentum for m in norms]
    sizes = {}
    model.eval()
    hooks = []
    for m in norms:
        m.training, m.momentum = True, 1.0
        hooks.append(
            m.register_forward_hook(
                lambda m, args, out: sizes.update({m: out.numel() // out.shape[1]})
            )
        )
    with torch.inference_mode():
        model(x)
    for m, hook, momentum in zip(norms, hooks, old, strict=True):
        hook.remove()
        m.momentum = momentum
        m.running_var *= (sizes[m] - 1) / sizes[m]
    for m, mode in was.items():
        m.training = mode


def pseudo_labels(logits, threshold, per_class=None):
    p = F.softmax(logits, 1).tolist()
    sure = [(max(row), i, row.index(max(row))) for i, row in enumerate(p)]
    sure = [triple for triple in sure if triple[0] >= threshold]
    if per_class is not None:
        ranked, sure = sorted(sure, key=lambda t: -t[0]), []
        for triple in ranked:
            if sum(t[2] == triple[2] for t in sure) < per_class:
                sure.append(triple)
    sure.sort(key=lambda t: t[1])
    columns = torch.tensor([t[1:] for t in sure], dtype=torch.int64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def entropy_minimization(model, x, lr):
    was = {m: m.training for m in model.modules()}
    norms = [m for m in was if isinstance(m, nn.BatchNorm1d)]
    statistics = [(m.running_mean, m.running_var) for m in norms]
    model.eval()
    for m in norms:  # without running statistics eval mode uses the batch's
        m.running_mean = m.running_var = None
    logits = model(x)
    entropy = torch.distributions.Categorical(logits=logits).entropy().mean()
    model.zero_grad()
    entropy.backward()
    for m, (mean, variance) in zip(norms, statistics, strict=True):
        for p in m.parameters():
            p.data -= lr * p.grad
        m.running_mean, m.running_var = mean, variance
    for m, mode in was.items():
        m.training = mode
    return logits


def dev_risk(losses, weights):
    if losses.shape != weights.shape or min(weights) < 0:
        raise ValueError("one ratio >= 0 per loss")
    both = torch.stack([weights * losses, weights]).double()
    covariance = torch.cov(both)
    if covariance[1, 1] < 1e-12:
        return both[0].mean().item()
    return both[0].mean() - covariance[0, 1] / covariance[1, 1] * (both[1].mean() - 1)


def bug_hunt(
    body, head, discriminator, x_source, y_source, x_target, epochs, batch_size, lr
):
    n, nets = len(x_source), (body, head, discriminator)
    parameters = [p for net in nets for p in net.parameters()]
    steps = n // batch_size
    for step in range(epochs * steps):
        if step % steps == 0:
            i, j = torch.rand(n).argsort(), torch.rand(n).argsort()
        part = slice(step % steps * batch_size, (step % steps + 1) * batch_size)
        z = body(torch.cat([x_source[i[part]], x_target[j[part]]]))
        logits = head(z)
        strength = math.tanh(5 * step / (epochs * steps))
        turned = z.detach() + strength * (z.detach() - z)
        p = logits.detach().softmax(1)
        judged = discriminator((turned.unsqueeze(2) * p.unsqueeze(1)).flatten(1))
        source = torch.arange(len(z)) < len(z) // 2
        domain = F.softplus(torch.where(source, -1.0, 1.0) * judged[:, 0]).mean()
        task = F.cross_entropy(logits[source], y_source[i[part]])
        _apply(_move(parameters, task + domain, lr))
