"""What is asked about schedules and about states on a line."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlcourse.exercises.probing import Candidate, Seen, by_role, normal, tensors
from tlcourse.exercises.spec import Case, Probe

_MEMORY = "memory of its own"


def _make_wise_ft(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def state(kind: str) -> dict[str, np.ndarray]:
        entries = {
            "conv.weight": normal(rng, 4, 1, 3, 3),
            "conv.bias": normal(rng, 4),
            "norm.running_mean": normal(rng, 4),
            "norm.running_var": rng.uniform(0.5, 2, 4).astype(np.float32),
            "head.weight": normal(rng, 3, 4),
        }
        if kind == "double":
            return {k: v.astype(np.float64) for k, v in entries.items()}
        if kind in ("counters", "many"):
            # Odd sums and large numbers: neither a mean nor float32 is exact.
            start = int(rng.integers(2**24, 2**25)) * 2 if kind == "many" else 3
            entries["norm.num_batches_tracked"] = np.array(
                start + int(rng.integers(1, 2000)) * 2 + 1
            )
            entries["kept"] = rng.permutation([True, True, False, False, False])
        return entries

    def case(group: str, about: str, alpha: float, kind: str = "", **more: Any) -> Case:
        inputs = {
            f"{role}[{name}]": array
            for role in ("source", "tuned")
            for name, array in state(kind).items()
        }
        inputs["alpha"] = alpha
        return Case(group, about, inputs | more)

    line, counters = "weights on the line", "counters and masks"
    refuses = "refuses bad input"
    return [
        case(line, "alpha = 0.3", 0.3),
        case(line, "alpha = 0.5, float64", 0.5, "double"),
        case(line, "alpha = 0", 0.0),
        case(line, "alpha = 1", 1.0),
        case(counters, "a counter (int64) and a mask (bool), alpha = 0.3", 0.3,
             "counters"),
        case(counters, "a large counter, alpha = 0.75", 0.75, "many"),
        case(_MEMORY, "the result is overwritten, alpha = 0.4", 0.4, "counters"),
        case(_MEMORY, "the result is overwritten, alpha = 1", 1.0, "counters"),
        case(_MEMORY, "the result is overwritten, alpha = 0", 0.0, "counters"),
        case(refuses, "alpha = 1.5", 1.5),
        case(refuses, "alpha = -0.5", -0.5),
        case(refuses, "the tuned head has 1 row, the source's 3", 0.5,
             **{"tuned[head.weight]": normal(rng, 1, 4)}),
        case(refuses, "one bias has the shape (4,), the other (1, 4)", 0.5,
             **{"tuned[conv.bias]": normal(rng, 1, 4)}),
        case(refuses, "the masks have 5 and 6 entries", 0.5, "counters",
             **{"tuned[kept]": rng.permutation([True, True, True] + 3 * [False])}),
        case(refuses, "only the tuned state has extra.weight", 0.5,
             **{"tuned[extra.weight]": normal(rng, 2)}),
        case(refuses, "only the source state has old.weight", 0.5,
             **{"source[old.weight]": normal(rng, 2)}),
        case(refuses, "head.weight has another name in the source", 0.5,
             **{"tuned[extra.weight]": normal(rng, 2),
                "source[old.weight]": normal(rng, 2)}),
    ]  # fmt: skip


def _observe_wise_ft(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    source, tuned = by_role(given, "source"), by_role(given, "tuned")
    names = sorted(source), sorted(tuned)
    mixed = candidate(source, tuned, given["alpha"])
    seen: dict[str, Any] = {"names": ", ".join(sorted(mixed))}
    seen |= {name: mixed[name] for name in sorted(mixed)}
    if case.group != _MEMORY:
        return seen
    seen |= {name: torch.as_tensor(value).clone() for name, value in mixed.items()}
    with torch.no_grad():
        for value in mixed.values():
            value.zero_()
    return seen | {
        "names of the source afterwards": sorted(source) == names[0],
        "names of the tuned state afterwards": sorted(tuned) == names[1],
    }


wise_ft = Probe(
    id="fine_tuning.wise_ft",
    title="WiSE-FT: weights on the line",
    points=3,
    minutes=15,
    level="easy",
    hints=(
        "Which entries of a state_dict have no in-between? And whose memory does the "
        "result live in?",
        "Float entries: (1 - alpha) * source + alpha * tuned. All others: a copy of "
        "the tuned entry.",
        "Check 0 <= alpha <= 1, equal names, equal shapes (ValueError). Then {name: "
        "(1 - alpha) * source[name] + alpha * t if t.is_floating_point() else "
        "t.clone() for name, t in tuned.items()}.",
    ),
    make=_make_wise_ft,
    observe=_observe_wise_ft,
    forbid=(
        "tlcourse.tuning.wise_ft",
        "tlcourse.tuning.uniform_soup",
        "tlcourse.tuning.greedy_soup",
    ),
)


def _make_warmup_cosine(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, total: int, warmup: int, **more: Any) -> Case:
        peak = float(round(rng.uniform(0.1, 0.9), 3))
        inputs = {
            "steps": list(range(total)),
            "total_steps": total,
            "warmup_steps": warmup,
            "peak": peak,
            "floor": float(round(peak * rng.uniform(0.05, 0.3), 4)),
        }
        return Case(group, about, inputs | more)

    rise, fall, edges = "warm-up", "cosine", "edges"
    refuses = "refuses bad input"
    return [
        case(rise, "steps 0 to 5, 5 of 20 for warming up", 20, 5, steps=[*range(6)]),
        case(rise, "step 0, 9 of 10 for warming up", 10, 9, steps=[0]),
        case(fall, "steps 5 to 19, 5 of 20 for warming up", 20, 5,
             steps=[*range(5, 20)]),
        case(fall, "steps 3 to 29, 3 of 30, floor 0", 30, 3, steps=[*range(3, 30)],
             floor=0.0),
        case(edges, "no warm-up, all 8 steps", 8, 0),
        case(edges, "one step in all", 1, 0),
        case(edges, "all steps but the last warm up", 6, 5),
        case(edges, "steps after the end", 7, 2, steps=[7, 8, 11, 40]),
        case(edges, "after the end, all steps but the last warm up", 6, 5,
             steps=[6, 9]),
        case(refuses, "as many warm-up steps as steps", 6, 6, steps=[2]),
        case(refuses, "more warm-up steps than steps", 4, 6, steps=[1]),
        case(refuses, "step -1", 6, 2, steps=[-1]),
    ]  # fmt: skip


def _observe_warmup_cosine(candidate: Candidate, case: Case) -> Seen:
    given = case.inputs
    rest = [given[n] for n in ("total_steps", "warmup_steps", "peak", "floor")]
    return {f"rate of step {t}": float(candidate(t, *rest)) for t in given["steps"]}


warmup_cosine = Probe(
    id="fine_tuning.warmup_cosine",
    title="Warm-up, then a cosine",
    points=3,
    minutes=15,
    level="easy",
    hints=(
        "At which step is the rate largest, at which is it smallest, and what "
        "fraction of the way down is the step you are asked about?",
        "t <= W: peak (t + 1) / (W + 1). Then with u = (t - W) / (T - 1 - W), at most "
        "1: floor + (peak - floor) / 2 * (1 + cos(pi u)).",
        "if step <= W: return peak * (step + 1) / (W + 1); u = min(1, (step - W) / "
        "max(1, T - 1 - W)); return floor + (peak - floor) / 2 * (1 + math.cos(math.pi "
        "* u)). Before that: ValueError for step < 0 or W >= T.",
    ),
    make=_make_warmup_cosine,
    observe=_observe_warmup_cosine,
    forbid=("tlcourse.tuning.warmup_cosine",),
)
