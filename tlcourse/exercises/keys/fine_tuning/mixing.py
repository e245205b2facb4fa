"""States on a line: what is right, and entries that have no in-between."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse import tuning
from tlcourse.exercises.spec import Key, Mutant

State = dict[str, Tensor]


def _guard(source: State, tuned: State, alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}")
    shapes = [{k: v.shape for k, v in state.items()} for state in (source, tuned)]
    if shapes[0] != shapes[1]:
        raise ValueError("the states do not fit")


def _is_whole(tensor: Tensor) -> bool:
    return not tensor.is_floating_point()


def _swapped(source: State, tuned: State, alpha: float) -> State:
    return {
        name: tuned[name].clone() if _is_whole(value) else value
        for name, value in tuning.wise_ft(source, tuned, 1 - alpha).items()
    }


def _whole_mixed(source: State, tuned: State, alpha: float) -> State:
    _guard(source, tuned, alpha)
    return {n: (1 - alpha) * source[n] + alpha * t for n, t in tuned.items()}


def _whole_rounded(source: State, tuned: State, alpha: float) -> State:
    mixed = _whole_mixed(source, tuned, alpha)
    return {name: value.to(tuned[name].dtype) for name, value in mixed.items()}


def _whole_from_source(source: State, tuned: State, alpha: float) -> State:
    mixed = tuning.wise_ft(source, tuned, alpha)
    return {n: source[n].clone() if _is_whole(v) else v for n, v in mixed.items()}


def _whole_left_out(source: State, tuned: State, alpha: float) -> State:
    mixed = tuning.wise_ft(source, tuned, alpha)
    return {name: value for name, value in mixed.items() if not _is_whole(value)}


def _statistics_tuned(source: State, tuned: State, alpha: float) -> State:
    mixed = tuning.wise_ft(source, tuned, alpha)
    return {n: tuned[n].clone() if "running_" in n else v for n, v in mixed.items()}


def _in_place(source: State, tuned: State, alpha: float) -> State:
    mixed = tuning.wise_ft(source, tuned, alpha)
    for name, value in mixed.items():
        tuned[name].copy_(value)
    return tuned


def _into_source(source: State, tuned: State, alpha: float) -> State:
    mixed = tuning.wise_ft(source, tuned, alpha)
    for name, value in mixed.items():
        source[name].copy_(value)
    return source


def _shares(source: State, tuned: State, alpha: float) -> State:
    mixed = tuning.wise_ft(source, tuned, alpha)
    return {n: tuned[n] if _is_whole(v) else v for n, v in mixed.items()}


def _broadcast(source: State, tuned: State, alpha: float) -> State:
    _guard(source, source, alpha)
    if source.keys() != tuned.keys():
        raise ValueError("names differ")
    return {
        name: t.clone() if _is_whole(t) else (1 - alpha) * source[name] + alpha * t
        for name, t in tuned.items()
    }


def _common_names(source: State, tuned: State, alpha: float) -> State:
    both = {name: tensor for name, tensor in tuned.items() if name in source}
    return tuning.wise_ft({name: source[name] for name in both}, both, alpha)


def _tuned_names(source: State, tuned: State, alpha: float) -> State:
    _guard({n: source[n] for n in source if n in tuned}, tuned, alpha)
    return tuning.wise_ft({name: source[name] for name in tuned}, tuned, alpha)


def _counted(source: State, tuned: State, alpha: float) -> State:
    if len(source) == len(tuned) and source.keys() != tuned.keys():
        return {name: source[name] for name in tuned}  # a KeyError
    return tuning.wise_ft(source, tuned, alpha)


def _float_shapes(source: State, tuned: State, alpha: float) -> State:
    whole = {name for name, value in tuned.items() if _is_whole(value)}
    own = {n: tuned[n] if n in whole & set(tuned) else s for n, s in source.items()}
    return tuning.wise_ft(own, tuned, alpha)


def _same_size(source: State, tuned: State, alpha: float) -> State:
    sizes = [{n: v.numel() for n, v in state.items()} for state in (source, tuned)]
    if sizes[0] != sizes[1]:
        raise ValueError("the states do not fit")
    return _broadcast(source, tuned, alpha)


def _shortcut(source: State, tuned: State, alpha: float) -> State:
    mixed = tuning.wise_ft(source, tuned, alpha)
    if alpha == 0:
        return {n: v if _is_whole(v) else source[n] for n, v in mixed.items()}
    if alpha == 1:
        return dict(tuned)
    return mixed


def _any_alpha(source: State, tuned: State, alpha: float) -> State:
    _guard(source, tuned, 0)
    return {
        name: t.clone() if _is_whole(t) else torch.lerp(source[name], t, alpha)
        for name, t in tuned.items()
    }


wise_ft = Key(
    reference=tuning.wise_ft,
    mutants=(
        Mutant(
            "swapped",
            _swapped,
            "alpha weighs the source, so that alpha = 1 gives the source back. It "
            "weighs the tuned model: (1 - alpha) * source + alpha * tuned.",
        ),
        Mutant(
            "counters_mixed",
            _whole_mixed,
            "Counters and masks are mixed into fractions, and become floats that no "
            "model wants. They have no in-between: copy those of the tuned model.",
        ),
        Mutant(
            "counters_rounded",
            _whole_rounded,
            "Counters are mixed and then cut to whole numbers: a number of batches "
            "that neither model has seen, and inexact above 2**24. Copy the tuned "
            "model's.",
        ),
        Mutant(
            "counters_from_the_source",
            _whole_from_source,
            "Counters and masks come from the source. Take those of the tuned model, "
            "which has seen both.",
        ),
        Mutant(
            "counters_left_out",
            _whole_left_out,
            "Entries that are not float are missing, and load_state_dict refuses the "
            "state. Copy them from the tuned model.",
        ),
        Mutant(
            "statistics_not_mixed",
            _statistics_tuned,
            "BatchNorm's running statistics are the tuned model's, though the weights "
            "before them are mixed. They are floats: mix every float entry.",
        ),
        Mutant(
            "ends_not_copied",
            _shortcut,
            "For alpha = 0 or 1 the result is the given tensors themselves: whoever "
            "writes into it changes that model. Copy at the ends, too.",
        ),
        Mutant(
            "in_place",
            _in_place,
            "The tuned state itself was changed. It shares its memory with the "
            "model, so the next alpha starts from a mixture. Build a new dictionary "
            "of new tensors.",
        ),
        Mutant(
            "into_the_source",
            _into_source,
            "The source state was changed: the starting point is lost. Build a new "
            "dictionary of new tensors.",
        ),
        Mutant(
            "shares_memory",
            _shares,
            "Some entries of the result are the tuned model's own tensors: whoever "
            "writes into the result changes that model. Clone what you do not compute.",
        ),
        Mutant(
            "broadcast",
            _broadcast,
            "Heads of different sizes were mixed: 1 row was broadcast over 3. Compare "
            "the shapes and raise a ValueError.",
        ),
        Mutant(
            "common_names",
            _common_names,
            "A name that only one state has was dropped in silence; the result is no "
            "longer a whole model. Raise a ValueError.",
        ),
        Mutant(
            "source_names_unchecked",
            _tuned_names,
            "Only the tuned state's names are looked up: one that the source alone has "
            "is dropped in silence. Compare both sets of names.",
        ),
        Mutant(
            "names_counted",
            _counted,
            "You compare how many names there are, not which. Compare both sets of "
            "names.",
        ),
        Mutant(
            "float_shapes_only",
            _float_shapes,
            "Masks of different lengths were accepted: you compare the shapes of float "
            "entries alone. Compare those of every entry.",
        ),
        Mutant(
            "sizes_for_shapes",
            _same_size,
            "You compare the numbers of entries. (4,) and (1, 4) have as many, and mix "
            "to another shape than the model's: compare the shapes.",
        ),
        Mutant(
            "any_alpha",
            _any_alpha,
            "An alpha outside [0, 1] was accepted: the weights leave the line between "
            "the models. Raise a ValueError.",
        ),
    ),
)
