"""Transfer gain: what is asked."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probes.why_transfer.common import tensors
from tlcourse.exercises.probing import REFUSES
from tlcourse.exercises.spec import Case, Probe


def _make_transfer_gain(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(group: str, about: str, m: int, *seeds: int) -> Case:
        shots = 1 + np.sort(rng.choice(40, m, replace=False))
        curves = np.sort(rng.uniform(0.1, 0.9, (2, *seeds, m)), axis=-1)
        # The transfer curve starts high and flattens, as they do.
        curves[0] += 0.4 * (1 - curves[0])
        inputs = {"shots": shots.astype(np.float64) + 1}
        return Case(
            group, about, {**inputs, "transfer": curves[0], "scratch": curves[1]}
        )

    def refused(about: str, *shots: int) -> Case:
        bad = case(REFUSES, about, len(shots))
        bad.inputs["shots"][:] = shots
        return bad

    def cut(about: str, m: int, *names: str) -> Case:
        bad = case(REFUSES, about, m)
        return Case(
            REFUSES,
            about,
            {n: v[:-1] if n in names else v for n, v in bad.inputs.items()},
        )

    by_hand = {
        "shots": np.array([1.0, 2.0, 8.0]),
        "transfer": np.array([0.7, 0.7, 0.8]),
        "scratch": np.array([0.3, 0.5, 0.7]),
    }
    unordered = case(REFUSES, "shots that do not increase", 4)
    unordered.inputs["shots"][[1, 2]] = unordered.inputs["shots"][[2, 1]]
    seeds = case(REFUSES, "five seeds against one", 4, 5)
    seeds.inputs["scratch"] = seeds.inputs["scratch"][0]
    return [
        Case("one pair of curves", "the example by hand", by_hand),
        case("one pair of curves", "two points", 2),
        case("one pair of curves", "six points", 6),
        case("curves of several seeds", "5 seeds, 4 points", 4, 5),
        unordered,
        refused("shots 0, 1, 2", 0, 1, 2),
        refused("shots 1, 1, 2", 1, 1, 2),
        refused("one entry only", 3),
        cut("curves of different length", 4, "scratch"),
        cut("both curves shorter than shots", 4, "transfer", "scratch"),
        seeds,
    ]


transfer_gain = Probe(
    id="why_transfer.transfer_gain",
    title="Transfer gain: the area between two learning curves",
    points=3,
    minutes=15,
    level="easy",
    hints=(
        "From 1 to 2 labels per class and from 10 to 20: which axis makes the two "
        "steps equally wide, and what does the area have to be divided by to become "
        "an average?",
        "With u_j = ln n_j and d_j = transfer_j - scratch_j, the trapezoid rule gives "
        "G = sum_j (d_j + d_{j+1}) / 2 * (u_{j+1} - u_j), over (u_m - u_1).",
        "Check len(shots) > 1, shots > 0, shots.diff() > 0 and the shapes "
        "(ValueError). Then: "
        "u = shots.log(); d = transfer - scratch; width = u.diff(); return "
        "((d[..., 1:] + d[..., :-1]) / 2 * width).sum(-1) / (u[-1] - u[0]).",
    ),
    make=_make_transfer_gain,
    observe=lambda candidate, case: {"gain": candidate(*tensors(case))},
    forbid=("tlcourse.transferability.transfer_gain",),
)
