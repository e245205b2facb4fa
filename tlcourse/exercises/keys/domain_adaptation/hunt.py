"""The bug hunt: what is right, and each of the five bugs alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import adapt
from tlcourse.exercises.spec import Key, Mutant, Tolerance


@dataclass(frozen=True)
class _Conditional:
    """Conditional adversarial training; each flag puts one mistake in."""

    same_labels: bool = False
    minus: bool = False
    steps_in_schedule: bool = False
    graph_through_p: bool = False
    unshuffled: bool = False
    shuffled_once: bool = False
    one_order: bool = False
    source_unshuffled: bool = False
    epochs_in_schedule: bool = False
    per_epochs: bool = False

    def __call__(
        self, body: nn.Module, head: nn.Module, judge: nn.Module, x_source: Tensor,
        y_source: Tensor, x_target: Tensor, epochs: int, batch_size: int, lr: float,
    ) -> None:  # fmt: skip
        parameters = [p for net in (body, head, judge) for p in net.parameters()]
        n, step = len(x_source), 0
        total = epochs * math.ceil(n / batch_size)
        once = torch.randperm(n)
        for epoch in range(epochs):
            order, other = torch.randperm(n), torch.randperm(n)
            order = torch.arange(n) if self.source_unshuffled else order
            other = order if self.one_order else other
            other = once if self.shuffled_once else other
            other = torch.arange(n) if self.unshuffled else other
            for i, j in zip(
                order.split(batch_size), other.split(batch_size), strict=True
            ):
                p = step if self.steps_in_schedule else step / total
                p = epoch / epochs if self.epochs_in_schedule else p
                p = step / epochs if self.per_epochs else p
                strength = 2 / (1 + math.exp(-10 * p)) - 1
                z_s, z_t = body(x_source[i]), body(x_target[j])
                logits = head(z_s)
                task = F.cross_entropy(logits, y_source[i])
                domain = self._judged(judge, z_s, logits, strength, 1.0)
                label = 1.0 if self.same_labels else 0.0
                domain = domain + self._judged(judge, z_t, head(z_t), strength, label)
                loss = task - domain / 2 if self.minus else task + domain / 2
                grads = torch.autograd.grad(loss, parameters)
                with torch.no_grad():
                    for parameter, grad in zip(parameters, grads, strict=True):
                        parameter -= lr * grad
                step += 1

    def _judged(
        self, judge: nn.Module, z: Tensor, logits: Tensor, strength: float, label: float
    ) -> Tensor:
        p = logits.softmax(1) if self.graph_through_p else logits.detach().softmax(1)
        z = adapt.grad_reverse(z, strength)
        out = judge((z[:, :, None] * p[:, None, :]).flatten(1))
        return F.binary_cross_entropy_with_logits(out, torch.full_like(out, label))


bug_hunt = Key(
    reference=_Conditional(),
    tolerance=Tolerance(rtol=1e-4, atol=2e-5),
    mutants=(
        Mutant(
            "same_labels",
            _Conditional(same_labels=True),
            "Both domains carry the label 1, so the discriminator has nothing to tell "
            "apart and its gradient teaches the features nothing. Source 1, target 0.",
        ),
        Mutant(
            "minus_and_reversal",
            _Conditional(minus=True),
            "The domain loss is subtracted, and the reversal turns its gradient round "
            "once more: the discriminator learns to be wrong, the body to be told "
            "apart. Add the loss; the reversal is the minus.",
        ),
        Mutant(
            "step_number",
            _Conditional(steps_in_schedule=True),
            "The schedule gets the number of the step: from the second step on the "
            "weight is 1. It wants the share that is done, step / total.",
        ),
        Mutant(
            "gradient_through_p",
            _Conditional(graph_through_p=True),
            "The class probabilities carry a gradient, so the discriminator's loss "
            "trains the classifier, and without reversal. They are a condition: "
            "detach them.",
        ),
        Mutant(
            "target_unshuffled",
            _Conditional(unshuffled=True),
            "The target's batches follow the file. Sorted by class, each batch would "
            "hold one class, and the domains would differ in that alone. Shuffle the "
            "target in every epoch as well.",
        ),
        Mutant(
            "shuffled_once",
            _Conditional(shuffled_once=True),
            "The target is shuffled once, so the same samples meet in every epoch. "
            "Draw a new order for each epoch, as for the source.",
        ),
        Mutant(
            "one_order_for_both",
            _Conditional(one_order=True),
            "Source and target come in the same order, so sample i of one always meets "
            "sample i of the other. Draw an order of its own for the target.",
        ),
        Mutant(
            "source_unshuffled",
            _Conditional(source_unshuffled=True),
            "The target is shuffled now, but the source follows the file. Both come in "
            "a new order in every epoch.",
        ),
        Mutant(
            "share_of_epochs",
            _Conditional(epochs_in_schedule=True),
            "The schedule rises once per epoch: it gets epoch / epochs. Asked for are "
            "finished steps divided by all steps, epochs times batches per epoch.",
        ),
        Mutant(
            "steps_per_epochs",
            _Conditional(per_epochs=True),
            "The schedule divides by the number of epochs. With several batches in an "
            "epoch that share passes 1: all steps are epochs times batches per epoch.",
        ),
    ),
)
