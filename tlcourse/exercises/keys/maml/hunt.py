"""The bug hunt: what is right, and each of the five bugs alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tlcourse.exercises.keys.maml.adapting import Loss, Outer, Params, Task, leaves
from tlcourse.exercises.spec import Key, Mutant, Tolerance


@dataclass(frozen=True)
class _Training:
    """Meta-training with MAML's gradient; each flag puts one mistake in."""

    outer: Any = Outer()
    stale: bool = False
    cleared_too_late: bool = False
    after_step: bool = False
    per_task: bool = False
    flags_on: bool = False
    same_dict: bool = False

    def __call__(
        self,
        loss: Loss,
        params: Params,
        batches: Sequence[tuple[Task, Task]],
        inner_lr: float,
        outer_lr: float,
        steps: int,
    ) -> tuple[Params, list[float]]:
        start, values = leaves(params), []
        if self.flags_on:
            for p in params.values():
                p.requires_grad_()
        if self.same_dict:
            params.update(start)
        old = {k: torch.zeros_like(p) for k, p in start.items()}
        for support, query in batches:
            grads, value = self.outer(loss, start, support, query, inner_lr, steps)
            if self.stale:
                grads = old = {k: old[k] + g for k, g in grads.items()}
            if self.per_task:
                start = self._task_by_task(
                    loss, start, support, query, inner_lr, outer_lr, steps
                )
            elif not self.cleared_too_late:
                start = _moved(start, grads, outer_lr)
            if self.after_step:
                _, value = self.outer(loss, start, support, query, inner_lr, steps)
            values.append(value)
        return start, [float(v) for v in values]

    def _task_by_task(
        self, loss: Loss, start: Params, support: Task, query: Task,
        inner_lr: float, outer_lr: float, steps: int,
    ) -> Params:  # fmt: skip
        n = len(support[0])
        for t in range(n):
            one = [(x[t : t + 1], y[t : t + 1]) for x, y in (support, query)]
            grads, _ = self.outer(loss, start, *one, inner_lr, steps)
            start = _moved(start, grads, outer_lr / n)
        return start


def _moved(start: Params, grads: dict[str, Tensor], lr: float) -> Params:
    return {k: (p - lr * grads[k]).detach() for k, p in start.items()}


bug_hunt = Key(
    reference=_Training(),
    tolerance=Tolerance(rtol=1e-4, atol=2e-5),
    mutants=(
        Mutant(
            "first_order",
            _Training(Outer(first_order=True)),
            "The inner gradient has no graph, so this trains FOMAML. MAML needs "
            "create_graph=True in the inner loop.",
        ),
        Mutant(
            "by_the_start",
            _Training(Outer(by_start=True)),
            "The inner gradient is taken by the start, in every inner step. After the "
            "first step the task stands elsewhere: differentiate by its current "
            "parameters, fast.",
        ),
        Mutant(
            "tasks_in_a_row",
            _Training(Outer(sequential=True)),
            "`fast` is made once per outer step, so each task goes on where the task "
            "before it ended. Make it anew for every task.",
        ),
        Mutant(
            "judged_on_support",
            _Training(Outer(judge_on="support")),
            "The outer loss is on the support, which the inner loop has just fitted. "
            "It belongs on the query.",
        ),
        Mutant(
            "stale_gradients",
            _Training(stale=True),
            "backward() adds to .grad, and nobody clears it: each outer step repeats "
            "all those before it. Set p.grad to None, or use torch.autograd.grad.",
        ),
        Mutant(
            "adapted_on_query",
            _Training(Outer(adapt_on="query")),
            "Now the inner loop adapts on the query, the data it is judged on. Support "
            "inside, query outside.",
        ),
        Mutant(
            "exchanged",
            _Training(Outer(adapt_on="query", judge_on="support")),
            "Now support and query are exchanged: support inside, query outside.",
        ),
        Mutant(
            "gradient_at_the_start",
            _Training(Outer(stale=True)),
            "Every inner step uses the gradient at the start. Compute the support loss "
            "again at the parameters that have moved.",
        ),
        Mutant(
            "last_step_only",
            _Training(Outer(last_only=True)),
            "The parameters are detached between the inner steps: only the last step "
            "is in the graph. Keep all of them.",
        ),
        Mutant(
            "nothing_moves",
            _Training(cleared_too_late=True),
            "The start never moves: the gradient is cleared after backward() and "
            "before the step, or the step is not taken. Clear, backward, step.",
        ),
        Mutant(
            "values_after",
            _Training(after_step=True),
            "The losses are those after the outer step. Report the value whose "
            "gradient the step uses.",
        ),
        Mutant(
            "task_by_task",
            _Training(per_task=True),
            "The start moves after every task. The outer step uses the mean over all "
            "tasks of a batch, taken at one start.",
        ),
        Mutant(
            "flags_on",
            _Training(flags_on=True),
            "requires_grad of the given params is switched on. Start from copies: "
            "p.detach().clone().requires_grad_().",
        ),
        Mutant(
            "same_dict",
            _Training(same_dict=True),
            "Other tensors are written into the dict that was given, so the caller's "
            "start is gone. Make a dict of your own.",
        ),
        Mutant(
            "summed",
            _Training(Outer(summed=True)),
            "The tasks are added up without dividing by their number.",
        ),
    ),
)
