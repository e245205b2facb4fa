"""The inner step: what is right, and the graphs that break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tlcourse.exercises.spec import Key, Mutant, Tolerance

Params = dict[str, Tensor]
Loss = Callable[[Params, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class _Step:
    """One step of SGD on a dict of parameters; each flag puts one mistake in."""

    first_order: bool = False
    cut: bool = False
    copied: bool = False
    start_detached: bool = False
    ascent: bool = False
    no_rate: bool = False
    first_only: bool = False
    all_move: bool = False
    others_cut: bool = False
    others_dropped: bool = False
    in_place: bool = False
    same_dict: bool = False
    fills_grad: bool = False
    unused_raises: bool = False
    unit_norm: bool = False
    backward: bool = False
    by_position: bool = False
    frozen: bool = False
    new_leaves: bool = False
    rest_constant: bool = False

    def __call__(
        self,
        loss: Loss,
        params: Params,
        x: Tensor,
        y: Tensor,
        inner_lr: float,
        adapted: Sequence[str] | None = None,
    ) -> Params:
        if self.copied:
            params = {k: p.detach().clone().requires_grad_() for k, p in params.items()}
        names = list(params if adapted is None or self.all_move else adapted)
        names = names[:1] if self.first_only else names
        if self.frozen:
            for name in params.keys() - set(names):
                if params[name].is_leaf:
                    params[name].requires_grad_(False)
        if self.backward:
            loss(params, x, y).backward()
            with torch.no_grad():
                moved = {k: params[k] - inner_lr * params[k].grad for k in names}
            return {**params, **moved}
        grads = self._gradients(loss, params, x, y, names)
        step = -1.0 if self.ascent else 1.0
        step *= 1.0 if self.no_rate else inner_lr
        if self.in_place:
            for name, grad in zip(names, grads, strict=True):
                if grad is not None:
                    params[name].data -= step * grad.detach()
            return params
        new = params if self.same_dict else self._others(params, names)
        for name, grad in zip(names, grads, strict=True):
            p = params[name].detach() if self.start_detached else params[name]
            moved = p if grad is None else p - step * grad
            new[name] = moved.detach() if self.cut else moved
        return new

    def _gradients(
        self, loss: Loss, params: Params, x: Tensor, y: Tensor, names: list[str]
    ) -> list[Tensor | None]:
        if self.new_leaves or self.rest_constant:
            cut = set(names) if self.new_leaves else params.keys() - set(names)
            params = {
                k: p.detach().requires_grad_() if k in cut else p
                for k, p in params.items()
            }
        value = loss(params, x, y)
        if self.by_position:
            names = [name for name in params if name in names]
        inputs = [params[name] for name in names]
        grads = torch.autograd.grad(
            value, inputs, create_graph=True, allow_unused=not self.unused_raises
        )
        if self.fills_grad:
            for p, grad in zip(inputs, grads, strict=True):
                if p.is_leaf and grad is not None:
                    p.grad = p.grad + grad.detach()
        if self.unit_norm:
            norm = sum(g.square().sum() for g in grads if g is not None).sqrt()
            return [None if g is None else g / norm for g in grads]
        return [g if g is None or not self.first_order else g.detach() for g in grads]

    def _others(self, params: Params, names: list[str]) -> Params:
        if self.others_dropped:
            return {}
        if self.others_cut:
            return {k: p if k in names else p.detach() for k, p in params.items()}
        return dict(params)


inner_step = Key(
    reference=_Step(),
    tolerance=Tolerance(rtol=1e-4, atol=1e-5),
    mutants=(
        Mutant(
            "first_order",
            _Step(first_order=True),
            "The gradient of the inner loss is a constant here, so the derivative of "
            "the step is I and not I - inner_lr * H: first order only. Ask for it with "
            "create_graph=True and do not detach it.",
        ),
        Mutant(
            "cut_off",
            _Step(cut=True),
            "The new parameters have no graph: no gradient finds its way back to the "
            "old ones. No detach() and no no_grad() in this step.",
        ),
        Mutant(
            "copied_leaves",
            _Step(copied=True),
            "You step from copies that are leaves of their own, so the graph ends at "
            "the copies. Use the given parameters themselves.",
        ),
        Mutant(
            "start_detached",
            _Step(start_detached=True),
            "The old parameters enter the difference detached: the derivative of the "
            "step is -inner_lr * H, and the identity is missing.",
        ),
        Mutant(
            "ascent",
            _Step(ascent=True),
            "The step goes up the loss. Subtract inner_lr times the gradient.",
        ),
        Mutant(
            "rate_forgotten",
            _Step(no_rate=True),
            "The inner rate is not used: the step has the length of the gradient. "
            "Multiply by inner_lr.",
        ),
        Mutant(
            "first_only",
            _Step(first_only=True),
            "Only the first parameter moves. The gradient has one entry for each name; "
            "go through all of them.",
        ),
        Mutant(
            "all_move",
            _Step(all_move=True),
            "`adapted` is not used: all parameters move. Only those it names may.",
        ),
        Mutant(
            "by_position",
            _Step(by_position=True),
            "Names and gradients are paired in different orders: `adapted` need not be "
            "in the order of params. Ask for the gradients by the same list of names.",
        ),
        Mutant(
            "frozen",
            _Step(frozen=True),
            "requires_grad of the given parameters is switched off. Those that do not "
            "move still need gradients from outside: leave their flags alone.",
        ),
        Mutant(
            "new_leaves",
            _Step(new_leaves=True),
            "The inner gradient is taken at detached copies, so its dependence on the "
            "start is lost: first order only. Differentiate by the given parameters.",
        ),
        Mutant(
            "rest_constant",
            _Step(rest_constant=True),
            "The parameters that do not move are detached inside the loss. The step "
            "depends on them, too, through the gradient.",
        ),
        Mutant(
            "others_cut",
            _Step(others_cut=True),
            "Parameters that do not move are detached, so the outer gradient cannot "
            "reach them, and in ANIL the body would never learn. Pass them on as they "
            "are.",
        ),
        Mutant(
            "others_dropped",
            _Step(others_dropped=True),
            "Parameters that do not move are missing in the result, and the loss needs "
            "them all. Start from dict(params).",
        ),
        Mutant(
            "in_place",
            _Step(in_place=True),
            "The given parameters are changed in place: the starting point is lost for "
            "the next task, and the step is not in the graph. Make new tensors.",
        ),
        Mutant(
            "same_dict",
            _Step(same_dict=True),
            "The new tensors are written into the dict that was given, so the caller's "
            "starting point is gone. Make a new dict.",
        ),
        Mutant(
            "fills_grad",
            _Step(fills_grad=True),
            "The step adds to .grad of the parameters (backward() does), where the "
            "outer gradient belongs. Use torch.autograd.grad, which returns it.",
        ),
        Mutant(
            "backward",
            _Step(backward=True),
            "backward() adds to whatever .grad holds, only leaves have one, and the "
            "step made of it has no graph. Use torch.autograd.grad with "
            "create_graph=True.",
        ),
        Mutant(
            "unused_raises",
            _Step(unused_raises=True),
            "A parameter that the loss does not use has no gradient, and autograd.grad "
            "refuses it. Pass allow_unused=True; such a parameter stays as it is.",
        ),
        Mutant(
            "unit_length",
            _Step(unit_norm=True),
            "The gradient is brought to length 1 before the step. Plain SGD takes it "
            "as it is.",
        ),
    ),
)
