"""One step of TENT: what is right, and what moves that should not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlcourse.exercises.spec import Key, Mutant, Tolerance


@dataclass(frozen=True)
class _Tent:
    """One step of TENT; each field may hold one mistake."""

    reduction: str = "mean"
    sign: float = 1.0
    form: str = "log_softmax"
    detached: bool = False
    moves: str = "affine"
    statistics: str = "batch"  # or "running", for the forward pass
    keeps_statistics: bool = True
    all_in_train_mode: bool = False
    restores_modes: bool = True
    stale: bool = False
    second_pass: bool = False
    freezes: bool = False
    only: str = ""  # the one affine parameter that moves
    leaves_momentum: bool = False

    def __call__(self, model: nn.Module, x: Tensor, lr: float) -> Tensor:
        modes = {m: m.training for m in model.modules()}
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
        buffers = {b: b.clone() for m in norms for b in (m.running_mean, m.running_var)}
        if self.all_in_train_mode:
            model.train()
        else:
            model.eval()
            for m in norms:
                m.train(self.statistics == "batch")
        if self.leaves_momentum:
            for m in norms:
                m.momentum = 0.0
        names = [self.only] if self.only else ["weight", "bias"]
        affine = [getattr(m, name) for m in norms for name in names]
        if self.freezes:
            model.requires_grad_(False)
            for p in affine:
                p.requires_grad_(True)
        logits = model(x)
        everything = [p for p in model.parameters() if p.requires_grad]
        moved = everything if self.moves == "all" else affine
        self._step(logits, moved, lr)
        if self.second_pass:
            with torch.no_grad():
                logits = model(x)
        if self.keeps_statistics:
            for buffer, value in buffers.items():
                buffer.copy_(value)
        for module, mode in modes.items() if self.restores_modes else ():
            module.training = mode
        return logits.detach()

    def _step(self, logits: Tensor, moved: list[nn.Parameter], lr: float) -> None:
        if self.form == "log_softmax":
            log_p = logits.log_softmax(1)
            p = log_p.exp()
        else:
            p = logits.softmax(1)
            log_p = p.log()
        p = p.detach() if self.detached else p
        entropy = -(p * log_p).sum(1)
        loss = entropy.sum() if self.reduction == "sum" else entropy.mean()
        if self.reduction == "mean of all":
            loss = loss / logits.shape[1]
        grads = torch.autograd.grad(loss, moved)
        with torch.no_grad():
            for p, g in zip(moved, grads, strict=True):
                g = g + p.grad if self.stale and p.grad is not None else g
                p -= self.sign * lr * g


entropy_minimization = Key(
    reference=_Tent(),
    tolerance=Tolerance(rtol=1e-3, atol=1e-5),
    mutants=(
        Mutant(
            "summed",
            _Tent(reduction="sum"),
            "The entropies are summed over the samples: the step grows with the batch. "
            "Take the mean.",
        ),
        Mutant(
            "mean_over_classes",
            _Tent(reduction="mean of all"),
            "You take the mean over samples and classes, n * k numbers. The entropy of "
            "a sample is a sum over classes; the mean runs over the n samples only.",
        ),
        Mutant(
            "weight_only",
            _Tent(only="weight"),
            "Only the weights of BatchNorm moved. TENT moves its biases as well.",
        ),
        Mutant(
            "bias_only",
            _Tent(only="bias"),
            "Only the biases of BatchNorm moved. TENT moves its weights as well.",
        ),
        Mutant(
            "momentum_left",
            _Tent(leaves_momentum=True),
            "The momentum of the BatchNorm layers is 0 afterwards: no later training "
            "would move their statistics. Put the old momentum back.",
        ),
        Mutant(
            "uphill",
            _Tent(sign=-1.0),
            "The entropy rises: your sign is wrong. H = -sum p log p, and a step goes "
            "downhill, p -= lr * gradient.",
        ),
        Mutant(
            "log_of_zero",
            _Tent(form="log(softmax)"),
            "log(softmax(...)) of a certain prediction is log(0), and 0 * -inf is NaN: "
            "one such sample destroys the weights. Use log_softmax, and its exp().",
        ),
        Mutant(
            "detached_factor",
            _Tent(detached=True),
            "The weights of BatchNorm do not move. Either no step is taken, or the "
            "probabilities in front of the logarithm are detached: cross-entropy with "
            "the prediction as its own label has gradient zero. Let the gradient "
            "through both factors.",
        ),
        Mutant(
            "all_parameters",
            _Tent(moves="all"),
            "All parameters moved. TENT moves only weight and bias of the BatchNorm "
            "layers; the rest has no label to hold it.",
        ),
        Mutant(
            "running_statistics",
            _Tent(statistics="running"),
            "The pass used the running statistics, the source's. BatchNorm is to "
            "normalise by this batch: put those layers into train mode.",
        ),
        Mutant(
            "statistics_moved",
            _Tent(keeps_statistics=False),
            "The running statistics moved during the pass. Keep copies and put them "
            "back, or the source's are lost step by step.",
        ),
        Mutant(
            "dropout_on",
            _Tent(all_in_train_mode=True),
            "model.train() also switches dropout on, so that predictions are random. "
            "Only the BatchNorm layers go into train mode.",
        ),
        Mutant(
            "modes_left",
            _Tent(restores_modes=False),
            "Some modules come back in another mode. Remember each module's `training` "
            "flag and put it back.",
        ),
        Mutant(
            "stale_gradients",
            _Tent(stale=True),
            "Gradients that an earlier step left in .grad join yours. Clear them "
            "first, or use torch.autograd.grad.",
        ),
        Mutant(
            "predicts_after",
            _Tent(second_pass=True),
            "The logits come from a second pass, after the step. Return those the "
            "entropy was taken of: TENT classifies a batch before it learns from it.",
        ),
        Mutant(
            "left_frozen",
            _Tent(freezes=True),
            "Parameters come back with requires_grad=False, so a later fine-tuning "
            "would skip them. Leave requires_grad as it was.",
        ),
    ),
)
