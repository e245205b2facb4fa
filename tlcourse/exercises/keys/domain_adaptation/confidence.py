"""Pseudo-labels: what is right, and confidence misread."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tlcourse import adapt
from tlcourse.exercises.spec import Key, Mutant


@dataclass(frozen=True)
class _Labels:
    """Pseudo-labels; each field may hold one mistake."""

    strict: bool = False
    on: str = "probability"
    keep: str = "sure"  # which members of a crowded class stay
    order: str = "ascending"
    labels_of: str = "kept"

    def __call__(
        self, logits: Tensor, threshold: float, per_class: int | None = None
    ) -> tuple[Tensor, Tensor]:
        logits = logits.detach()
        confidence, y = logits.softmax(1).max(1)
        if self.on == "margin":
            top = logits.softmax(1).topk(2, 1).values
            measured = top[:, 0] - top[:, 1]
        else:
            measured = logits.amax(1) if self.on == "logit" else confidence
        keep = measured > threshold if self.strict else measured >= threshold
        if per_class is not None:
            keep = self._cut(keep, confidence, y, logits.shape[1], per_class)
        indices = keep.nonzero().flatten()
        if self.order == "confidence":
            indices = indices[confidence[indices].argsort(descending=True)]
        return indices, y if self.labels_of == "all" else y[indices]

    def _cut(
        self, keep: Tensor, confidence: Tensor, y: Tensor, k: int, most: int
    ) -> Tensor:
        if self.keep == "all":
            return keep
        groups = [keep & (y == c) for c in range(k)]
        if self.keep == "in total":
            groups, most = [keep], most
        for group in groups:
            members = group.nonzero().flatten()
            if self.keep != "first":
                falling = self.keep != "unsure"
                members = members[confidence[members].argsort(descending=falling)]
            keep = keep.clone()
            keep[members[most:]] = False
        return keep


pseudo_labels = Key(
    reference=adapt.pseudo_labels,
    mutants=(
        Mutant(
            "strictly_above",
            _Labels(strict=True),
            "A confidence equal to the threshold was left out. Keep it: >= threshold.",
        ),
        Mutant(
            "logit_as_confidence",
            _Labels(on="logit"),
            "You compare the largest logit with the threshold. Logits have no scale: "
            "adding 3 to all of a sample's logits changes nothing. Take the softmax.",
        ),
        Mutant(
            "margin",
            _Labels(on="margin"),
            "You compare the gap between the two largest probabilities. Asked for is "
            "the largest probability itself.",
        ),
        Mutant(
            "per_class_ignored",
            _Labels(keep="all"),
            "`per_class` is not used, so an easy class swamps the others. Keep at most "
            "so many samples of each predicted class.",
        ),
        Mutant(
            "the_first_ones",
            _Labels(keep="first"),
            "Of a crowded class you keep the first samples in the list. Keep the most "
            "confident ones.",
        ),
        Mutant(
            "the_unsure_ones",
            _Labels(keep="unsure"),
            "Of a crowded class you keep the least confident samples. Sort by falling "
            "confidence.",
        ),
        Mutant(
            "in_total",
            _Labels(keep="in total"),
            "`per_class` limits all samples together. It is a limit for each predicted "
            "class.",
        ),
        Mutant(
            "by_confidence",
            _Labels(order="confidence"),
            "The right samples in another order. Give the indices in ascending order, "
            "as asked.",
        ),
        Mutant(
            "labels_of_all",
            _Labels(labels_of="all"),
            "The labels are those of all samples and do not fit the indices. Return "
            "y[indices].",
        ),
    ),
)
