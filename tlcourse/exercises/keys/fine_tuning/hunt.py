"""The bug hunt: each of the five bugs alone, and what a mend may break."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.exercises.keys.fine_tuning.hunt_properties import PROPERTIES
from tlcourse.exercises.spec import Key, Mutant


@dataclass(frozen=True)
class _Script:
    """The fine-tuning script; each flag puts one mistake in."""

    optimiser_first: bool = False
    stem_drifts: bool = False
    rate_per_epoch: bool = False
    augmented_validation: bool = False
    clean_training: bool = False
    by_reference: bool = False
    never_eval: bool = False
    body_in_eval: bool = False
    augmented_once: bool = False
    first_step: int = 0
    next_rate: bool = False
    last_reported: bool = False
    looks_at_training: bool = False

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, x_val: Tensor, y_val: Tensor,
        num_classes: int, epochs: int, batch_size: int,
        rate: Callable[[int], float], augment: Callable[[Tensor], Tensor],
    ) -> float:  # fmt: skip
        model.stem.requires_grad_(False)
        learning = list(model.parameters())
        model.head = nn.Linear(model.head.in_features, num_classes)
        if not self.optimiser_first:
            learning = list(model.parameters())
        learning = [p for p in learning if p.requires_grad]
        best, best_accuracy, step = {}, -1.0, self.first_step
        fresh = not (self.clean_training or self.augmented_once)
        given, given_y = (x, y) if self.looks_at_training else (x_val, y_val)
        if self.augmented_once:
            x = augment(x)
        for epoch in range(epochs):
            model.train()
            model.stem.train(self.stem_drifts)
            model.body.train(not self.body_in_eval)
            for index in torch.randperm(len(x)).split(batch_size):
                inputs = augment(x[index]) if fresh else x[index]
                loss = F.cross_entropy(model(inputs), y[index])
                lr = rate(epoch if self.rate_per_epoch else step)
                step += 1
                self._step(loss, learning, rate(step) if self.next_rate else lr)
            if not self.never_eval:
                model.eval()
            with torch.no_grad():
                shown = augment(given) if self.augmented_validation else given
                accuracy = float((model(shown).argmax(1) == given_y).float().mean())
            if accuracy > best_accuracy:
                state, best_accuracy = model.state_dict(), accuracy
                best = state if self.by_reference else copy.deepcopy(state)
        model.load_state_dict(best)
        return accuracy if self.last_reported else best_accuracy

    def _step(self, loss: Tensor, learning: list[Tensor], lr: float) -> None:
        gradients = torch.autograd.grad(loss, learning, allow_unused=True)
        with torch.no_grad():
            for p, g in zip(learning, gradients, strict=True):
                if g is not None:
                    p -= lr * g


bug_hunt = Key(
    reference=_Script(),
    properties=PROPERTIES,
    mutants=(
        Mutant(
            "optimiser_before_the_head",
            _Script(optimiser_first=True),
            "The optimiser was made before the head was replaced: it holds the old "
            "head's tensors, and the new head never learns. Replace first, then build "
            "the optimiser.",
        ),
        Mutant(
            "stem_drifts",
            _Script(stem_drifts=True),
            "model.train() wakes the frozen stem's BatchNorm: it normalises by the "
            "batch and its statistics drift, requires_grad or not. Put the stem back "
            "into eval mode after every model.train().",
        ),
        Mutant(
            "rate_per_epoch",
            _Script(rate_per_epoch=True),
            "The schedule is asked for the epoch's number, or a count that begins anew "
            "with every epoch, though it counts optimiser steps: the run ends where "
            "the warm-up has hardly begun. Count through all epochs.",
        ),
        Mutant(
            "steps_from_1",
            _Script(first_step=1),
            "Your count of the steps begins at 1: every step takes the next one's "
            "rate. Ask for rate(0) first, and add 1 after the step.",
        ),
        Mutant(
            "rate_of_another_step",
            _Script(next_rate=True),
            "A step is not taken at its own rate, but at the next one's, or at one "
            "rate for all. Step t takes rate(t); a scheduler moves on after the "
            "optimiser.",
        ),
        Mutant(
            "augmented_validation",
            _Script(augmented_validation=True),
            "The validation samples are augmented: the accuracy is noisy, and about "
            "other data. Augment in training only.",
        ),
        Mutant(
            "validated_on_training_data",
            _Script(looks_at_training=True),
            "The accuracy is measured on the training samples: it picks the epoch that "
            "overfits most. Measure it on x_val.",
        ),
        Mutant(
            "augmented_once",
            _Script(augmented_once=True),
            "The training samples are augmented once, before the epochs: every epoch "
            "sees the same ones. It was right in the loop, anew for every batch.",
        ),
        Mutant(
            "body_in_eval_mode",
            _Script(body_in_eval=True),
            "The body is in eval mode in some training passes: its BatchNorm neither "
            "uses the batch nor learns its statistics. Call model.train() in every "
            "epoch, and put the stem alone back into eval mode.",
        ),
        Mutant(
            "augmentation_gone",
            _Script(clean_training=True),
            "The augmentation is gone from the training as well. It was right there; "
            "only the validation must be clean.",
        ),
        Mutant(
            "validation_in_train_mode",
            _Script(never_eval=True),
            "The validation runs in train mode: BatchNorm normalises by the batch and "
            "learns from validation data. Keep model.eval() before it.",
        ),
        Mutant(
            "best_by_reference",
            _Script(by_reference=True),
            "The model ends with the last epoch's weights. state_dict() shares its "
            "memory with the model, so that the best weights change with every "
            "further step; copy them: copy.deepcopy(model.state_dict()). And load "
            "them into the model that was given.",
        ),
        Mutant(
            "last_accuracy_returned",
            _Script(last_reported=True),
            "What you return is the last epoch's accuracy, not that of the weights "
            "that the model has at the end. Return the best one.",
        ),
    ),
)
