"""What is asked about pooling."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probing import Candidate, Seen, tensors
from tlcourse.exercises.spec import Case, Probe

_Z, _GRADIENT, _REFUSES = "pooled vectors", "gradients", "refuses an empty text"


def _make_mean_pool(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, mask: np.ndarray, dtype: str = "float32") -> Case:
        hidden = rng.normal(1, 2, (*mask.shape, 4)).astype(dtype)
        if dtype == "float16":  # whole numbers, so that no way of summing rounds
            hidden = rng.integers(-8, 9, hidden.shape).astype(dtype)
        return Case(group, about, {"hidden": hidden, "mask": mask})

    def lengths(*numbers: int) -> np.ndarray:
        t = max(numbers) + 1
        return (np.arange(t) < np.array(numbers)[:, None]).astype(np.int64)

    holes = rng.integers(0, 2, (4, 7))
    holes[:, 3] = 1
    empty = lengths(3, 5, 2)
    empty[1] = 0
    return [
        case(_Z, "texts of 2, 6 and 4 tokens", lengths(2, 6, 4)),
        case(_Z, "one text, one token", lengths(1)),
        case(_Z, "padding on the left", lengths(3, 7, 5)[:, ::-1].copy()),
        case(_Z, "tokens anywhere", holes),
        case(_Z, "a bool mask", lengths(4, 2, 5).astype(bool)),
        case(_Z, "a float mask", lengths(4, 2, 5).astype(np.float32)),
        case(_Z, "a float64 mask", lengths(4, 2, 5).astype(np.float64)),
        case(_Z, "float64 states", lengths(3, 6), dtype="float64"),
        case(_Z, "float16 states", lengths(4, 8, 2), dtype="float16"),
        case(_GRADIENT, "texts of 2, 5 and 3 tokens", lengths(2, 5, 3)),
        case(_REFUSES, "the second of three texts has no token", empty),
    ]


def _observe_mean_pool(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    hidden, mask = given["hidden"], given["mask"]
    if case.group != _GRADIENT:
        return {"z": candidate(hidden, mask)}
    hidden.requires_grad_()
    z = candidate(hidden, mask)
    if not z.requires_grad:
        return {"a graph hangs on z": False}
    z.square().sum().backward()
    return {"a graph hangs on z": True, "gradient of hidden": hidden.grad}


mean_pool = Probe(
    id="language.mean_pool",
    title="Mean over the real tokens",
    points=3,
    minutes=10,
    level="easy",
    hints=(
        "How many tokens does the first text have, and by which number do you divide "
        "its sum? Which positions are in that sum?",
        "z_i = sum_t m_it h_it / sum_t m_it, where the mask m is 1 for tokens and 0 "
        "for padding. Numerator and denominator sum over t, text by text.",
        "m = mask.to(hidden.dtype).unsqueeze(-1) has shape (b, t, 1); counts = "
        "m.sum(dim=1) is (b, 1). Raise a ValueError if any count is 0; return "
        "(hidden * m).sum(dim=1) / counts.",
    ),
    make=_make_mean_pool,
    observe=_observe_mean_pool,
    forbid=("tlcourse.language.mean_pool",),
)
