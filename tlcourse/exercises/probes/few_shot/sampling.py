"""What is asked about drawing an episode."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlcourse.exercises.probing import REFUSES, Candidate, Seen, tensors
from tlcourse.exercises.spec import Case, Probe

TASK, FAIR, GENERATOR = "a task", "fair draws", "the generator decides"
_NAMES = ("support", "support_y", "query", "query_y")


def _labels(rng: np.random.Generator, sizes: list[int]) -> np.ndarray:
    """Shuffled labels with gaps between the class numbers."""
    names = rng.choice(np.arange(20, 90), len(sizes), replace=False)
    return rng.permutation(np.repeat(names, sizes))


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, sizes: list[int], numbers: tuple[int, int, int],
        draws: int,
    ) -> Case:  # fmt: skip
        ways, shots, queries = numbers
        inputs = {
            "labels": _labels(rng, sizes),
            "num_ways": ways,
            "num_shots": shots,
            "num_queries": queries,
            "seed": int(rng.integers(2**31)),
            "draws": draws,
        }
        return Case(group, about, inputs)

    return [
        case(TASK, "5 ways, 2 shots, 3 queries", [6, 9, 7, 30, 12, 8], (5, 2, 3), 30),
        case(TASK, "all classes, all samples of one", [5, 8, 5], (3, 1, 4), 30),
        case(TASK, "1 shot, 1 query", [4, 2, 3, 9], (2, 1, 1), 30),
        case(FAIR, "3 of 6 classes, 300 draws", [6, 6, 6, 6, 24, 24], (3, 2, 3), 300),
        case(GENERATOR, "the same seed twice, then on", [20] * 12, (5, 2, 3), 1),
        case(REFUSES, "more ways than classes", [9] * 4, (5, 2, 3), 12),
        case(REFUSES, "a class with too few samples", [9] * 8 + [4], (2, 2, 3), 12),
    ]


def _four(found: Any) -> tuple[Tensor, ...]:
    support, support_y, query, query_y = found
    return support, support_y, query, query_y


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    numbers = tuple(given[f"num_{n}"] for n in ("ways", "shots", "queries"))
    labels = given["labels"]

    def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
        return _four(candidate(labels, *numbers, generator))

    generator = torch.Generator().manual_seed(given["seed"])
    if case.group == GENERATOR:
        return _observe_generator(draw, given["seed"])
    if case.group == REFUSES:
        return _observe_refusal(candidate, labels, numbers, generator, given["draws"])
    return _stacked([draw(generator) for _ in range(given["draws"])])


def _stacked(found: list[tuple[Tensor, ...]]) -> dict[str, Any]:
    columns = zip(_NAMES, zip(*found, strict=True), strict=True)
    seen = {name: torch.stack(column) for name, column in columns}
    return seen | {"dtypes": sorted({str(v.dtype) for f in found for v in f})}


def _observe_generator(draw: Any, seed: int) -> Seen:
    """Draws under two global random states."""

    def sample(generator: torch.Generator, elsewhere: int) -> Tensor:
        random.seed(elsewhere)
        np.random.seed(elsewhere)
        torch.manual_seed(elsewhere)
        return torch.cat(draw(generator))

    parts = draw(torch.Generator().manual_seed(seed + 2))
    first, second = (torch.Generator().manual_seed(seed) for _ in range(2))
    other = torch.Generator().manual_seed(seed + 1)
    one = sample(first, 1)
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    again = sample(second, 2)
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    fresh = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    return {
        "again": torch.equal(one, again),
        **_stacked([parts]),
        "goes on": not torch.equal(one, sample(first, 1)),
        "other": not torch.equal(one, sample(other, 1)),
        "global state kept": state[:2] == fresh[:2] and torch.equal(state[2], fresh[2]),
    }


def _observe_refusal(
    candidate: Candidate,
    labels: Tensor,
    numbers: tuple,
    generator: torch.Generator,
    tries: int,
) -> Seen:
    """Tried often: to refuse only when the small class is drawn is not enough."""
    _four(candidate(labels, 2, 1, 1, generator))  # this much can be done
    for _ in range(tries):
        try:
            candidate(labels, *numbers, generator)
        except ValueError:
            continue
        except NotImplementedError:
            raise
        except Exception as error:
            return {"refused": False, "instead": type(error).__name__}
        return {"refused": False, "instead": "no error"}
    return {"refused": True}


sample_episode = Probe(
    id="few_shot.sample_episode",
    title="Draw an episode",
    points=5,
    minutes=30,
    level="medium",
    kind="property",
    hints=(
        "Which two things must never be drawn twice? And what does the task call the "
        "class that the data set calls 57?",
        "N of the classes without replacement; of each, K + Q of its samples without "
        "replacement, the first K support, the rest query; its new label is its place "
        "in the list of drawn classes, 0 to N - 1.",
        "classes = labels.unique(); chosen = classes[torch.randperm(len(classes), "
        "generator=generator)[:num_ways]]; for new, old in enumerate(chosen): members "
        "= (labels == old).nonzero().flatten(); shuffle them in the same way; first K "
        "to support, next Q to query, label new.",
    ),
    make=_make,
    observe=_observe,
    forbid=(
        "tlcourse.meta.sample_episode",
        "tlcourse.meta.sample_episodes",
        "tlcourse.meta.EpisodeSampler",
    ),
    forgeable=True,
)
