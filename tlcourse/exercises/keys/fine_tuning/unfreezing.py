"""Gradual unfreezing: what is right, and stages that wake too early or never."""

from __future__ import annotations

from torch import nn

from tlcourse import features, tuning
from tlcourse.exercises.spec import Key, Mutant

Names = list[str]


def _guard(model: nn.Module, epoch: int, stages: Names) -> None:
    if not set(stages) <= {name for name, _ in model.named_modules()}:
        raise ValueError(f"unknown stage in {stages}")
    if epoch < 0:
        raise ValueError(f"epoch is {epoch}")


def _learning(stages: Names, count: int) -> Names:
    return stages[max(0, len(stages) - count) :]


def _only(model: nn.Module, names: Names) -> Names:
    features.unfreeze(model)
    features.freeze(model, except_for=names)
    return names


def _from_the_input(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, stages)
    return _only(model, stages[: 1 + epoch // every])


def _one_late(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, stages)
    return _only(model, _learning(stages, epoch // every))


def _every_ignored(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, stages)
    return _only(model, _learning(stages, 1 + epoch))


def _rounded_up(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, stages)
    return _only(model, _learning(stages, 1 - (-epoch // every)))


def _newest_only(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, stages)
    return _only(model, _learning(stages, 1 + epoch // every)[:1])


def _wraps(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, stages)
    return _only(model, stages[len(stages) - 1 - epoch // every :])


def _only_gradients(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, stages)
    names = _learning(stages, 1 + epoch // every)
    model.requires_grad_(False)
    for name in names:
        model.get_submodule(name).requires_grad_(True)
    return names


def _never_thaws(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, stages)
    names = _learning(stages, 1 + epoch // every)
    features.freeze(model, except_for=names)
    for name in names:
        model.get_submodule(name).requires_grad_(True)
    return names


def _never_freezes_again(
    model: nn.Module, epoch: int, stages: Names, every: int
) -> Names:
    _guard(model, epoch, stages)
    count = max(vars(model).get("thawed", 0), 1 + epoch // every)
    vars(model)["thawed"] = count
    return _only(model, _learning(stages, count))


def _outside_learns(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, stages)
    names = _learning(stages, 1 + epoch // every)
    features.unfreeze(model)
    for name in stages:
        if name not in names:
            features.freeze(model.get_submodule(name))
    return names


def _unknown_later(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, [])
    return _only(model, _learning(stages, 1 + epoch // every))


def _negative_epoch(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, 0, stages)
    return _only(model, stages[-(1 + epoch // every) :])


def _only_norm_held(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    features.unfreeze(model)
    names = _only_gradients(model, epoch, stages, every)
    learning = [m for name in names for m in model.get_submodule(name).modules()]
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d) and module not in learning:
            features.freeze(module)
    return names


def _prefix(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, stages)
    names = _learning(stages, 1 + epoch // every)
    inside = [n for n, _ in model.named_modules() if n.startswith(tuple(names))]
    _only(model, inside)
    return names


def _flags_kept(model: nn.Module, epoch: int, stages: Names, every: int) -> Names:
    _guard(model, epoch, stages)
    asked = [(p, p.requires_grad) for p in model.parameters()]
    asked = vars(model).setdefault("asked", asked)
    names = _only(model, _learning(stages, 1 + epoch // every))
    for p, flag in asked:
        p.requires_grad_(p.requires_grad and flag)
    return names


gradual_unfreeze = Key(
    reference=tuning.gradual_unfreeze,
    mutants=(
        Mutant(
            "from_the_input",
            _from_the_input,
            "The stages thaw from the input on. The last ones fit the old task most "
            "closely and must change first: thaw from the head downwards.",
        ),
        Mutant(
            "one_late",
            _one_late,
            "In epoch 0 nothing learns: the head has to learn from the start. "
            "1 + epoch // every stages learn.",
        ),
        Mutant(
            "every_ignored",
            _every_ignored,
            "A stage thaws in every epoch, whatever `every` says. Divide: "
            "epoch // every.",
        ),
        Mutant(
            "rounded_up",
            _rounded_up,
            "A stage thaws as soon as an interval begins, not when it is over: you "
            "round up. Use epoch // every, which rounds down.",
        ),
        Mutant(
            "newest_only",
            _newest_only,
            "Only the stage that thaws last learns, and the ones thawed before are "
            "frozen again. All stages from it to the head learn.",
        ),
        Mutant(
            "wraps_around",
            _wraps,
            "In late epochs the index of the first stage that learns is negative, and "
            "Python counts it from the end: all but the head freezes again. Stop at "
            "the number of stages.",
        ),
        Mutant(
            "negative_epoch",
            _negative_epoch,
            "Epoch -1 was accepted. With a slice such as stages[-0:] it thaws "
            "everything at once: raise a ValueError.",
        ),
        Mutant(
            "only_requires_grad",
            _only_gradients,
            "The weights of frozen stages stay, their BatchNorm statistics move: "
            "requires_grad says nothing about the mode, and model.train() undoes "
            "eval(). Use freeze, which holds the modules in eval mode.",
        ),
        Mutant(
            "only_batchnorm_held",
            _only_norm_held,
            "You hold BatchNorm in eval mode, and dropout wakes at model.train(): the "
            "frozen stages drop units at random. Hold all their modules; freeze does.",
        ),
        Mutant(
            "prefix_match",
            _prefix,
            "`name.startswith(stage)` also wakes parts whose name only begins alike: "
            "`body` takes `body2` along. Compare with the dot, or use get_submodule.",
        ),
        Mutant(
            "flags_kept",
            _flags_kept,
            "A weight that had been frozen before the call stays so in a stage that "
            "learns. Here all weights of such a stage learn: unfreeze sets all flags.",
        ),
        Mutant(
            "batchnorm_never_thaws",
            _never_thaws,
            "A thawed stage's weights learn, but its BatchNorm stays in eval mode for "
            "ever. Unfreeze the model before you freeze the stages that still wait.",
        ),
        Mutant(
            "never_freezes_again",
            _never_freezes_again,
            "A stage that has once been thawed stays so, also when you ask for an "
            "earlier epoch. The result must depend on the epoch alone.",
        ),
        Mutant(
            "outside_learns",
            _outside_learns,
            "You freeze the stages that wait, and forget what lies in no stage: it "
            "learns all the time. Freeze everything but the stages that learn.",
        ),
        Mutant(
            "unknown_name_later",
            _unknown_later,
            "A wrong name is only noticed when its turn comes, or never. Check all "
            "names in every epoch.",
        ),
    ),
)
