"""A second right answer to each exercise, in another style than solutions/."""

import math

import torch
import torch.nn.functional as F


def nt_xent(z1, z2, temperature=0.5):
    # One anchor after the other; its candidates are the rows without itself.
    if not temperature > 0:
        raise ValueError("temperature")
    n = z1.size(0)
    if z2.shape != z1.shape or n == 1:
        raise ValueError("views")
    rows = [row / row.norm() for row in (*z1, *z2)]
    total = 0
    for i, anchor in enumerate(rows):
        others = torch.stack(rows[:i] + rows[i + 1 :])
        logits = others.mv(anchor) / temperature
        right = (anchor @ rows[(i + n) % (2 * n)]) / temperature
        total = total + logits.logsumexp(0) - right
    return total / (2 * n)


def sup_con(z, labels, temperature=0.1):
    _, sizes = labels.unique(return_counts=True)
    if temperature <= 0 or len(sizes) == 1 or max(sizes) == 1:
        raise ValueError("a temperature > 0, two classes, and a positive")
    u = (z / z.square().sum(1, keepdim=True).sqrt()).double()
    logits = u @ u.T / temperature
    names = labels.tolist()
    losses = []
    for i, name in enumerate(names):
        others = [k for k in range(len(names)) if k != i]
        positives = [k for k in others if names[k] == name]
        if positives:
            partition = torch.logsumexp(logits[i, others], 0)
            losses.append(partition - logits[i, positives].mean())
    return torch.stack(losses).mean().float()


def _half(z, variance, covariance):
    n, d = z.shape
    c = torch.cov(z.T).reshape(d, d)
    hinge = torch.clamp(1 - torch.sqrt(c.diagonal() + 0.0001), min=0).sum() / d
    off = c - torch.diag(c.diagonal())
    return variance / 2 * hinge + covariance / d * torch.linalg.matrix_norm(off) ** 2


def vicreg(z1, z2, invariance=25.0, variance=25.0, covariance=1.0):
    if min(len(z1), len(z2)) < 2 or z1.size() != z2.size():
        raise ValueError("two views, two rows")
    spread = _half(z1, variance, covariance) + _half(z2, variance, covariance)
    return invariance * F.mse_loss(z1, z2) + spread


def alignment(z1, z2, alpha=2):
    if z1.numel() != z2.numel() or len(z1) != len(z2):
        raise ValueError("two views of the same samples")
    u1, u2 = (z / z.norm(dim=1, keepdim=True) for z in (z1, z2))
    distances = torch.linalg.vector_norm(u1 - u2, dim=1)
    return sum(distance**alpha for distance in distances) / len(distances)


def uniformity(z, t=2):
    if z.size(0) < 2 or not t > 0:
        raise ValueError("two vectors and a width")
    # Double precision reaches as far as exp(-745).
    distances = torch.pdist(F.normalize(z.double()))
    return (-t * distances.square()).exp().mean().log().float()


def two_views(x, augment, generator):
    # Both views of a picture before the next one.
    pairs = [
        [augment(picture[None].clone(), generator)[0] for _ in range(2)]
        for picture in x
    ]
    first, second = zip(*pairs, strict=True)
    return [torch.stack(first), torch.stack(second)]


def knn_eval(z_train, y_train, z_test, y_test, k=20, temperature=0.07):
    if k < 1 or k > len(z_train) or temperature <= 0:
        raise ValueError("k or temperature")
    classes = []
    for query in z_test:
        cosines = F.cosine_similarity(query[None], z_train).tolist()
        ranked = sorted(zip(cosines, y_train.tolist(), strict=True), reverse=True)
        scores = {}
        for cosine, name in ranked[:k]:
            weight = math.exp((cosine - 1) / temperature)
            scores[name] = scores.get(name, 0) + weight
        classes.append(max(scores, key=scores.get))
    right = sum(a == b for a, b in zip(classes, y_test.tolist(), strict=True))
    return right / len(classes), torch.tensor(classes)


def bug_hunt(
    backbone, projector, x, augment, epochs, batch_size, temperature, lr, generator
):
    both = torch.nn.Sequential(backbone, projector)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).reshape(-1, batch_size):
            # Both views in one pass, drawn batch by batch.
            twice = torch.cat([x[rows], x[rows]])
            u = F.normalize(both(augment(twice, generator)))
            logits = (u @ u.T).div(temperature)
            logits.diagonal().copy_(torch.full((len(u),), -torch.inf))
            log_p = logits.log_softmax(1)
            n = len(rows)
            matches = log_p.diagonal(n).sum() + log_p.diagonal(-n).sum()
            both.zero_grad()
            (-matches / (2 * n)).backward()
            for p in both.parameters():
                p.data.sub_(lr * p.grad)
    return backbone(x).detach()
