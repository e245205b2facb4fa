"""Chapter 02: what is asked about losses on distances."""

from __future__ import annotations

import numpy as np

from tlcourse.exercises.probes.losses.common import loss_and_gradient
from tlcourse.exercises.spec import Case, Probe

_GAP = 2e-3  # no comparison of distances is closer: rounding must not decide


def _make_triplet_loss(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    cases = [
        _mixed(rng, "semi-hard triplets", "10 embeddings, 3 classes", 10, 3, 1.0),
        _mixed(rng, "semi-hard triplets", "12 embeddings, 4 classes", 12, 4, 0.7),
        _mixed(rng, "equal points", "two embeddings are equal", 9, 3, 0.8, twins=True),
    ]
    line, pairs = np.array([[0], [1], [-1], [1.5]]), np.array([0, 0, 1, 1])
    cases.append(_case(cases[0].group, "both bounds are met exactly", line, pairs, 3.0))
    none, far = "no semi-hard triplet", rng.normal(0, 0.1, (6, 3))
    far[3:] += 50
    labels = np.array([0, 0, 0, 1, 1, 1])
    near = rng.normal(0, 1, (5, 3))
    cases.append(_case(none, "two classes far apart", far, labels, 0.5))
    cases.append(_case(none, "all of one class", near, np.zeros(5, int), 0.5))
    return cases


def _case(
    group: str, about: str, z: np.ndarray, labels: np.ndarray, margin: float
) -> Case:
    inputs = {"z": z.astype(np.float32), "labels": labels.astype(np.int64)}
    return Case(group, about, {**inputs, "margin": margin})


def _mixed(
    rng: np.random.Generator,
    group: str,
    about: str,
    n: int,
    classes: int,
    margin: float,
    twins: bool = False,
) -> Case:
    """Draw until easy, semi-hard and hard triplets occur and none is a close call."""
    labels = rng.permutation(np.arange(n) % classes)
    while True:
        z = rng.normal(0, 0.6, (n, 3)).astype(np.float32)
        if twins:
            first, second = np.flatnonzero(labels == 0)[:2]
            z[second] = z[first]
        if _is_clear(z.astype(np.float64), labels, margin):
            return _case(group, about, z, labels, margin)


def _is_clear(z: np.ndarray, labels: np.ndarray, margin: float) -> bool:
    squared = ((z[:, None] - z[None]) ** 2).sum(2)
    same = labels[:, None] == labels[None]
    gaps = squared[:, None, :] - squared[:, :, None]  # (anchor, positive, negative)
    gaps = gaps[same[:, :, None] & ~same[:, None, :]]
    kinds = (
        (gaps < 0).any(),
        ((gaps > 0) & (gaps < margin)).any(),
        (gaps > margin).any(),
    )
    close = np.minimum(abs(gaps), abs(gaps - margin)).min()
    return all(kinds) and bool((squared[~same] < margin).any()) and close > _GAP


triplet_loss = Probe(
    id="losses.triplet_loss",
    title="Triplet loss on semi-hard triplets",
    points=6,
    minutes=35,
    level="hard",
    hints=(
        "For one anchor: which samples may be its positive, which its negative, and "
        "which of the pairs of both still teach something without being hopeless?",
        "With d = squared distances: keep (a, p, n) with y_a = y_p, a != p, y_a != y_n "
        "and d_ap < d_an < d_ap + m; loss = mean of d_ap - d_an + m over these.",
        "d = (z[:, None] - z[None]).pow(2).sum(2); same = labels[:, None] == labels; "
        "near = d[:, :, None]; far = d[:, None, :]; mask = same without its diagonal "
        "[:, :, None] & ~same[:, None, :] & (near < far) & (far < near + margin); sum "
        "the masked losses and divide by max(mask.sum(), 1).",
    ),
    make=_make_triplet_loss,
    observe=lambda candidate, case: loss_and_gradient(
        candidate, case, "z", "labels", "margin"
    ),
    forbid=(
        "tlcourse.losses.triplet_loss",
        "torch.nn.functional.triplet_margin_loss",
        "torch.nn.functional.triplet_margin_with_distance_loss",
    ),
    forgeable=True,
)
