"""Reptile's step: what is right, and the ways to miss the tasks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tlcourse.exercises.spec import Key, Mutant, Tolerance

Params = dict[str, Tensor]


@dataclass(frozen=True)
class _Reptile:
    """theta + step * (mean of the adapted - theta); each flag is a mistake."""

    away: bool = False
    summed: bool = False
    full: bool = False
    exchanged: bool = False
    first_task: bool = False
    in_turn: bool = False
    mean_of_all: bool = False
    by_position: bool = False
    no_biases: bool = False
    direction_only: bool = False
    in_place: bool = False
    same_dict: bool = False

    def __call__(self, params: Params, adapted: Params, step: float) -> Params:
        new = params if self.same_dict else {}
        values = list(adapted.values())
        for i, (name, p) in enumerate(list(params.items())):
            p = p.detach()
            moved = self._moved(
                p, values[i] if self.by_position else adapted[name], step
            )
            if self.no_biases and name.endswith("bias"):
                moved = p.clone()
            if self.in_place:
                p.copy_(moved)
            new[name] = moved
        return new

    def _moved(self, p: Tensor, tasks: Tensor, step: float) -> Tensor:
        if self.in_turn:
            for task in tasks:
                p = p + step * (task - p)
            return p
        mean = tasks[0] if self.first_task else tasks.mean(0)
        mean = tasks.mean() if self.mean_of_all else mean
        way = (tasks - p).sum(0) if self.summed else mean - p
        if self.direction_only:
            return step * way
        if self.exchanged:
            return step * p + (1 - step) * mean
        if self.full:
            return mean
        return p - step * way if self.away else p + step * way


reptile_update = Key(
    reference=_Reptile(),
    tolerance=Tolerance(rtol=1e-4, atol=1e-5),
    mutants=(
        Mutant(
            "away",
            _Reptile(away=True),
            "The start moves away from the adapted parameters. theta' - theta is "
            "already the direction to go: add it, do not subtract it.",
        ),
        Mutant(
            "summed",
            _Reptile(summed=True),
            "The displacements of the tasks are added up. Take their mean, or the step "
            "grows with the number of tasks.",
        ),
        Mutant(
            "full_step",
            _Reptile(full=True),
            "The start jumps onto the mean of the adapted parameters. Go the fraction "
            "`step` of the way.",
        ),
        Mutant(
            "weights_exchanged",
            _Reptile(exchanged=True),
            "step and 1 - step are exchanged: with step = 0 the start must not move.",
        ),
        Mutant(
            "first_task",
            _Reptile(first_task=True),
            "Only the first task counts. The mean runs over the leading dimension.",
        ),
        Mutant(
            "in_turn",
            _Reptile(in_turn=True),
            "The start moves towards one task after another, so the last one pulls "
            "most. Take one step towards the mean.",
        ),
        Mutant(
            "mean_of_all",
            _Reptile(mean_of_all=True),
            "mean() without a dimension averages all entries of a parameter into one "
            "number. The mean is over the tasks, dimension 0.",
        ),
        Mutant(
            "by_position",
            _Reptile(by_position=True),
            "params and adapted are paired by position, and their orders may differ. "
            "Look each one up by its name.",
        ),
        Mutant(
            "biases_left",
            _Reptile(no_biases=True),
            "The biases stay where they are. Every parameter moves.",
        ),
        Mutant(
            "direction_only",
            _Reptile(direction_only=True),
            "You return the step and not the parameters after it. Add it to params.",
        ),
        Mutant(
            "in_place",
            _Reptile(in_place=True),
            "The given parameters are changed in place. Return new tensors.",
        ),
        Mutant(
            "same_dict",
            _Reptile(same_dict=True),
            "The new tensors are written into the dict that was given. Return a new "
            "one.",
        ),
    ),
)
