"""What is asked about Reptile's step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tlcourse.exercises.probes.maml.common import (
    CLASSIFIER,
    FORBID,
    NETWORK,
    as_dict,
    draw,
    is_what_it_was,
    listed,
    rate,
)
from tlcourse.exercises.probing import Candidate, Seen, by_role, tensors
from tlcourse.exercises.spec import Case, Probe

_STEP, _NAMES = "towards the adapted parameters", "by name, not by position"
_ENDS, _TRACE = "one task; a tiny and a full step", "leaves what it was given"


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str,
        tasks: int,
        step: float,
        shapes: Mapping[str, tuple[int, ...]] = NETWORK,
        dtype: str = "float32",
        turned: bool = False,
        learns: bool = False,
    ) -> Case:
        inputs = draw(rng, "params", shapes, dtype)
        order = dict(reversed(shapes.items())) if turned else shapes
        inputs |= draw(rng, "adapted", order, dtype, (tasks,))
        about = f"{tasks} task(s), step {step}" + (", another order" if turned else "")
        return Case(group, about, inputs | {"step": step, "learns": learns})

    square = {"first": (3, 3), "second": (3, 3), "scale": ()}
    some = rate(rng, 0.1, 0.4)
    return [
        case(_STEP, 3, some),
        case(_STEP, 5, rate(rng, 0.6, 0.9), CLASSIFIER, "float64"),
        case(_STEP, 2, some, {"scale": (), "shift": (1,)}),
        case(_NAMES, 3, some, square, turned=True),
        case(_NAMES, 4, 0.8, NETWORK, turned=True),
        case(_ENDS, 1, some),
        case(_ENDS, 3, 0.01, square),
        case(_ENDS, 3, 1.0, square),
        case(_TRACE, 3, some, learns=True),
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    params, adapted = by_role(given, "params"), by_role(given, "adapted")
    for p in params.values():
        p.requires_grad_(given["learns"])
    mine, theirs = dict(params), dict(adapted)
    after = as_dict(candidate(mine, theirs, given["step"]), "the result")
    seen = {"names of the result": listed(after)}
    seen |= {f"{k} after": after[k] for k in params if k in after}
    if case.group == _TRACE:
        for role, now, old in (("params", mine, params), ("adapted", theirs, adapted)):
            kept = is_what_it_was(now, old, role == "params")
            seen |= {f"{role}: {what}": held for what, held in kept.items()}
    return seen


reptile_update = Probe(
    id="maml.reptile_update",
    title="Reptile's step",
    points=2,
    minutes=8,
    level="easy",
    hints=(
        "Each task has moved the parameters somewhere. Where should the start go?",
        "theta + step * (mean over tasks of theta'_t - theta), for every name.",
        "return {k: p + step * (adapted[k].mean(0) - p) for k, p in params.items()}",
    ),
    make=_make,
    observe=_observe,
    forbid=FORBID,
)
