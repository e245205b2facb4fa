"""A second right answer to each exercise, in another style than solutions/."""

from itertools import permutations

import torch
from torch import nn


def cross_entropy(logits, targets):
    if bool(((targets < 0) | (targets >= logits.size(1))).any()):
        raise ValueError("class index out of range")
    total = 0
    for row, y in zip(logits, targets, strict=True):
        gaps = row - row[y]
        top = gaps.detach().max()
        total = total + top + torch.log(torch.exp(gaps - top).sum())
    return total / len(targets)


def label_smoothing_ce(logits, targets, smoothing):
    if smoothing < 0 or smoothing >= 1:
        raise ValueError("smoothing out of range")
    k = logits.size(1)
    q = torch.full_like(logits, smoothing / k)
    q[torch.arange(len(targets)), targets] += 1 - smoothing
    log_p = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    return torch.einsum("nk,nk->n", q, -log_p).mean()


def l2_sp(params, source, alpha, beta):
    terms = []
    for name in params:
        w, w0 = params[name], torch.zeros_like(params[name])
        strength = beta
        if name in source and source[name].size() == w.size():
            strength, w0 = alpha, source[name].detach()
        gap = (w - w0).flatten()
        terms.append(0.5 * strength * (gap @ gap))
    return torch.stack(terms).sum()


def distillation_loss(student, teacher, temperature):
    if not temperature > 0:
        raise ValueError("temperature must be positive")
    total = 0
    for s, t in zip(student, teacher.detach(), strict=True):
        log_q = s / temperature - torch.logsumexp(s / temperature, 0)
        log_p = t / temperature - torch.logsumexp(t / temperature, 0)
        total = total + torch.exp(log_p) @ (log_p - log_q)
    return temperature**2 * total / len(student)


def triplet_loss(z, labels, margin):
    y, losses = labels.tolist(), []
    for a, p, n in permutations(range(len(y)), 3):
        if y[a] == y[p] and y[a] != y[n]:
            near = (z[a] - z[p]).pow(2).sum()
            far = (z[a] - z[n]).pow(2).sum()
            if near < far < near + margin:
                losses.append(near - far + margin)
    return torch.stack(losses).mean() if losses else 0 * z.sum()


def evaluate(model, batches):
    modes = [m.training for m in model.modules()]
    model.train(False)
    logits, targets = [], []
    with torch.inference_mode():
        for x, y in batches:
            logits.append(model(x))
            targets.append(y)
        logits, targets = torch.cat(logits), torch.cat(targets)
        loss = nn.CrossEntropyLoss()(logits, targets)
        accuracy = (logits.argmax(1) == targets).double().mean()
    for m, mode in zip(model.modules(), modes, strict=True):
        m.training = mode
    return loss, accuracy


def bug_hunt(source, target):
    """Another network, trained on full batches."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(144, 48), nn.ReLU())
    old_head, head = nn.Linear(48, 4), nn.Linear(48, 2)
    for parts, (x, y) in (([body, old_head], source), ([head], target)):
        inputs = x if len(parts) == 2 else body(x).detach()
        weights = [w for part in parts for w in part.parameters()]
        optimizer = torch.optim.Adam(weights, lr=0.01)
        for _ in range(150):
            optimizer.zero_grad()
            loss = nn.CrossEntropyLoss()(nn.Sequential(*parts)(inputs), y)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        loss = nn.CrossEntropyLoss()(head(body(target[0])), target[1])
    return body, old_head, head, loss
