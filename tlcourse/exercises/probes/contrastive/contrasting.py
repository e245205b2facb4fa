"""What is asked about contrastive losses: NT-Xent and SupCon."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlcourse.exercises.probes.contrastive.common import (
    DEFAULTS,
    GRADIENT,
    one_apart,
    stretched,
    two_views,
    value_and_gradients,
)
from tlcourse.exercises.probing import REFUSES, Candidate, Seen, normal, number, tensors
from tlcourse.exercises.spec import Case, Probe

_SMALL, _ALONE = "small temperatures", "anchors without a positive"
_CLOSE = 0.02  # noise that keeps the cosine of two views near 1


def _make_nt_xent(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, n: int, d: int, temperature: float | None, **more: Any
    ) -> Case:
        inputs = two_views(rng, n, d) | more
        if temperature is not None:
            inputs["temperature"] = temperature
        return Case(group, about, inputs)

    # Two views that nearly agree beside four that do not: logits from -100 to 100.
    near, far = two_views(rng, 2, 3, noise=_CLOSE), two_views(rng, 4, 3, noise=2.0)
    mixed = {name: np.concatenate([near[name], far[name]]) for name in near}
    apart = dict(zip(("z1", "z2"), np.split(one_apart(rng, 8, 3), 2), strict=True))
    return [
        case("value", "5 pairs, temperature 0.5", 5, 4, 0.5),
        case("value", "2 pairs, temperature 0.3", 2, 3, 0.3),
        case("value", "12 pairs, temperature 1.5", 12, 2, 1.5),
        case(GRADIENT, "4 pairs, temperature 0.4", 4, 3, 0.4),
        case(GRADIENT, "7 pairs, temperature 0.8", 7, 5, 0.8),
        case(_SMALL, "6 pairs, temperature 0.01", 6, 3, 0.01, **mixed),
        case(_SMALL, "one row far from all others", 4, 3, 0.01, **apart),
        case(DEFAULTS, "nt_xent(z1, z2) with nothing else", 6, 4, None),
        case(REFUSES, "temperature 0", 4, 3, 0.0),
        case(REFUSES, "temperature -0.5", 4, 3, -0.5),
        case(REFUSES, "4 and 5 rows", 4, 3, 0.5, z2=normal(rng, 5, 3)),
        case(REFUSES, "3 and 2 features", 4, 3, 0.5, z2=normal(rng, 4, 2)),
        case(REFUSES, "one pair: there is no negative", 1, 3, 0.5),
    ]


def _observe_nt_xent(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    if case.group == GRADIENT:
        return value_and_gradients(candidate, given, ("z1", "z2"))
    return {"loss": number(candidate(*given.values()))}


nt_xent = Probe(
    id="contrastive.nt_xent",
    title="NT-Xent: which of the others is my other view?",
    points=4,
    minutes=25,
    level="medium",
    hints=(
        "Each of the 2n embeddings is asked once. Among how many others does it have "
        "to find its other view, and who must not be among them?",
        "u = z / |z|; s = u u^T / temperature, (2n, 2n); the diagonal to -inf; the "
        "positive of row i is i + n (mod 2n). Mean over the rows of logsumexp(row) - "
        "s[i, positive], which is a cross-entropy.",
        "z = F.normalize(torch.cat([z1, z2]), dim=1); s = z @ z.T / temperature; "
        "s.fill_diagonal_(-inf) or masked_fill; targets = torch.arange(2 * n).roll(n); "
        "return F.cross_entropy(s, targets). First refuse temperature <= 0, shapes "
        "that differ, and n < 2 (ValueError).",
    ),
    make=_make_nt_xent,
    observe=_observe_nt_xent,
    forbid=(
        "tlcourse.losses.nt_xent",
        "tlcourse.losses.sup_con",
        "lightly.loss.NTXentLoss",
        "pytorch_metric_learning.losses.NTXentLoss",
        "pytorch_metric_learning.losses.SupConLoss",
    ),
)


def _make_sup_con(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, sizes: tuple[int, ...], temperature: float | None,
        lowest: int = 0, apart: bool = False,
    ) -> Case:  # fmt: skip
        names = rng.choice(20, len(sizes), replace=False) + lowest  # with gaps
        labels = rng.permutation(np.repeat(names, sizes)).astype(np.int64)
        centres = rng.normal(0, 1, (20, 4))[labels]
        noise = _CLOSE if group == _SMALL else 1.0
        z = stretched(rng, centres + noise * rng.normal(0, 1, centres.shape))
        if apart:
            z = one_apart(rng, len(z), 4)
        inputs = {"z": z, "labels": labels}
        if temperature is not None:
            inputs["temperature"] = temperature
        return Case(group, about, inputs)

    unequal = "classes of unequal size"
    return [
        case("value", "3 classes of 3", (3, 3, 3), 0.5),
        case("value", "2 classes of 4", (4, 4), 1.5),
        case(unequal, "classes of 2, 3 and 5", (2, 3, 5), 0.4),
        case(unequal, "classes of 6 and 2", (6, 2), 0.7),
        case(unequal, "3 classes with negative numbers", (2, 3, 2), 0.6, -20),
        case(_ALONE, "classes of 3, 2, 1 and 1", (3, 2, 1, 1), 0.5),
        case(_ALONE, "one pair among 4 classes", (2, 1, 1, 1), 0.6),
        case(GRADIENT, "3 classes of 2", (2, 2, 2), 0.4),
        case(_SMALL, "2 classes of 3, temperature 0.01", (3, 3), 0.01),
        case(_SMALL, "one row far from all others", (3, 4), 0.01, apart=True),
        case(DEFAULTS, "sup_con(z, labels) with nothing else", (3, 3), None),
        case(REFUSES, "temperature 0", (3, 3), 0.0),
        case(REFUSES, "temperature -1", (3, 3), -1.0),
        case(REFUSES, "no class has two members", (1, 1, 1, 1), 0.5),
        case(REFUSES, "all of one class", (5,), 0.5),
    ]


def _observe_sup_con(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    if case.group in (GRADIENT, _ALONE):
        return value_and_gradients(candidate, given, ("z",))
    return {"loss": number(candidate(*given.values()))}


sup_con = Probe(
    id="contrastive.sup_con",
    title="SupCon: all members of my class are my positives",
    points=4,
    minutes=30,
    level="hard",
    hints=(
        "For one anchor: who are its positives, over whom does the softmax run, and "
        "what is its loss if it has no positive? By what is the sum over all anchors "
        "then divided?",
        "log p_ip = s_ip - logsumexp over a != i of s_ia, with s = u u^T / "
        "temperature. The loss of i is minus the mean of log p_ip over its positives; "
        "then the mean over the anchors that have one.",
        "self_ = torch.eye(n, dtype=torch.bool); positive = (labels[:, None] == "
        "labels) & ~self_; s = s.masked_fill(self_, -inf); log_p = s - "
        "s.logsumexp(1, keepdim=True); total = -log_p.masked_fill(~positive, "
        "0).sum(1); count = positive.sum(1); has = count > 0; "
        "return (total[has] / count[has]).mean().",
    ),
    make=_make_sup_con,
    observe=_observe_sup_con,
    forbid=(
        "tlcourse.losses.nt_xent",
        "tlcourse.losses.sup_con",
        "lightly.loss.NTXentLoss",
        "pytorch_metric_learning.losses.NTXentLoss",
        "pytorch_metric_learning.losses.SupConLoss",
    ),
)
