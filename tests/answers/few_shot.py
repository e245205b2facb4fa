"""A second right answer to each exercise, in another style than solutions/."""

import statistics

import torch
import torch.nn.functional as F
from torch import nn


def sample_episode(labels, num_ways, num_shots, num_queries, generator):
    each = num_shots + num_queries
    groups = {}
    for index, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(index)
    if len(groups) < num_ways or min(map(len, groups.values())) < each:
        raise ValueError("not enough classes, or not enough samples in one")
    # The smallest of independent uniform numbers are a random subset.
    keys = torch.rand(len(groups), generator=generator)
    chosen = sorted(keys.argsort()[:num_ways].tolist())
    members = list(groups.values())
    table = []
    for c in chosen:
        keys = torch.rand(len(members[c]), generator=generator)
        table.append(torch.tensor(members[c])[keys.argsort()[:each]])
    table = torch.stack(table)
    new = torch.arange(num_ways)[:, None].expand(-1, each)
    cut = [num_shots, num_queries]
    support, query = (part.flatten() for part in table.split(cut, 1))
    support_y, query_y = (part.flatten() for part in new.split(cut, 1))
    return support, support_y, query, query_y


def prototypes(support_z, support_y, num_ways):
    counts = support_y.bincount(minlength=num_ways)
    if not counts.all():
        raise ValueError("a class is missing")
    sums = support_z.new_zeros(num_ways, support_z.shape[1])
    return sums.index_add(0, support_y, support_z) / counts[:, None]


def proto_logits(query_z, prototypes):
    # In float64 the product form keeps enough digits.
    q, c = query_z.double(), prototypes.double()
    squared = q.square().sum(1)[:, None] - 2 * q @ c.T + c.square().sum(1)
    return -squared.to(query_z.dtype)


def matching_attention(query_z, support_z, temperature=1.0):
    if not temperature > 0 or not (query_z.any(1).all() and support_z.any(1).all()):
        raise ValueError("temperature > 0 and no vector of zeros, please")
    cosine = F.cosine_similarity(query_z[:, None], support_z[None], dim=2) / temperature
    return (cosine - cosine.logsumexp(1, keepdim=True)).exp()


class relation_head(nn.Module):  # noqa: N801
    def __init__(self, feature_dim, hidden):
        super().__init__()
        # The first layer in two halves: [c, q] W = c W_c + q W_q.
        self.of_query = nn.Linear(feature_dim, hidden)
        self.of_class = nn.Linear(feature_dim, hidden, bias=False)
        self.score = nn.Linear(hidden, 1)

    def forward(self, query_z, prototypes):
        hidden = self.of_query(query_z).unsqueeze(1) + self.of_class(prototypes)
        return self.score(hidden.relu())[..., 0].sigmoid()


def ci95(accuracies):
    values = accuracies.tolist()
    if len(values) < 2:
        raise ValueError("one episode has no spread")
    half = 1.96 * statistics.stdev(values) / len(values) ** 0.5
    return statistics.fmean(values), half


def bug_hunt(embed, x, y, num_ways, num_shots, num_queries, episodes, seed):
    mode = embed.training
    embed.eval()
    with torch.no_grad():
        z = embed(x)  # the features do not depend on the episode
    embed.train(mode)
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(episodes):
        parts = sample_episode(y, num_ways, num_shots, num_queries, generator)
        support, support_y, query, query_y = parts
        means = prototypes(z[support], support_y, num_ways)
        found = torch.cdist(z[query].double(), means.double()).argmin(1)
        rows.append((found == query_y).double().mean().item())
    return ci95(torch.tensor(rows))
