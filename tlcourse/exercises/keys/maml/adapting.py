"""The outer gradient by an explicit loop, with every mistake of this chapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Params = dict[str, Tensor]
Loss = Callable[[Params, Tensor, Tensor], Tensor]
Task = tuple[Tensor, Tensor]


def leaves(params: Params) -> Params:
    """Copies that are leaves of a new graph."""
    return {k: p.detach().clone().requires_grad_() for k, p in params.items()}


@dataclass(frozen=True)
class Outer:
    """MAML's gradient and value; ``first_order`` is FOMAML, each other flag a mistake.

    ``adapt_on`` and ``judge_on`` name the data of the inner and of the outer loss.
    """

    first_order: bool = False
    last_only: bool = False
    adapt_on: str = "support"
    judge_on: str = "query"
    unadapted: bool = False
    value_before: bool = False
    summed: bool = False
    first_task: bool = False
    sequential: bool = False
    pooled: bool = False
    one_step: bool = False
    stale: bool = False
    ascent: bool = False
    no_rate: bool = False
    by_start: bool = False
    displacement: bool = False
    in_place: bool = False
    fills_grad: bool = False
    gradient_on: str = ""
    given_leaves: bool = False
    flags_on: bool = False

    def __call__(
        self,
        loss: Loss,
        params: Params,
        support: Task,
        query: Task,
        inner_lr: float,
        steps: int = 1,
    ) -> tuple[Params, Tensor]:
        """Gradient and value of :func:`tlcourse.meta.maml_grad`, task by task."""
        start = dict(params) if self.given_leaves else leaves(params)
        data = {"support": support, "query": query}
        rate = (-1.0 if self.ascent else 1.0) * (1.0 if self.no_rate else inner_lr)
        tasks = range(1 if self.first_task else len(support[0]))
        grads = {k: torch.zeros_like(p) for k, p in start.items()}
        value, fast = 0.0, start
        for t in tasks:
            fast = fast if self.sequential or self.in_place else start
            if not self.unadapted:
                fast = self._adapted(loss, start, fast, data, t, rate, steps)
            found, its_value = self._judged(loss, start, fast, data, t)
            grads = {k: grads[k] + g for k, g in found.items()}
            value = value + its_value.detach()
        n = 1 if self.summed else len(tasks)
        grads = {k: g.detach() / n for k, g in grads.items()}
        self._leave(params, fast, grads)
        return grads, value / n

    def _adapted(
        self,
        loss: Loss,
        start: Params,
        fast: Params,
        data: dict[str, Task],
        t: int,
        rate: float,
        steps: int,
    ) -> Params:
        steps = 1 if self.one_step else steps
        x, y = data[self.adapt_on]
        old = None
        for step in range(steps):
            each = [t] if not self.pooled else range(len(x))
            inner = sum(loss(fast, x[i], y[i]) for i in each) / len(each)
            if self.stale and old is not None:
                grads = old
            else:
                by = start if self.by_start else fast
                grads = torch.autograd.grad(
                    inner, list(by.values()), create_graph=True, retain_graph=True
                )
            old = grads
            if self.first_order or (self.last_only and step < steps - 1):
                grads = [g.detach() for g in grads]
            fast = {
                k: p - rate * g for (k, p), g in zip(fast.items(), grads, strict=True)
            }
        return fast

    def _judged(
        self, loss: Loss, start: Params, fast: Params, data: dict[str, Task], t: int
    ) -> tuple[Params, Tensor]:
        x, y = data[self.judge_on]
        value = loss(start if self.value_before else fast, x[t], y[t])
        if self.displacement:
            return {k: start[k] - p for k, p in fast.items()}, value
        x, y = data[self.gradient_on or self.judge_on]
        found = torch.autograd.grad(
            loss(fast, x[t], y[t]), list(start.values()), retain_graph=True
        )
        return dict(zip(start, found, strict=True)), value

    def _leave(self, params: Params, fast: Params, grads: Params) -> None:
        """What stays behind in the parameters that were given."""
        for name, p in params.items():
            if self.in_place:
                p.data.copy_(fast[name].detach())
            if self.fills_grad:
                p.requires_grad_()
                p.grad = grads[name] + (0.0 if p.grad is None else p.grad)
            if self.flags_on:
                p.requires_grad_()
