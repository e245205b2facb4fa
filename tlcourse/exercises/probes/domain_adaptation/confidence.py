"""What is asked about pseudo-labels."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probing import Candidate, Seen, tensors
from tlcourse.exercises.spec import Case, Probe

_SURE, _CLASSES = "the sure ones", "at most so many of each class"
_EDGE = "edge cases"


def _make(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        group: str, about: str, logits: np.ndarray, threshold: float,
        per_class: int | None = None,
    ) -> Case:  # fmt: skip
        inputs = {"logits": logits.astype(np.float32), "threshold": threshold}
        return Case(group, about, inputs | {"per_class": per_class})

    def spread(n: int, k: int, favourite: float = 0.0) -> np.ndarray:
        """Every class is sure of some samples; confidences are all different."""
        logits = rng.normal(0, 0.3, (n, k))
        chosen = rng.permutation(np.arange(n) % k)
        if favourite:
            chosen[rng.random(n) < favourite] = 0
        logits[np.arange(n), chosen] += rng.permutation(np.linspace(0, 6, n))
        return logits + rng.normal(0, 3, (n, 1))

    first = spread(20, 3)
    first[0] = np.log([0.85, 0.1, 0.05])  # sure, and by a margin below the threshold
    certain = rng.normal(0, 1, (6, 2))
    certain[[1, 2, 4], [0, 1, 0]] -= 200  # the other class has probability 1 exactly
    return [
        case(_SURE, "20 samples, 3 classes, threshold 0.8", first, 0.8),
        case(_SURE, "12 samples, 5 classes, threshold 0.6", spread(12, 5), 0.6),
        case(_SURE, "threshold 1, confidence exactly 1", certain, 1.0),
        case(_CLASSES, "at most 3 of 4 classes", spread(40, 4), 0.6, 3),
        case(_CLASSES, "one class is common", spread(40, 3, 0.6), 0.6, 4),
        case(_CLASSES, "at most 1", spread(24, 3), 0.5, 1),
        case(_EDGE, "nobody is sure", rng.normal(0, 0.01, (5, 4)), 0.9),
        case(_EDGE, "threshold 0, more allowed than there are", spread(9, 3), 0.0, 50),
        case(_EDGE, "one sample", spread(3, 3)[:1] + [[9, 0, 0]], 0.9),
    ]


def _observe(candidate: Candidate, case: Case) -> Seen:
    given = tensors(case)
    logits = given["logits"].requires_grad_()
    args = logits, given["threshold"]
    per_class = given["per_class"]
    pair = candidate(*args) if per_class is None else candidate(*args, per_class)
    indices, labels = pair
    return {"indices": indices, "labels": labels}


pseudo_labels = Probe(
    id="domain_adaptation.pseudo_labels",
    title="Pseudo-labels where the model is sure",
    points=3,
    minutes=15,
    level="easy",
    hints=(
        "How sure is a model whose logits are (10, 9, 9)? And if one class is easy, "
        "what happens to the others in the next round?",
        "Confidence is the largest softmax probability, kept if >= threshold. With "
        "per_class, the most confident members of each predicted class stay.",
        "confidence, y = logits.detach().softmax(1).max(1); keep = confidence >= "
        "threshold; for each class: members = (keep & (y == k)).nonzero().flatten(), "
        "sort them by confidence, keep[the rest] = False; return keep's indices, "
        "ascending, and y there.",
    ),
    make=_make,
    observe=_observe,
    forbid=("tlcourse.adapt.pseudo_labels",),
)
