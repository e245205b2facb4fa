"""What is asked in the bug hunt: a few-shot evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse.exercises.probing import Candidate, Seen, number, tensors
from tlcourse.exercises.spec import Case, Limits, Probe

CHANCE, RIGHT = "no sample is asked that was shown", "right answers count as right"
INTERVAL, NETWORK = "the interval is over episodes", "the network is left alone"
_NOISE = 0.05
# In INTERVAL two classes of a task share a place or not: with chance 3/7 they do.
PLACES = 2
# So few episodes that the half width shows by which number the squares are divided.
FEW = {"num_ways": 3, "num_shots": 3, "num_queries": 8, "episodes": 2}
_TRIES = 12


def _features(rng: np.random.Generator, places: np.ndarray, each: int) -> np.ndarray:
    """``each`` samples around the place of every class."""
    centres = np.repeat(places, each, axis=0)
    return (centres + rng.normal(0, _NOISE, centres.shape)).astype(np.float32)


def _scattered(each: int) -> np.ndarray:
    """Four wide classes, then four points: a mean of 4 shots is needed to be right.

    A query of a wide class, of radius 4, has the squared distance 16 + 16 / K to its
    own prototype, exactly, and 16 + 4.6 to that of a point.
    """
    wide = 4 * each
    x = np.zeros((8 * each, wide + 8), np.float32)
    x[:wide, :wide] = 4 * np.eye(wide)
    x[:, wide:] = np.repeat(np.sqrt(2.3) * np.eye(8), each, axis=0)
    return x


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, x: np.ndarray, names: np.ndarray, each: int,
        numbers: tuple[int, int, int, int],
    ) -> Case:  # fmt: skip
        order = rng.permutation(len(x))
        ways, shots, queries, episodes = numbers
        inputs = {
            "x": x[order],
            "y": np.repeat(names, each)[order],
            "num_ways": ways,
            "num_shots": shots,
            "num_queries": queries,
            "episodes": episodes,
            "seed": int(rng.integers(2**31)),
            "offset": (rng.normal(0, 1, x.shape[1]) * (group != CHANCE)).astype(
                np.float32
            ),
        }
        return Case(group, about, inputs)

    corners = 4 * np.eye(8)[:, :6] + rng.normal(0, 0.1, (8, 6))
    corners[6:] = [[4, 4, 0, 0, 0, 0], [0, 0, 4, 4, 0, 0]]
    halves = np.repeat(4 * np.eye(PLACES, 4), 4, axis=0)
    old = rng.choice(np.arange(20, 90), 8, replace=False)
    # Every sample is as far from every other one, exactly: one in N by ties alone.
    # In powers of two, so that no way of computing a distance rounds.
    alike = 4 * np.eye(64, dtype=np.float32)
    apart = _features(rng, corners, 9)
    twins = _features(rng, halves, 24)
    return [
        case(CHANCE, "all samples equally far apart", alike, old, 8, (4, 1, 6, 150)),
        case(RIGHT, "8 classes far apart", apart, old, 9, (5, 2, 4, 25)),
        case(RIGHT, "5 classes, named 0 to 4", apart[:45], np.arange(5), 9,
             (5, 1, 4, 25)),
        case(RIGHT, "wide classes beside narrow ones, 4 shots", _scattered(9), old, 9,
             (5, 4, 4, 25)),
        case(INTERVAL, "tasks of very unequal difficulty", twins, old, 24,
             (2, 3, 20, 150)),
        case(NETWORK, "a network with BatchNorm, in train mode", apart, old, 9,
             (5, 2, 4, 25)),
    ]  # fmt: skip


class _Embed(nn.Module):
    """BatchNorm over the features; notes in which mode it ran."""

    def __init__(self, offset: Tensor) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(len(offset), eps=0)
        self.norm.running_mean += offset
        self.modes: set[bool] = set()
        self.note = self.modes.add  # a deep copy of the network notes here, too

    def forward(self, x: Tensor) -> Tensor:
        self.note(self.training or self.norm.training)
        return self.norm(x)


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    names = ("x", "y", "num_ways", "num_shots", "num_queries", "episodes", "seed")
    args = [given[name] for name in names]
    embed = _Embed(given["offset"])
    if case.group != NETWORK:
        embed.eval()
    before = {k: v.clone() for k, v in embed.state_dict().items()}
    mean, half = candidate(embed, *args)
    seen = {"mean": number(mean), "half": number(half)}
    if case.group == CHANCE:  # no constant is right for both
        seen["mean of two ways"] = number(candidate(embed, *args[:2], 2, *args[3:])[0])
    if case.group == RIGHT:
        blank = torch.zeros_like(args[0])
        seen["mean of blanks"] = number(candidate(embed, blank, *args[1:])[0])
    if case.group == NETWORK:
        after = embed.state_dict()
        seen["ran in train mode"] = True in embed.modes or not embed.modes
        seen["statistics kept"] = all(
            v.dtype == after[k].dtype and torch.equal(v, after[k])
            for k, v in before.items()
        )
    if case.group == INTERVAL:

        def few(seed: int) -> list[Any]:
            numbers = [FEW[name] for name in names[2:6]]
            return [number(v) for v in candidate(embed, *args[:2], *numbers, seed)]

        seen["few"] = [few(args[-1] + i) for i in range(_TRIES)]
        seen["again"] = few(args[-1]) == seen["few"][0]
        # Two seeds may give one result by chance, so many hardly ever.
        seen["other"] = any(pair != seen["few"][0] for pair in seen["few"])
    return seen


bug_hunt = Probe(
    id="few_shot.bug_hunt",
    title="Bug hunt: a few-shot evaluation",
    points=5,
    minutes=30,
    level="medium",
    kind="program",
    hints=(
        "For one episode write down: which samples are support and which query, what "
        "the labels of both are, in which mode the network is, and what is largest at "
        "the right class.",
        "Support and query share no sample; targets are places in `chosen`; logits are "
        "minus squared distances; the network is in eval mode; half = 1.96 s / "
        "sqrt(episodes).",
        "members[:num_shots] and members[num_shots : num_shots + num_queries]; targets "
        "append torch.full((num_queries,), new) with new from enumerate(chosen); "
        "embed.eval() first; -squared; results.std() / len(results) ** 0.5.",
    ),
    make=_make,
    observe=_observe,
    forbid=("tlcourse.meta.few_shot_accuracy", "tlcourse.meta.learner_accuracy"),
    limits=Limits(seconds=20.0),
    forgeable=True,
)
