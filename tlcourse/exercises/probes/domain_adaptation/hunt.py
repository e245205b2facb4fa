"""Conditional adversarial training with five mistakes to find."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from tlcourse.exercises.probes.domain_adaptation.common import drawn_by, flat
from tlcourse.exercises.probing import Candidate, Seen, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_D, _H, _K = 5, 4, 3
_JUDGE, _HEAD = "the discriminator learns", "the classifier learns"
_BODY, _BATCHES = "the features are reversed", "the batches"


class _Spy(nn.Module):
    """A body that notes the first number of each sample it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(_D, 6), nn.Tanh(), nn.Linear(6, _H))
        self.seen: list[list[float]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x[:, 0].tolist())
        return self.layers(x)


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, n: int, epochs: int, batch_size: int, lr: float = 0.5) -> Case:
        x_target = 1.3 * normal(rng, n, _D) + 0.6
        inputs = {
            "x_source": normal(rng, n, _D),
            "y_source": rng.permutation(np.arange(n) % _K),
            "x_target": x_target,
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": lr,
            "net_seed": int(rng.integers(2**31)),
        }
        if n > batch_size and group != _BATCHES:
            # Copies of one sample: no order of the batches makes a difference.
            inputs["x_source"][:] = inputs["x_source"][0]
            inputs["y_source"][:] = inputs["y_source"][0]
            x_target[:] = x_target[0]
        if group == _BATCHES:
            # Known by their first number: below 1 for the source, 10 and more.
            inputs["x_source"][:, 0] = np.arange(n) / n
            x_target[:, 0] = 10 + np.arange(n) / n
        steps = epochs * n // batch_size
        return Case(group, f"{n} samples of each, {steps} steps", inputs)

    return [
        # The first step has strength 0 and tells the networks' losses apart.
        *(case(g, n, 1, n) for g in (_JUDGE, _HEAD) for n in (12, 9)),
        case(_BODY, 12, 6, 12),
        case(_BODY, 9, 3, 9),
        case(_BODY, 8, 3, 4),
        case(_BATCHES, 24, 2, 8, lr=0.01),
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    nets = drawn_by(
        lambda: nn.ModuleList(
            [
                _Spy(),
                nn.Linear(_H, _K),
                nn.Sequential(nn.Linear(_H * _K, 6), nn.Tanh(), nn.Linear(6, 1)),
            ]
        ),
        given["net_seed"],
    )
    names = ("x_source", "y_source", "x_target", "epochs", "batch_size", "lr")
    candidate(*nets, *(given[name] for name in names))
    if case.group == _BATCHES:
        return _batches(nets[0].seen, given)
    net, name = {
        _BODY: (nets[0], "body"),
        _HEAD: (nets[1], "head"),
        _JUDGE: (nets[2], "discriminator"),
    }[case.group]
    return {f"{name} after training": flat(net)}


def _batches(seen: list[list[float]], given: dict[str, Any]) -> Seen:
    """How the samples of both domains came through the body."""
    n, epochs = len(given["x_target"]), given["epochs"]
    orders, found = [], {}
    for name, low in (("source", 0), ("target", 10)):
        batches = [[v for v in batch if low <= v < low + 1] for batch in seen]
        order, largest = _numbers([b for b in batches if b], low, n)
        rounds = [order[i * n : (i + 1) * n] for i in range(epochs)]
        orders.append(rounds)
        found |= {
            f"{name} samples seen": len(order),
            f"largest batch, {name}": largest,
            f"{name}: each once per epoch": all(
                sorted(r) == list(range(n)) for r in rounds
            ),
            f"{name}: in the order of the file": any(
                r == list(range(n)) for r in rounds
            ),
            f"{name}: the same order twice": rounds[0] == rounds[1],
        }
    return found | {"both domains in one order": orders[0] == orders[1]}


def _numbers(batches: list[list[float]], low: int, n: int) -> tuple[list[int], int]:
    """Sample numbers in the order they came, and the largest batch."""
    # A step may pass the same batch twice, once for z and once for p.
    new = [b for i, b in enumerate(batches) if not i or b != batches[i - 1]]
    order = [round((v - low) * n) for batch in new for v in batch]
    return order, max(map(len, new), default=0)


bug_hunt = Probe(
    id="domain_adaptation.bug_hunt",
    title="Bug hunt: a conditional discriminator",
    points=5,
    minutes=30,
    level="hard",
    hints=(
        "Write down for each of the three networks what it should minimise, and what "
        "the code makes it minimise. There are five mistakes.",
        "A discriminator needs two different labels. The reversal already has the "
        "minus. The schedule wants a share in [0, 1]. Probabilities are a condition, "
        "not a thing to be trained by the discriminator. Both loaders shuffle, "
        "each for itself.",
        "Look at: torch.ones_like for both halves; `task - domain`; the step number in "
        "the exponent, where step / total belongs; softmax without detach(); "
        "x_target.split against x_source[order].split.",
    ),
    make=_make,
    observe=_observe,
    forbid=("tlcourse.adapt.run", "tlcourse.adapt.training.train"),
    forgeable=True,
)
