"""What is asked about class ratios."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probing import REFUSES, Candidate, Seen, tensors
from tlcourse.exercises.spec import Case, Probe


def _make_bbse(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def draw(labels: np.ndarray, k: int) -> np.ndarray:
        """Predictions that err more often towards the next class than back."""
        u = rng.random(len(labels))
        nxt, before = (labels + 1) % k, (labels - 1) % k
        return np.where(u < 0.7, labels, np.where(u < 0.92, nxt, before))

    def case(group: str, about: str, n: int, m: int, k: int) -> Case:
        share = np.arange(1, k + 1) / np.arange(1, k + 1).sum()
        y = np.concatenate([np.arange(k).repeat(4), rng.choice(k, n - 4 * k, p=share)])
        h = draw(y, k)
        h[: 4 * k] = y[: 4 * k]  # every class is predicted, and mostly rightly
        target = draw(rng.choice(k, m, p=share[::-1]), k)
        inputs = {
            "predictions_val": h,
            "labels_val": y,
            "predictions_target": target,
            "num_classes": k,
        }
        return Case(group, about, inputs)

    value, cut, singular = "class ratios", "negative solutions", "cannot be solved"
    one = case(cut, "the target is predicted as class 0 only", 60, 10, 3)
    one.inputs["predictions_target"][:] = 0
    one.inputs["predictions_val"][0] = 1  # class 0 is sometimes mistaken, for sure
    absent = case(singular, "class 2 never occurs in validation", 60, 30, 3)
    kept = absent.inputs["labels_val"] != 2
    for name in ("predictions_val", "labels_val"):
        absent.inputs[name] = absent.inputs[name][kept]
    never = case(singular, "class 1 is never predicted", 60, 30, 3)
    never.inputs["predictions_val"][never.inputs["predictions_val"] == 1] = 0
    alike = case(singular, "classes 0 and 1 are predicted alike", 64, 30, 3)
    alike.inputs["labels_val"] = np.arange(4).repeat(16) % 3  # 0, 1, 2 and 0 again
    alike.inputs["labels_val"][48:] = np.arange(16) % 2  # 24 of class 0, 24 of 1
    alike.inputs["predictions_val"] = np.where(
        alike.inputs["labels_val"] == 2, 2, np.arange(64) // 2 % 2
    )
    empty = case(REFUSES, "no target prediction", 40, 5, 3)
    empty.inputs["predictions_target"] = empty.inputs["predictions_target"][:0]
    outside = []
    for name, wrong in (
        ("predictions_target", 3),
        ("predictions_val", 3),
        ("labels_val", -1),
    ):
        outside.append(case(REFUSES, f"class {wrong} in {name}, of 3", 40, 20, 3))
        outside[-1].inputs[name][0] = wrong
    return [
        case(value, "200 and 150 samples, 3 classes", 200, 150, 3),
        case(value, "120 and 400 samples, 4 classes", 120, 400, 4),
        one,
        absent,
        never,
        alike,
        empty,
        *outside,
    ]


def _observe_bbse(candidate: Candidate, case: Case) -> Seen:
    return {"ratios": candidate(*tensors(case).values())}


bbse = Probe(
    id="distribution_shift.bbse",
    title="Class ratios by black-box shift estimation",
    points=4,
    minutes=25,
    level="hard",
    hints=(
        "Under label shift, which distribution is the same in both domains: that of "
        "the prediction given the class, or of the class given the prediction?",
        "C_ij = share of validation samples with prediction i and class j (all entries "
        "sum to 1); q_i = share of target samples with prediction i; solve C w = q; "
        "negative entries become 0.",
        "joint = torch.zeros(k, k, dtype=torch.float64); joint.index_put_((h, y), "
        "torch.full((n,), 1 / n), accumulate=True) in float64; q = bincount(target, "
        "minlength=k) / m; refuse classes outside 0..k-1 in all three, no target, and "
        "matrix_rank(joint) < k; return "
        "torch.linalg.solve(joint, q).clamp(min=0).",
    ),
    make=_make_bbse,
    observe=_observe_bbse,
    forbid=("tlcourse.shift.bbse",),
)
