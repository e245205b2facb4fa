"""The bug hunt: what is right, and each of the five bugs alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.exercises.spec import Key, Mutant, Tolerance

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class _SimClr:
    """SimCLR from views to features; each option puts one mistake in."""

    views: str = "new"  # or "once", "second once", "same", "one clean"
    scaled: str = "rows"  # or "not", "columns", "whole"
    logits: str = "divided"  # by the temperature; or "multiplied", "as they are"
    own: float | None = -torch.inf  # what the diagonal is set to
    features: str = "backbone"  # or "projector", "augmented", "early"
    order: str = "new"  # or "one for all epochs"
    anchors: str = "both"  # or "first", "first against second", "first twice"

    def __call__(
        self, backbone: nn.Module, projector: nn.Module, x: Tensor, augment: Augment,
        epochs: int, batch_size: int, temperature: float, lr: float,
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        early = backbone(x).detach() if self.features == "early" else None
        if self.order != "new":
            order = torch.randperm(len(x), generator=generator)
        parameters = [*backbone.parameters(), *projector.parameters()]
        x1, x2 = augment(x, generator), augment(x, generator)
        for _ in range(epochs):
            if self.views != "once":
                x1 = augment(x, generator)
            if self.views not in ("once", "second once"):
                x2 = {"same": x1, "one clean": x}.get(self.views)
                x2 = augment(x, generator) if x2 is None else x2
            if self.order == "new":
                order = torch.randperm(len(x), generator=generator)
            for batch in order.split(batch_size):
                z1, z2 = (projector(backbone(v[batch])) for v in (x1, x2))
                gradients = torch.autograd.grad(
                    self._loss(z1, z2, temperature), parameters
                )
                with torch.no_grad():
                    for p, gradient in zip(parameters, gradients, strict=True):
                        p -= lr * gradient
        with torch.no_grad():
            if self.features == "augmented":
                return backbone(augment(x, generator))
            h = backbone(x) if early is None else early
            return projector(h) if self.features == "projector" else h

    def _loss(self, z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
        z = torch.cat([z1, z1 if self.anchors == "first twice" else z2])
        if self.scaled in ("rows", "columns"):
            z = F.normalize(z, dim=int(self.scaled == "rows"))
        elif self.scaled == "whole":
            z = z / z.norm()
        s = z @ z.T
        if self.logits != "as they are":
            s = s * temperature if self.logits == "multiplied" else s / temperature
        if self.own is not None:
            s = s.masked_fill(torch.eye(len(z), dtype=torch.bool), self.own)
        n = len(z1)
        if self.anchors == "first against second":
            return F.cross_entropy(z[:n] @ z[n:].T / temperature, torch.arange(n))
        asked = slice(n if self.anchors == "first" else 2 * n)
        return F.cross_entropy(s[asked], torch.arange(2 * n).roll(n)[asked])


bug_hunt = Key(
    reference=_SimClr(),
    tolerance=Tolerance(rtol=1e-3, atol=2e-5),
    mutants=(
        Mutant(
            "views_drawn_once",
            _SimClr(views="once"),
            "The views are drawn once, before the epochs, so that every picture has "
            "the same two for ever. Draw both anew in every epoch.",
        ),
        Mutant(
            "second_view_drawn_once",
            _SimClr(views="second once"),
            "One view is new in every epoch, the other is still the one from before "
            "the loop. Draw both anew.",
        ),
        Mutant(
            "one_view_twice",
            _SimClr(views="same"),
            "Both views are the result of one call of augment. They are equal, and "
            "there is nothing to learn from them. Call it twice.",
        ),
        Mutant(
            "one_clean_view",
            _SimClr(views="one clean"),
            "One of the views is the picture without augmentation. Both are drawn.",
        ),
        Mutant(
            "not_normalised",
            _SimClr(scaled="not"),
            "Similarities are dot products, so that longer projections change the "
            "loss. Scale every row to length 1.",
        ),
        Mutant(
            "normalised_over_batch",
            _SimClr(scaled="columns"),
            "Columns are scaled instead of rows, which mixes the samples of a batch. "
            "Every projection, a row, gets length 1.",
        ),
        Mutant(
            "one_norm_for_all",
            _SimClr(scaled="whole"),
            "All projections are divided by one norm, so that they keep their unequal "
            "lengths. Every row is divided by its own.",
        ),
        Mutant(
            "temperature_multiplied",
            _SimClr(logits="multiplied"),
            "The cosines are multiplied by the temperature. Divide by it: a small "
            "temperature makes differences large.",
        ),
        Mutant(
            "temperature_ignored",
            _SimClr(logits="as they are"),
            "The temperature is not used any more. Divide the cosines by it.",
        ),
        Mutant(
            "diagonal_zero",
            _SimClr(own=0.0),
            "The diagonal is 0, which is not nothing: exp(0) = 1 stays in every "
            "denominator. Set it to -inf.",
        ),
        Mutant(
            "diagonal_kept",
            _SimClr(own=None),
            "Each row is still compared with itself: the mask is gone. Set the "
            "diagonal to -inf.",
        ),
        Mutant(
            "first_view_asked",
            _SimClr(anchors="first"),
            "Only the first views are anchors. The second ones have to find their "
            "partner as well: 2n rows, as in exercise 1.",
        ),
        Mutant(
            "first_view_twice",
            _SimClr(anchors="first twice"),
            "The projections of the first view are compared with themselves. Join "
            "those of both views: torch.cat([z1, z2]).",
        ),
        Mutant(
            "other_view_only",
            _SimClr(anchors="first against second"),
            "The first views are compared with the second ones only, as in CLIP. "
            "In exercise 1 each of 2n rows has 2n - 1 candidates.",
        ),
        Mutant(
            "one_order",
            _SimClr(order="one for all epochs"),
            "The batches are the same in every epoch. Draw a new order for each.",
        ),
        Mutant(
            "features_before_training",
            _SimClr(features="early"),
            "The features were computed before the training. Compute backbone(x) after "
            "the last epoch.",
        ),
        Mutant(
            "features_of_the_projector",
            _SimClr(features="projector"),
            "You return the projections. The projector is fitted to the loss, which "
            "rewards it for forgetting what views differ in, and is thrown away. The "
            "features are backbone(x).",
        ),
        Mutant(
            "features_of_views",
            _SimClr(features="augmented"),
            "The features are those of augmented pictures. After training, nothing is "
            "changed: backbone(x).",
        ),
    ),
)
