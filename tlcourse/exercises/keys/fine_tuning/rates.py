"""Rates for stages: what is right, and how parameters get lost or wake up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from tlcourse import tuning
from tlcourse.exercises.spec import Key, Mutant

Groups = list[dict[str, Any]]


def _checked(model: nn.Module, stages: Sequence[str]) -> None:
    if not set(stages) <= {name for name, _ in model.named_modules()}:
        raise ValueError(f"unknown stage in {stages}")


def _grouped(
    model: nn.Module,
    stages: Sequence[str],
    rate: Callable[[int], float],
    *,
    frozen: bool = False,
    doubles: bool = False,
    strict: bool = True,
    prefix: bool = False,
    recurse: bool = True,
) -> Groups:
    """Groups with ``rate(distance)``; each flag puts one mistake in."""
    _checked(model, stages)
    seen: set[nn.Parameter] = set()
    groups = []
    for place, stage in enumerate(stages):
        inside = model.get_submodule(stage).parameters(recurse)
        if prefix:
            named = model.named_parameters()
            inside = (p for name, p in named if name.startswith(stage))
        params = [p for p in inside if doubles or p not in seen]
        params = [p for p in params if frozen or p.requires_grad]
        seen.update(params)
        if params:
            groups.append({"params": params, "lr": rate(len(stages) - 1 - place)})
    lost = [p for p in model.parameters() if p.requires_grad and p not in seen]
    if lost and strict:
        raise ValueError(f"{len(lost)} parameters are in no stage")
    return groups


def _reversed(model: nn.Module, lr: float, stages: list[str], factor: float) -> Groups:
    last = len(stages) - 1
    return _grouped(model, stages, lambda d: lr / factor ** (last - d))


def _factor_once(
    model: nn.Module, lr: float, stages: list[str], factor: float
) -> Groups:
    return _grouped(model, stages, lambda d: lr / factor if d else lr)


def _linear(model: nn.Module, lr: float, stages: list[str], factor: float) -> Groups:
    return _grouped(model, stages, lambda d: lr / (factor * d) if d else lr)


def _head_divided(
    model: nn.Module, lr: float, stages: list[str], factor: float
) -> Groups:
    return _grouped(model, stages, lambda d: lr / factor ** (d + 1))


def _frozen_in(model: nn.Module, lr: float, stages: list[str], factor: float) -> Groups:
    return _grouped(model, stages, lambda d: lr / factor**d, frozen=True)


def _thaws(model: nn.Module, lr: float, stages: list[str], factor: float) -> Groups:
    _grouped(model, stages, lambda d: lr)
    for stage in stages:
        model.get_submodule(stage).requires_grad_(True)
    return tuning.param_groups(model, lr, stages, factor)


def _frozen_skipped(
    model: nn.Module, lr: float, stages: list[str], factor: float
) -> Groups:
    groups = _grouped(model, stages, lambda d: lr)
    for distance, group in enumerate(reversed(groups)):
        group["lr"] = lr / factor**distance
    return groups


def _tied_twice(
    model: nn.Module, lr: float, stages: list[str], factor: float
) -> Groups:
    return _grouped(model, stages, lambda d: lr / factor**d, doubles=True)


def _tied_late(model: nn.Module, lr: float, stages: list[str], factor: float) -> Groups:
    last = len(stages) - 1
    return _grouped(model, stages[::-1], lambda d: lr / factor ** (last - d))


def _lost(model: nn.Module, lr: float, stages: list[str], factor: float) -> Groups:
    return _grouped(model, stages, lambda d: lr / factor**d, strict=False)


def _whole_parts(
    model: nn.Module, lr: float, stages: list[str], factor: float
) -> Groups:
    for name, part in model.named_children():
        named = any(f"{stage}.".startswith(f"{name}.") for stage in stages)
        if not named and any(p.requires_grad for p in part.parameters()):
            raise ValueError(f"no stage holds {name}")
    return _lost(model, lr, stages, factor)


def _by_name(model: nn.Module, lr: float, stages: list[str], factor: float) -> Groups:
    _grouped(model, stages, lambda d: lr)  # refuses what must be refused
    # A shared weight has the name under which it was registered first.
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for n, p in named if n.startswith(f"{stage}.")], "lr": lr / scale}
        for i, stage in enumerate(stages, 1)
        for scale in [factor ** (len(stages) - i)]
    ]


def _direct_only(
    model: nn.Module, lr: float, stages: list[str], factor: float
) -> Groups:
    return _grouped(
        model, stages, lambda d: lr / factor**d, strict=False, recurse=False
    )


def _prefix(model: nn.Module, lr: float, stages: list[str], factor: float) -> Groups:
    return _grouped(model, stages, lambda d: lr / factor**d, prefix=True)


def _unknown(model: nn.Module, lr: float, stages: list[str], factor: float) -> Groups:
    known = dict(model.named_modules())
    last = len(stages) - 1
    rates = {stage: lr / factor ** (last - i) for i, stage in enumerate(stages)}
    left = [stage for stage in stages if stage in known]
    return _grouped(model, left, lambda d: rates[left[len(left) - 1 - d]])


param_groups = Key(
    reference=tuning.param_groups,
    mutants=(
        Mutant(
            "rates_reversed",
            _reversed,
            "The first stage has the largest rate and the head the smallest. It is "
            "the other way round: the head is new, the first stage knows most.",
        ),
        Mutant(
            "factor_once",
            _factor_once,
            "Every stage but the last has the same rate lr / factor. Divide once more "
            "for every stage further away: lr / factor**distance.",
        ),
        Mutant(
            "factor_times_distance",
            _linear,
            "You divide by factor * distance. The ratio of neighbours must be the same "
            "everywhere: divide by factor**distance.",
        ),
        Mutant(
            "head_divided",
            _head_divided,
            "All rates are too small by one factor: the last stage has distance 0 and "
            "learns at lr itself.",
        ),
        Mutant(
            "frozen_in",
            _frozen_in,
            "Frozen parameters are in the groups. Weight decay or old momentum can "
            "move them, and they are counted as trained. Keep only those with "
            "requires_grad.",
        ),
        Mutant(
            "thaws",
            _thaws,
            "Your code sets requires_grad = True in the stages, and thaws what its "
            "owner had frozen. Read the flag, do not write it.",
        ),
        Mutant(
            "frozen_stage_skipped",
            _frozen_skipped,
            "A stage without trainable parameters was left out of the count, so that "
            "the stages before it learn faster. It gives no group, but keeps its "
            "place.",
        ),
        Mutant(
            "tied_twice",
            _tied_twice,
            "A weight that two stages share is in two groups; torch's optimisers "
            "refuse that, others move it twice. Remember what has been placed.",
        ),
        Mutant(
            "tied_in_the_later_stage",
            _tied_late,
            "A weight that two stages share has the later stage's rate. It belongs to "
            "the earlier one, where it knows more: go through the stages from the "
            "input on.",
        ),
        Mutant(
            "lost_in_silence",
            _lost,
            "A trainable parameter is in no stage and was left out without a word: it "
            "would never learn. Compare with model.parameters() and raise a "
            "ValueError.",
        ),
        Mutant(
            "whole_parts_only",
            _whole_parts,
            "You look for whole parts that no stage names. A parameter of the model "
            "itself, or in one half of a part, slips through and never learns: compare "
            "parameters with parameters.",
        ),
        Mutant(
            "tied_in_the_stage_made_first",
            _by_name,
            "A shared weight is where the model registered it first: "
            "named_parameters() gives it one name alone. It belongs to the earlier "
            "stage: ask each stage for its parameters().",
        ),
        Mutant(
            "direct_only",
            _direct_only,
            "Only parameters that belong to the stage's module itself are found; those "
            "of the layers inside are lost. Use parameters() with recursion.",
        ),
        Mutant(
            "prefix_match",
            _prefix,
            "`name.startswith(stage)` also takes in stages whose name only begins "
            "alike: `body2` goes to `body`. Ask model.get_submodule(stage), or compare "
            "with the dot.",
        ),
        Mutant(
            "unknown_ignored",
            _unknown,
            "A stage that the model does not have was ignored: a typing mistake would "
            "go unseen. Raise a ValueError.",
        ),
    ),
)
