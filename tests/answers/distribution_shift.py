"""A second right answer to each exercise, in another style than solutions/."""

import math

import numpy as np
import torch


def rbf_kernel(x, y, bandwidth):
    sigma = torch.as_tensor(bandwidth, dtype=torch.float64).reshape(-1, 1, 1)
    if x.size(1) != y.size(1) or not bool((sigma > 0).all()):
        raise ValueError("features or bandwidth")
    a, b = x.double(), y.double()
    # In float64 the product form has digits to spare.
    gram = a @ b.T
    own = (a * a).sum(1, keepdim=True), (b * b).sum(1)
    squared = torch.relu(own[0] + own[1] - 2 * gram)
    return torch.exp(-0.5 * squared / sigma.square()).mean(0).to(x.dtype)


def median_heuristic(x, y):
    z = np.concatenate([x.detach().numpy(), y.detach().numpy()]).astype(float)
    lengths = [math.dist(z[i], z[j]) for i in range(len(z)) for j in range(i)]
    if np.median(lengths) == 0:
        raise ValueError("no spread")
    return float(np.median(lengths))


def mmd2(x, y, bandwidth=None, unbiased=True):
    n, m = len(x), len(y)
    if x.shape[1:] != y.shape[1:] or (unbiased and (n < 2 or m < 2)):
        raise ValueError("shapes")
    z = torch.cat([x, y])
    squared = (z.unsqueeze(0) - z.unsqueeze(1)).pow(2).sum(2)
    if bandwidth is None:
        middle = torch.pdist(z.detach()).median() ** 2
        variances = [middle / 4, middle / 2, middle, 2 * middle, 4 * middle]
    else:
        several = isinstance(bandwidth, list)
        variances = [s * s for s in (bandwidth if several else [bandwidth])]
    kernel = sum((squared / (-2 * v)).exp() for v in variances) / len(variances)
    sign = torch.cat([torch.full((n,), 1 / n), torch.full((m,), -1 / m)])
    weight = sign[:, None] * sign
    if unbiased:
        weight[:n, :n] *= n / (n - 1)
        weight[n:, n:] *= m / (m - 1)
        weight.fill_diagonal_(0)
    return (kernel * weight).sum()


def mmd_linear_time(x, y, bandwidth):
    n = len(x)
    if n != len(y) or n < 4:
        raise ValueError("sizes")
    sigmas = np.atleast_1d(bandwidth)
    a, b = x.double().numpy(), y.double().numpy()

    def k(u, v):
        return np.exp(-np.sum((u - v) ** 2) / (2 * sigmas**2)).mean()

    h = [
        k(a[i], a[i + 1]) + k(b[i], b[i + 1]) - k(a[i], b[i + 1]) - k(a[i + 1], b[i])
        for i in range(0, n - 1, 2)
    ]
    return float(np.mean(h)), float(np.var(h, ddof=1) / len(h))


def permutation_test(x, y, statistic, num_permutations, seed):
    rng = np.random.default_rng(seed)
    rows = torch.cat((x, y))
    first = statistic(x, y)
    null = np.empty(num_permutations)
    for b in range(num_permutations):
        chosen = torch.zeros(len(rows), dtype=torch.bool)
        chosen[torch.from_numpy(rng.choice(len(rows), len(x), replace=False))] = True
        null[b] = statistic(rows[chosen], rows[~chosen])
    as_extreme = np.count_nonzero(np.append(null, first) >= first)
    return first, as_extreme / (num_permutations + 1), torch.from_numpy(null)


def coral_distance(source, target):
    if len(source) < 2 or len(target) < 2 or source.shape[1] != target.shape[1]:
        raise ValueError("shapes")
    gap = torch.cov(source.T).reshape(-1) - torch.cov(target.T).reshape(-1)
    return gap.pow(2).mean() / 4


def proxy_a_distance(source, target, fit, seed):
    rng = np.random.default_rng(seed)
    domains = [source, target]
    parts = [np.array_split(rng.permutation(len(z)), 3) for z in domains]
    wrong = [0, 0]
    for held_out in range(3):
        x, labels = [], []
        for label, z in enumerate(domains):
            for i, part in enumerate(parts[label]):
                if i != held_out:
                    x.append(z[part])
                    labels += [label] * len(part)
        predict = fit(torch.cat(x), torch.tensor(labels))
        for label, z in enumerate(domains):
            answers = predict(z[parts[label][held_out]])
            wrong[label] += int((answers != label).sum())
    error = sum(w / len(z) for w, z in zip(wrong, domains, strict=True)) / 2
    return float(np.clip(2 - 4 * error, 0, 2))


def importance_weights(logits, num_source, num_target, normalise=True):
    if logits.numel() < 1 or min(num_source, num_target) < 1:
        raise ValueError("no samples")
    log_ratio = logits.double() + math.log(num_source) - math.log(num_target)
    if normalise:
        log_ratio = log_ratio - torch.logsumexp(log_ratio, 0) + math.log(len(logits))
    return log_ratio.exp().to(logits.dtype)


def bbse(predictions_val, labels_val, predictions_target, num_classes):
    h, y, t = (a.numpy() for a in (predictions_val, labels_val, predictions_target))
    classes = np.arange(num_classes)
    if not t.size or not np.isin(np.concatenate([h, y, t]), classes).all():
        raise ValueError("classes")
    table = np.zeros((num_classes, num_classes))
    np.add.at(table, (h, y), 1)
    if np.linalg.matrix_rank(table) < num_classes:
        raise ValueError("singular")
    share = np.bincount(t, minlength=num_classes) / len(t)
    ratios = np.linalg.inv(table / len(h)) @ share
    return torch.from_numpy(np.maximum(ratios, 0))


def bug_hunt(x, y, orders, alpha):
    z = torch.cat([x, y]).double().numpy()
    z = (z - z.mean(0)) / z.std(0)
    n, m = len(x), len(y)
    gaps = np.linalg.norm(z[:, None] - z, axis=2)
    sigma = np.median(gaps[np.triu_indices(n + m, 1)])
    kernel = np.exp(-((gaps / sigma) ** 2) / 2) - np.eye(n + m)

    def mmd(order):
        k = kernel[np.ix_(order, order)]
        own = k[:n, :n].sum() / (n * n - n) + k[n:, n:].sum() / (m * m - m)
        # Between two samples no row meets itself, so nothing is missing there.
        return own - 2 * k[:n, n:].mean()

    found = mmd(np.arange(n + m))
    null = np.array([mmd(order) for order in orders.numpy()])
    p_value = (np.sum(null >= found - 1e-12) + 1) / (len(null) + 1)
    return {
        "mean_gap": float(np.linalg.norm(z[:n].mean(0) - z[n:].mean(0))),
        "sigma": float(sigma),
        "mmd2": float(found),
        "p_value": float(p_value),
        "different": bool(p_value <= alpha),
    }
