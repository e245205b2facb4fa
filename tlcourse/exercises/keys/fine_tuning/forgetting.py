"""Elastic weight consolidation: what is right, and anchors that drift."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tlcourse import losses
from tlcourse.exercises.keys.fine_tuning.forgetting_names import MUTANTS
from tlcourse.exercises.spec import Key, Mutant

State = Mapping[str, Tensor]
Part = Callable[[Tensor, Tensor, Tensor], Tensor]


def _total(
    params: State,
    source: State,
    fisher: State,
    strength: float,
    part: Part,
    half: float = 0.5,
) -> Tensor:
    if strength < 0:
        raise ValueError(f"strength is {strength}")
    parts = [
        part(w, source[name].detach(), fisher[name].detach())
        for name, w in params.items()
        if name in source and name in fisher
        if w.shape == source[name].shape == fisher[name].shape
    ]
    return half * strength * torch.stack(parts).sum()


def _with(part: Part, half: float = 0.5) -> Callable[..., Tensor]:
    def penalty(params: State, source: State, fisher: State, s: float) -> Tensor:
        return _total(params, source, fisher, s, part, half)

    return penalty


def _anchor_learns(params: State, source: State, fisher: State, s: float) -> Tensor:
    fixed = losses.ewc_penalty(params, source, fisher, s)
    return _attached(
        fixed, params, source, {n: f.detach() for n, f in fisher.items()}, s
    )


def _fisher_learns(params: State, source: State, fisher: State, s: float) -> Tensor:
    fixed = losses.ewc_penalty(params, source, fisher, s)
    return _attached(
        fixed, params, {n: w.detach() for n, w in source.items()}, fisher, s
    )


def _attached(
    fixed: Tensor, params: State, source: State, fisher: State, s: float
) -> Tensor:
    """The right penalty, through which the gradient reaches source and Fisher too."""
    fits = [n for n, w in params.items() if n in source and n in fisher
            if w.shape == source[n].shape == fisher[n].shape]  # fmt: skip
    parts = [(fisher[n] * (params[n] - source[n]).square()).sum() for n in fits]
    return s / 2 * torch.stack(parts).sum() + 0 * fixed


def _flags_changed(params: State, source: State, fisher: State, s: float) -> Tensor:
    for tensor in [*source.values(), *fisher.values()]:
        tensor.requires_grad_(False)
    return losses.ewc_penalty(params, source, fisher, s)


def _mean_of_all(params: State, source: State, fisher: State, s: float) -> Tensor:
    count = _total(
        params, source, fisher, 1.0, lambda w, w0, f: w.new_tensor(w.numel())
    )
    return losses.ewc_penalty(params, source, fisher, s) / (2 * count)


def _no_zero(params: State, source: State, fisher: State, s: float) -> Tensor:
    if s == 0:
        raise ValueError("strength is 0")
    return losses.ewc_penalty(params, source, fisher, s)


def _any_strength(params: State, source: State, fisher: State, s: float) -> Tensor:
    return s * losses.ewc_penalty(params, source, fisher, 1.0)


ewc_penalty = Key(
    reference=losses.ewc_penalty,
    mutants=(
        Mutant(
            "no_half",
            _with(lambda w, w0, f: (f * (w - w0).square()).sum(), half=1.0),
            "The factor 1/2 is missing. It comes from the second-order expansion of "
            "the log-posterior, and makes the gradient strength * F * (w - w0).",
        ),
        Mutant(
            "fisher_ignored",
            _with(lambda w, w0, f: (w - w0).square().sum()),
            "All weights are held alike: that is L2-SP. Multiply each squared "
            "difference by its own Fisher value.",
        ),
        Mutant(
            "one_fisher_per_tensor",
            _with(lambda w, w0, f: f.mean() * (w - w0).square().sum()),
            "Every entry of a tensor is held alike, by the mean of its Fisher values. "
            "The Fisher value belongs to the single entry: multiply before you sum.",
        ),
        Mutant(
            "fisher_inside_the_square",
            _with(lambda w, w0, f: (f * (w - w0)).square().sum()),
            "The Fisher value is squared, too. Square the difference alone: "
            "F * (w - w0)**2.",
        ),
        Mutant(
            "pulled_to_zero",
            _with(lambda w, w0, f: (f * w.square()).sum()),
            "The weights are pulled to 0. Consolidation pulls them back to where they "
            "were after the source task: subtract w0.",
        ),
        Mutant(
            "averaged",
            _with(lambda w, w0, f: (f * (w - w0).square()).mean()),
            "You average over the entries of a tensor. The penalty sums them; "
            "otherwise a weight in a large layer is hardly held at all.",
        ),
        Mutant(
            "anchor_not_detached",
            _anchor_learns,
            "A gradient flows into the source tensors, so that the anchor comes "
            "towards the weights. Detach it: w0.detach().",
        ),
        Mutant(
            "fisher_not_detached",
            _fisher_learns,
            "A gradient flows into the Fisher values; an optimiser would lower them to "
            "lower the penalty. Detach them.",
        ),
        Mutant(
            "flags_changed",
            _flags_changed,
            "Your code switched requires_grad off in the tensors you were given. "
            "detach() gives a view without a gradient and leaves them alone.",
        ),
        Mutant(
            "averaged_over_all",
            _mean_of_all,
            "You average over all entries. The penalty sums them; otherwise the same "
            "strength holds a weight less the larger the network is.",
        ),
        Mutant(
            "zero_refused",
            _no_zero,
            "Strength 0 was refused. It is the penalty switched off, and allowed; only "
            "a negative one is a mistake.",
        ),
        Mutant(
            "any_strength",
            _any_strength,
            "A negative strength was accepted: it rewards forgetting. Raise a "
            "ValueError.",
        ),
        *MUTANTS,
    ),
)
