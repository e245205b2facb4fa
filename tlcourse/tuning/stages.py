"""A network as a row of stages: rates that grow towards the head, and thawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from tlcourse.arguments import whole
from tlcourse.features import freeze, unfreeze


def param_groups(
    model: nn.Module,
    lr: float,
    stages: Sequence[str] | None = None,
    factor: float = 2.6,
) -> list[dict[str, Any]]:
    r"""Parameter groups with a smaller rate for every stage further from the head.

    Discriminative fine-tuning (Howard and Ruder, 2018, section 3.2): the last of L
    stages learns at ``lr``, and stage l = 1..L at

    .. math:: \eta_l = \text{lr} \, / \, \text{factor}^{\,L - l}.

    Every parameter that asks for a gradient is in exactly one group, frozen ones are
    in none. A parameter that two stages share is in the earlier one, at the smaller
    rate. Stages without a trainable parameter give no group, and keep their place in
    the count.

    Args:
        model: not changed.
        lr: rate of the last stage, > 0.
        stages: names of modules or parameters, from the input to the head; by
            default the model's direct children in their order.
        factor: ratio of neighbouring rates, ``>= 1``; 1 gives one rate for all.

    Returns:
        ``[{"params": [...], "lr": rate, "name": stage}, ...]`` for a torch optimiser,
        in the order of the stages.

    Raises:
        ValueError: stages that are unknown, overlap, or leave out a trainable
            parameter; nothing to train; ``lr`` or ``factor`` out of range.
    """
    if not 0 < lr < math.inf:
        raise ValueError(f"lr must be > 0 and finite, got {lr!r}.")
    if not 1 <= factor < math.inf:
        raise ValueError(f"factor must be >= 1 and finite, got {factor!r}; try 2.6.")
    stages = _checked(model, stages)
    last, seen, groups = len(stages) - 1, set(), []
    for place, stage in enumerate(stages):
        params = []
        for name, p in model.named_parameters(remove_duplicate=False):
            if _inside(name, stage) and p.requires_grad and p not in seen:
                seen.add(p)
                params.append(p)
        if params:
            rate = lr / factor ** (last - place)
            groups.append({"params": params, "lr": rate, "name": stage})
    lost = [n for n, p in model.named_parameters() if p.requires_grad and p not in seen]
    if lost:
        raise ValueError(
            f"no stage holds the parameter {lost[0]!r} (of {len(lost)} left out): it "
            "would never learn. Name its module or itself as a stage, or freeze it."
        )
    if not groups:
        raise ValueError("nothing to train: no parameter has requires_grad=True.")
    return groups


def gradual_unfreeze(
    model: nn.Module, epoch: int, stages: Sequence[str] | None = None, every: int = 1
) -> tuple[str, ...]:
    r"""Freeze all but the last stages, one more of which learns every few epochs.

    Howard and Ruder (2018, section 3.3): in epoch e = 0, 1, ... the last
    :math:`\min(L, 1 + \lfloor e / \text{every} \rfloor)` of L stages learn. All
    else is frozen as by ``features.freeze``: no gradient, and eval mode whatever
    ``model.train()`` says, so that BatchNorm statistics of frozen stages stay.
    Depends on the epoch alone: call it before each epoch, in any order.

    A thawed stage's modules change their mode with the next ``model.train()``, and
    all its parameters learn, also those that somebody had frozen before.

    Args:
        model: changed in place.
        epoch: from 0.
        stages: as in :func:`param_groups`, here names of modules only.
        every: epochs between two thaws, at least 1.

    Returns:
        The names of the stages that learn, in their order.

    Raises:
        ValueError: stages that are unknown or overlap; ``epoch`` or ``every`` out of
            range.
    """
    for name, value, least in (("epoch", epoch, 0), ("every", every, 1)):
        whole(name, value, least)
    stages = _checked(model, stages)
    modules = dict(model.named_modules())
    lone = [stage for stage in stages if stage not in modules]
    if lone:
        raise ValueError(f"{lone[0]!r} is a parameter; name a module as a stage.")
    learning = stages[max(0, len(stages) - 1 - epoch // every) :]
    unfreeze(model)
    freeze(model, except_for=learning)
    for name, module in modules.items():  # containers follow train() as before
        if name == "" or any(_inside(stage, name) for stage in learning):
            vars(module).pop("train", None)
    return learning


def _checked(model: nn.Module, stages: Sequence[str] | None) -> tuple[str, ...]:
    """The stages, known and apart from one another."""
    if stages is None:
        stages = [name for name, _ in model.named_children()]
    if isinstance(stages, str) or not stages:
        raise ValueError(f"stages must be a list of at least one name, got {stages!r}.")
    modules = dict(model.named_modules(remove_duplicate=False))
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for i, stage in enumerate(stages):
        if stage not in modules and stage not in parameters or stage == "":
            raise ValueError(
                f"the model has no part {stage!r}; its direct parts are "
                f"{', '.join(repr(name) for name, _ in model.named_children())}."
            )
        for other in stages[:i]:
            if _inside(stage, other) or _inside(other, stage):
                raise ValueError(
                    f"the stages {other!r} and {stage!r} overlap; name each part once."
                )
    return tuple(stages)


def _inside(name: str, stage: str) -> bool:
    """Whether a dotted name is the stage or lies in it; body2 is not in body."""
    return name == stage or name.startswith(f"{stage}.")
