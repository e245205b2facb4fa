"""The bug hunt: what is right, and the one bug that each mutant leaves in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tlcourse.exercises.spec import Key, Mutant, Tolerance

Report = dict[str, Any]


def _standardise(x: Tensor, y: Tensor) -> Tensor:
    z = torch.cat([x, y])
    return (z - z.mean(0)) / z.std(0, correction=0)


def _each_by_itself(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([(z - z.mean(0)) / z.std(0, correction=0) for z in (x, y)])


def _within(k: Tensor) -> Tensor:
    return (k.sum() - k.trace()) / (len(k) * (len(k) - 1))


def _report(
    standardise: Callable[[Tensor, Tensor], Tensor] = _standardise,
    width: Callable[[Tensor], Tensor] = lambda d: d.median(),
    within: Callable[[Tensor], Tensor] = _within,
    p: Callable[[int, int], float] = lambda s, b: (1 + s) / (b + 1),
    decide: Callable[[Report, float], bool] = lambda r, alpha: r["p_value"] <= alpha,
) -> Callable[..., Report]:
    def report(x: Tensor, y: Tensor, orders: Tensor, alpha: float) -> Report:
        z, n = standardise(x, y), len(x)
        squared = (z[:, None] - z[None]).square().sum(-1)
        sigma = width(torch.pdist(z))
        kernel = torch.exp(-squared / (2 * sigma**2))

        def mmd(order: Tensor) -> float:
            a, b = order[:n], order[n:]
            own = within(kernel[a][:, a]) + within(kernel[b][:, b])
            return float(own - 2 * kernel[a][:, b].mean())

        found = mmd(torch.arange(len(z)))
        null = [mmd(order) for order in orders]
        made = {
            "mean_gap": float((z[:n].mean(0) - z[n:].mean(0)).norm()),
            "sigma": float(sigma),
            "mmd2": found,
            "p_value": p(sum(t >= found for t in null), len(null)),
        }
        return {**made, "different": decide(made, alpha)}

    return report


bug_hunt = Key(
    reference=_report(),
    tolerance=Tolerance(rtol=1e-3, atol=1e-5),
    mutants=(
        Mutant(
            "standardised_apart",
            _report(standardise=_each_by_itself),
            "One bug is left: each sample is standardised by itself, which removes the "
            "very shift that is looked for. Pool them, then standardise once.",
        ),
        Mutant(
            "squared_twice",
            _report(width=lambda d: d.square().median()),
            "One bug is left: sigma is a median of squared distances, and is squared "
            "again in the kernel. Take the median of distances.",
        ),
        Mutant(
            "diagonal_kept",
            _report(within=lambda k: k.mean()),
            "One bug is left: the pairs of a sample with itself are still counted, so "
            "that MMD² is positive for two samples of one distribution.",
        ),
        Mutant(
            "p_without_one",
            _report(p=lambda s, b: s / b),
            "One bug is left: p = s / B can be 0. The samples as they came are one of "
            "the splits: (1 + s) / (B + 1).",
        ),
        Mutant(
            "strictly_below",
            _report(decide=lambda r, alpha: r["p_value"] < alpha),
            "The samples differ if p <= alpha, with p = alpha included: so the chance "
            "of a false alarm is at most alpha, and as near to it as p allows.",
        ),
        Mutant(
            "alpha_ignored",
            _report(decide=lambda r, alpha: r["p_value"] <= 0.05),
            "p is compared with 0.05, whatever alpha is.",
        ),
        Mutant(
            "sign_decides",
            _report(decide=lambda r, alpha: r["mmd2"] > 0),
            "One bug is left: any positive MMD² is called a difference. Half of all "
            "unbiased estimates of 0 are positive; compare p with alpha.",
        ),
    ),
)
