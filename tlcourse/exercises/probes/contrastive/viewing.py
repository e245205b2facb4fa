"""What is asked about drawing two views of each picture."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlcourse.exercises.probing import Candidate, Seen, tensors
from tlcourse.exercises.spec import Case, Probe

# The groups; the key's properties name them, too.
VIEWS, PICTURES, DRAWS, STAYS = (
    "two views of each picture",
    "each picture by itself",
    "the generator decides",
    "the input stays",
)
SIDE = 8  # a shift is one of 8 x 8


@dataclass(frozen=True)
class _Shift:
    """Shift all pictures of a call by one offset, round the edges, and add 1.

    What was done to a picture can be read from the result: the brightest pixel of the
    first channel tells the offset, the second channel how often 1 was added.
    """

    in_place: bool

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Expects ``(b, 2, 8, 8)`` and a generator, as the statement promises."""
        if x.ndim != 4:
            raise ValueError(
                f"augment takes a batch (b, c, h, w), got {tuple(x.shape)}; "
                "x[i : i + 1] is a batch of one."
            )
        down, right = torch.randint(SIDE, (2,), generator=generator).tolist()
        moved = x.roll((down, right), (2, 3))
        moved[:, 1] += 1
        return x.copy_(moved) if self.in_place else moved


def _make_views(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, n: int, in_place: bool = False) -> Case:
        x = rng.uniform(0, 1, (n, 2, SIDE, SIDE))
        x[:, 0, 0, 0] = 2.0  # the mark by which an offset is known
        inputs = {
            "x": x.astype(np.float32),
            "in_place": in_place,
            "seed": int(rng.integers(2**31)),
        }
        return Case(group, about, inputs)

    return [
        case(VIEWS, "200 pictures", 200),
        case(VIEWS, "one picture", 1),
        case(PICTURES, "200 pictures", 200),
        case(DRAWS, "60 pictures: equal and other seeds, a second call", 60),
        case(STAYS, "60 pictures, and an augment that writes into its input", 60, True),
    ]


def _states() -> str:
    """The global random states of torch, NumPy and Python."""
    numpy_state = np.random.get_state()[1].tobytes()  # noqa: NPY002
    return repr((torch.get_rng_state().tolist(), numpy_state, random.getstate()))


def _observe_views(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    augment = _Shift(given["in_place"])

    def call(generator: torch.Generator) -> Any:
        return candidate(given["x"], augment, generator)

    def seeded(number: int) -> torch.Generator:
        return torch.Generator().manual_seed(given["seed"] + number)

    generator = seeded(0)
    torch.manual_seed(given["seed"] % 1000)
    before = _states()
    v1, v2 = call(generator)
    seen = {"v1": v1, "v2": v2}
    if case.group != DRAWS:
        return seen
    kept = _states() == before
    later, again, other = call(generator), call(seeded(0)), call(seeded(1))

    def same(pair: Any) -> bool:
        return torch.equal(pair[0], v1) and torch.equal(pair[1], v2)

    return seen | {
        "a later call, another result": not same(later),
        "equal seeds, equal results": same(again),
        "another seed, another result": not same(other),
        "the global state stays": kept,
    }


two_views = Probe(
    id="contrastive.two_views",
    title="Two views of each picture",
    points=3,
    minutes=20,
    level="medium",
    hints=(
        "How often does augment draw when you hand it a batch of n pictures, and how "
        "many draws do n pictures with two views need?",
        "v1 = the n results of augment on batches of one picture, joined; v2 the same "
        "once more, from the original x. 2n calls, all with the same generator "
        "object; a copy of the picture goes in.",
        "def one_view(): return torch.cat([augment(x[i : i + 1].clone(), generator) "
        "for i in range(len(x))]); return one_view(), one_view().",
    ),
    make=_make_views,
    observe=_observe_views,
    kind="property",
    forbid=("tlcourse.pretraining.two_views",),
)
