"""The adversarial step: what is right, and losses that pull the wrong network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import adapt
from tlcourse.exercises.keys.domain_adaptation.descending import descend
from tlcourse.exercises.spec import Key, Mutant


@dataclass(frozen=True)
class _Dann:
    """One adversarial step; each flag puts one mistake in."""

    minus: bool = False
    reversed_judge: bool = False
    weighs_judge: bool = False
    same_labels: bool = False
    pooled: bool = False
    summed: bool = False
    stale: bool = False
    detached: bool = False
    no_reversal: bool = False
    target_only: bool = False
    labels_exchanged: bool = False
    head_behind: bool = False
    in_turn: bool = False
    sigmoid_twice: bool = False
    weighs_twice: bool = False
    ignores_strength: bool = False

    def __call__(
        self, body: nn.Module, head: nn.Module, judge: nn.Module, x_source: Tensor,
        y_source: Tensor, x_target: Tensor, strength: float, lr: float,
    ) -> tuple[float, float]:  # fmt: skip
        z_s, z_t = body(x_source), body(x_target)
        seen = self._turned(z_s, strength) if self.head_behind else z_s
        task = F.cross_entropy(head(seen), y_source)
        if self.in_turn:
            loss = self._domain(judge, z_s.detach(), z_t.detach(), strength)
            descend(loss, (judge,), lr, False)
            descend(
                task + self._domain(judge, z_s, z_t, strength), (body, head), lr, False
            )
            return task.item(), loss.item()
        domain = self._domain(judge, z_s, z_t, strength)
        weight = -1.0 if self.minus else 1.0
        if self.reversed_judge:
            weight = -strength
        if self.weighs_judge or self.weighs_twice:
            weight = strength
        descend(task + weight * domain, (body, head, judge), lr, self.stale)
        return task.item(), domain.item()

    def _domain(
        self, judge: nn.Module, z_s: Tensor, z_t: Tensor, strength: float
    ) -> Tensor:
        logits = [judge(self._turned(z, strength)) for z in (z_s, z_t)]
        if self.sigmoid_twice:
            logits = [out.sigmoid() for out in logits]
        labels = (1.0, 1.0) if self.same_labels else (1.0, 0.0)
        labels = (0.0, 1.0) if self.labels_exchanged else labels
        losses = [
            F.binary_cross_entropy_with_logits(
                judged, torch.full_like(judged, label), reduction="none"
            )
            for judged, label in zip(logits, labels, strict=True)
        ]
        if self.target_only:
            return losses[1].mean()
        if self.pooled:
            return torch.cat(losses).mean()
        domain = losses[0].mean() + losses[1].mean()
        return domain if self.summed else domain / 2

    def _turned(self, z: Tensor, strength: float) -> Tensor:
        if self.detached:
            return z.detach()
        if self.no_reversal or self.reversed_judge:
            return z
        one = self.weighs_judge or self.ignores_strength
        return adapt.grad_reverse(z, 1.0 if one else strength)


dann_step = Key(
    reference=_Dann(),
    mutants=(
        Mutant(
            "minus_and_reversal",
            _Dann(minus=True),
            "The domain loss is subtracted and the gradient reversed as well. The two "
            "signs cancel for the body, and the discriminator climbs its own loss. "
            "Add the domain loss; the reversal is the minus.",
        ),
        Mutant(
            "minus_for_all",
            _Dann(reversed_judge=True),
            "The domain loss enters as -strength * loss without a reversal, so the "
            "discriminator too is trained to be wrong. Only the body is to see the "
            "minus: put a gradient reversal before the discriminator.",
        ),
        Mutant(
            "discriminator_weighed",
            _Dann(weighs_judge=True),
            "The strength multiplies the domain loss, so the discriminator itself "
            "learns with that weight, and not at all at the start of the schedule. "
            "The strength belongs into the reversal.",
        ),
        Mutant(
            "same_labels",
            _Dann(same_labels=True),
            "Source and target have the same domain label: the discriminator answers "
            "1 to everything and teaches the features nothing. Source 1, target 0.",
        ),
        Mutant(
            "labels_exchanged",
            _Dann(labels_exchanged=True),
            "The domain labels are exchanged. Here the source is 1 and the target 0.",
        ),
        Mutant(
            "head_behind_reversal",
            _Dann(head_behind=True),
            "The head, too, stands behind the reversal, so the body climbs the task "
            "loss. Only what goes to the discriminator is reversed.",
        ),
        Mutant(
            "in_turn",
            _Dann(in_turn=True),
            "The discriminator moves first, and the body meets one that has moved. One "
            "step of SGD takes all gradients at the old weights.",
        ),
        Mutant(
            "sigmoid_twice",
            _Dann(sigmoid_twice=True),
            "The discriminator gives logits. You take a sigmoid and then a loss that "
            "takes it again; use binary_cross_entropy_with_logits on the logits.",
        ),
        Mutant(
            "weighed_twice",
            _Dann(weighs_twice=True),
            "The strength stands in the reversal and in front of the domain loss, too: "
            "the body gets its square, the discriminator a weight. Only the reversal.",
        ),
        Mutant(
            "strength_ignored",
            _Dann(ignores_strength=True),
            "The reversal does not use the strength: the body hears the discriminator "
            "with weight 1. grad_reverse(z, strength).",
        ),
        Mutant(
            "pooled_mean",
            _Dann(pooled=True),
            "The mean runs over all n + m samples, so the larger domain weighs more. "
            "Average within each domain, then halve the sum.",
        ),
        Mutant(
            "summed",
            _Dann(summed=True),
            "The two halves of the domain loss are added and not halved. It is "
            "(mean over the source + mean over the target) / 2.",
        ),
        Mutant(
            "stale_gradients",
            _Dann(stale=True),
            "Gradients that an earlier step left in .grad are added to yours. Set them "
            "to None or zero first, or use torch.autograd.grad.",
        ),
        Mutant(
            "features_detached",
            _Dann(detached=True),
            "The discriminator gets detached features, so the body never hears of it. "
            "Put the reversal there, not a detach().",
        ),
        Mutant(
            "no_reversal",
            _Dann(no_reversal=True),
            "No reversal stands between features and discriminator: the body helps to "
            "tell the domains apart. Use grad_reverse(z, strength).",
        ),
        Mutant(
            "target_only",
            _Dann(target_only=True),
            "Only the target samples reach the domain loss. The discriminator needs "
            "both domains, each for one half.",
        ),
    ),
)
