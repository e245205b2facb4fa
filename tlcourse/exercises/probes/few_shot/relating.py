"""What is asked about a relation head."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

SCORES, PAIRS, LEARNS = "scores", "each pair by itself", "learns a likeness"
_STEPS, _HIDDEN = 150, 32


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, m: int, ways: int, d: int, scale: float) -> Case:
        inputs = {
            "query_z": normal(rng, m, d) * np.float32(scale),
            "prototypes": normal(rng, ways, d) * np.float32(scale),
            "hidden": _HIDDEN,
            "torch_seed": int(rng.integers(2**31)),
        }
        return Case(group, about, inputs)

    return [
        case(SCORES, "7 queries, 4 classes, 5 features", 7, 4, 5, 1.0),
        case(SCORES, "one query, one class", 1, 1, 3, 1.0),
        case(SCORES, "one query, 6 classes", 1, 6, 4, 1.0),
        case(SCORES, "8 queries, one class", 8, 1, 4, 1.0),
        case(SCORES, "features of size 1,000", 20, 6, 4, 1000.0),
        case(PAIRS, "6 queries, 4 classes, 5 features", 6, 4, 5, 1.5),
        case(PAIRS, "as many queries as classes", 5, 5, 3, 1.5),
        case(LEARNS, "same or unequal sign, 2 features", 48, 24, 2, 1.0),
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    torch.manual_seed(given["torch_seed"])
    q, p = given["query_z"], given["prototypes"]
    head = candidate(q.shape[1], given["hidden"])
    is_module = isinstance(head, nn.Module)
    scores = head(q, p)
    seen = {
        "module": is_module,
        "scores": scores,
        "again": torch.equal(scores, head(q, p)),
    }
    if case.group == PAIRS:
        seen |= _observe_pairs(head, q, p)
    if case.group == LEARNS and is_module:
        seen |= _observe_learning(head, q, p)
    return seen


def _observe_pairs(head: nn.Module, q: Tensor, p: Tensor) -> Seen:
    inputs = [z.clone().requires_grad_() for z in (q, p)]
    total = head(*inputs)[0, 0]
    grads: tuple[Tensor | None, ...] = (None, None)
    if total.requires_grad:
        grads = torch.autograd.grad(total, inputs, allow_unused=True)
    with torch.no_grad():
        alone = [[head(a[None], b[None]).reshape(-1) for b in p] for a in q]
        moved = {
            "query matters": head(q + 1, p) - head(q, p),
            "class matters": head(q, p + 1) - head(q, p),
            # Of two gaps that are equal, only the pair itself tells them apart.
            "gap alone": head(q + 1, p + 1) - head(q, p),
        }
    return {
        "bent": _bent(head, q, p),
        "alone": torch.cat([v for row in alone for v in row]),
        "gradients": [0.0 if g is None else float(g.abs().max()) for g in grads],
        **{name: float(gap.abs().max()) for name, gap in moved.items()},
    }


def _bent(head: nn.Module, q: Tensor, p: Tensor) -> float:
    """The largest second derivative of the scores before the sigmoid.

    Under ReLU they are straight between kinks: zero but for rounding.
    """
    inputs = [z.clone().requires_grad_() for z in (q, p)]
    scores = head(*inputs)
    if not scores.requires_grad:
        return 0.0
    options = {"allow_unused": True, "materialize_grads": True}
    first = torch.autograd.grad(
        scores.logit().sum(), inputs, create_graph=True, **options
    )
    # With weights of unequal size, lest parts cancel.
    total = sum(
        (g * z.detach().cos()).sum() for g, z in zip(first, inputs, strict=True)
    )
    if not total.requires_grad:
        return 0.0
    second = torch.autograd.grad(total, inputs, **options)
    return max(float(g.abs().max()) for g in second)


def _observe_learning(head: nn.Module, q: Tensor, p: Tensor) -> Seen:
    """Adam by hand on a likeness that needs both inputs and a hidden layer."""
    wanted = (q[:, :1] * p[None, :, 0] > 0).float()  # (m, N)
    weights = [w for w in head.parameters() if w.requires_grad]
    loss = (head(q, p) - wanted).square().mean()
    first = float(loss)
    before = [w.detach().clone() for w in weights]
    means = [torch.zeros_like(w) for w in weights]
    squares = [torch.zeros_like(w) for w in weights]
    for step in range(1, _STEPS + 1):
        if not weights or not loss.requires_grad:
            break
        grads = torch.autograd.grad(loss, weights, allow_unused=True)
        with torch.no_grad():
            for w, g, m, s in zip(weights, grads, means, squares, strict=True):
                if g is None:
                    continue
                m.mul_(0.9).add_(g, alpha=0.1)
                s.mul_(0.999).add_(g * g, alpha=0.001)
                rate = 0.03 * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
                w -= rate * m / (s.sqrt() + 1e-8)
        loss = (head(q, p) - wanted).square().mean()
    return {
        "first loss": first,
        "last loss": float(loss),
        "baseline": float(wanted.var(correction=0)),
        "weights": sum(w.numel() for w in weights),
        "moved": any(
            not torch.equal(a, b) for a, b in zip(before, weights, strict=True)
        ),
    }


relation_head = Probe(
    id="few_shot.relation_head",
    title="A relation head",
    points=4,
    minutes=25,
    level="medium",
    kind="property",
    hints=(
        "How many rows does the small network see for m queries and N classes, and how "
        "long is each?",
        "r_ik = sigmoid(w2 relu(w1 [c_k, z_i])): one row of 2d numbers for each pair, "
        "m * N rows in all.",
        "In forward: a = query_z[:, None].expand(m, n, d); b = prototypes[None].expand("
        "m, n, d); pairs = torch.cat([b, a], dim=2); return torch.sigmoid(self.body("
        "pairs)).squeeze(2), with body = nn.Sequential(Linear(2 * d, hidden), ReLU(), "
        "Linear(hidden, 1)).",
    ),
    make=_make,
    observe=_observe,
    forbid=("tlcourse.meta.RelationHead", "tlcourse.meta.Relation"),
    forgeable=True,
)
