"""MAML and FOMAML: what is right, and what is sold as the one or the other."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tlcourse.exercises.keys.maml.adapting import Outer, Params
from tlcourse.exercises.keys.maml.norms import constant_statistics
from tlcourse.exercises.spec import Key, Mutant, Tolerance


def _vmap_inside(*args: Any, **more: Any) -> tuple[Params, Tensor]:
    """What ``grad`` of a mean over ``vmap`` returns."""
    with constant_statistics():
        return Outer()(*args, **more)


_TOLERANCE = Tolerance(rtol=1e-4, atol=1e-5)


def _shared(first_order: bool) -> tuple[Mutant, ...]:
    """Mistakes in which data, which rate, which mean: the same for both orders."""

    def wrong(**flags: object) -> Outer:
        return Outer(first_order=first_order, **flags)

    return (
        Mutant(
            "exchanged",
            wrong(adapt_on="query", judge_on="support"),
            "Support and query are exchanged: adapt on the support, and judge the "
            "adapted parameters on the query.",
        ),
        Mutant(
            "judged_on_support",
            wrong(judge_on="support"),
            "The outer loss uses the support again. It rewards a start that memorises "
            "the support; judge on the query, which the inner loop has not seen.",
        ),
        Mutant(
            "adapted_on_query",
            wrong(adapt_on="query"),
            "The inner loop adapts on the query, the data it is judged on. At test "
            "time the query has no labels: adapt on the support.",
        ),
        Mutant(
            "rate_forgotten",
            wrong(no_rate=True),
            "The inner rate is not used: the inner step has the length of the "
            "gradient. Multiply by inner_lr.",
        ),
        Mutant(
            "ascent",
            wrong(ascent=True),
            "The inner loop climbs the support loss. Subtract inner_lr times the "
            "gradient.",
        ),
        Mutant(
            "summed",
            wrong(summed=True),
            "The tasks are added up, so the outer step grows with their number. "
            "Divide by the number of tasks T.",
        ),
        Mutant(
            "first_task",
            wrong(first_task=True),
            "Only the first task is used. Go through the leading dimension of support "
            "and query.",
        ),
        Mutant(
            "one_step",
            wrong(one_step=True),
            "The argument `steps` is not used: one step is taken whatever it says "
            "(0 steps means none).",
        ),
        Mutant(
            "stale_gradient",
            wrong(stale=True),
            "Every inner step uses the gradient at the start. Compute it again at the "
            "parameters that have moved.",
        ),
        Mutant(
            "tasks_in_a_row",
            wrong(sequential=True),
            "A task begins where the one before it ended. Every task starts from "
            "params.",
        ),
        Mutant(
            "pooled_support",
            wrong(pooled=True),
            "All tasks adapt together, on the mean of their support losses. Each task "
            "has an inner loop of its own.",
        ),
        Mutant(
            "in_place",
            wrong(in_place=True),
            "The inner loop changes params itself (as optimizer.step() would), so the "
            "start is lost for the next task and for the caller. Work on new tensors.",
        ),
        Mutant(
            "value_before",
            wrong(value_before=True),
            "The value is the query loss before adaptation. Report it after the inner "
            "steps.",
        ),
        Mutant(
            "given_leaves",
            wrong(given_leaves=True),
            "You differentiate by the given tensors, which need not require a "
            "gradient. Start from detached copies with requires_grad_().",
        ),
        Mutant(
            "fills_grad",
            wrong(fills_grad=True),
            "params come back changed: requires_grad switched on, or .grad filled (as "
            "backward() does). Take leaves of your own, and autograd.grad.",
        ),
        Mutant(
            "flags_on",
            wrong(flags_on=True),
            "requires_grad of the given params is switched on. Take copies of your "
            "own: p.detach().clone().requires_grad_().",
        ),
    )


maml_grad = Key(
    reference=Outer(),
    tolerance=_TOLERANCE,
    mutants=(
        Mutant(
            "first_order",
            Outer(first_order=True),
            "This is FOMAML: the inner gradient counts as a constant, and the factor "
            "I - inner_lr * H of each inner step is missing. Ask for the inner "
            "gradient with create_graph=True.",
        ),
        Mutant(
            "at_the_start",
            Outer(unadapted=True),
            "Nothing adapts: this is the gradient of the query loss at the start, "
            "ordinary training on all tasks at once.",
        ),
        Mutant(
            "last_step_only",
            Outer(last_only=True),
            "Only the last inner step is in the graph; each of them has its factor "
            "I - inner_lr * H. Do not detach between the steps.",
        ),
        Mutant(
            "by_the_start",
            Outer(by_start=True),
            "The inner gradients are taken by the start, also in the second step, "
            "where the parameters have moved. Differentiate by the current ones.",
        ),
        *_shared(first_order=False),
        Mutant(
            "vmap_inside",
            _vmap_inside,
            "Right but for the norm: this is what the gradient of a vmap gives, whose "
            "rule takes a norm's saved statistics as constants. Take the gradient of "
            "one task first, vmap outside: vmap(grad(...)), then the mean.",
        ),
    ),
)

fomaml_grad = Key(
    reference=Outer(first_order=True),
    tolerance=_TOLERANCE,
    mutants=(
        Mutant(
            "second_order",
            Outer(),
            "This is full MAML: the gradient goes through the inner steps. First order "
            "means: detach the inner gradients.",
        ),
        Mutant(
            "at_the_start",
            Outer(first_order=True, unadapted=True),
            "The gradient is taken at the start. FOMAML takes the query gradient at "
            "the adapted parameters.",
        ),
        Mutant(
            "support_gradient",
            Outer(first_order=True, gradient_on="support"),
            "At the adapted parameters you take the gradient of the support loss. It "
            "is the query loss that counts.",
        ),
        Mutant(
            "displacement",
            Outer(first_order=True, displacement=True),
            "This is how far the tasks moved, start minus adapted: Reptile's "
            "direction. FOMAML takes one more gradient, of the query loss.",
        ),
        *_shared(first_order=True),
    ),
)
