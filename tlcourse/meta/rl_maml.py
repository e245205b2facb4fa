r"""MAML for policies: adapt by a policy gradient, train the start for what comes after.

The inner step is :math:`\theta' = \theta + \alpha\,\hat g(\tau, \theta)` with a policy
gradient :math:`\hat g` from trajectories :math:`\tau\sim\pi_\theta`; the aim is the
return of :math:`\pi_{\theta'}`. How to differentiate that is less clear than with
fixed data, because :math:`\tau` itself depends on :math:`\theta`:

``"naive"``
    Differentiate the REINFORCE surrogate again, as Finn et al. (2017) did. Exact for
    :math:`\tau` taken as given data; it loses that other start parameters would have
    drawn *other* trajectories.
``"e-maml"``
    The naive gradient plus the lost term: the score of the first trajectories times the
    return they led to (Al-Shedivat et al., 2018; Stadie et al., 2018). Without bias for
    the return after an adaptation on N sampled trajectories, but noisier.
``"dice"``
    Take the inner step as one along the *expected* gradient and estimate its Hessian
    by DiCE (Foerster et al., 2018). Rothfuss et al. (2019) compare this aim with the
    one above; their low-variance form of the same estimator is ProMP's.
``"fomaml"``
    No second derivative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from tlcourse import arguments
from tlcourse.meta.inner_steps import graph_step
from tlcourse.meta.navigation import NavigationPolicy, Trajectories, rollout
from tlcourse.meta.policy_gradient import (
    dice_loss,
    leave_one_out,
    returns_to_go,
    rl_inner_loss,
)
from tlcourse.meta.task_inputs import Params, check_inner, check_params

ESTIMATORS = ("naive", "e-maml", "dice", "fomaml")


class RlSettings(NamedTuple):
    """What a policy's inner loop needs to know.

    Attributes:
        inner_lr: step size, > 0; the gradient grows with the horizon
            and as the policy's deviation falls.
        steps: policy gradient steps, each on fresh trajectories; 0 is joint training.
        num_trajectories: trajectories per task and step, at least 2.
        horizon: steps per trajectory.
        discount: in [0, 1].
    """

    inner_lr: float = 1e-3
    steps: int = 1
    num_trajectories: int = 20
    horizon: int = 20
    discount: float = 1.0


def rl_adapt(
    policy: NavigationPolicy,
    params: Mapping[str, Tensor],
    goals: Tensor,
    settings: RlSettings,
    *,
    generator: torch.Generator,
) -> tuple[list[Params], Tensor]:
    """Adapt to every goal by policy gradients; nothing is learned for the next task.

    Args:
        policy: the network's form.
        params: the common start.
        goals: ``(T, 2)``.
        settings: of the inner loop.
        generator: a CPU generator.

    Returns:
        The stacked parameters before and after each step, ``steps + 1`` of them, and
        the mean return of each task under each, ``(steps + 1, T)``, on fresh
        trajectories.

    Raises:
        ValueError: bad settings, goals or parameters.
    """
    _check(params, settings, "naive")
    moved, path, returns = _expand(params, len(goals)), [], []
    for step in range(settings.steps + 1):
        moved = {name: value.detach() for name, value in moved.items()}
        done = _roll(policy, moved, goals, settings, generator)
        path.append(moved)
        returns.append(done.returns.mean(1))
        if step < settings.steps:
            with torch.enable_grad():
                leaves = {n: v.clone().requires_grad_() for n, v in moved.items()}
                value = _surrogate(policy, leaves, done, settings, "naive").sum()
                moved = graph_step(
                    value, leaves, settings.inner_lr, list(leaves), keep=False
                )
    return path, torch.stack(returns)


def rl_maml_grad(
    policy: NavigationPolicy,
    params: Mapping[str, Tensor],
    goals: Tensor,
    settings: RlSettings,
    *,
    estimator: str = "naive",
    generator: torch.Generator,
) -> tuple[Params, Tensor]:
    r"""Estimated gradient of *minus* the mean return after adaptation.

    One draw of all trajectories; the gradient is a random number, its bias depends on
    ``estimator`` (top of this module). Step *down* along it.

    Args:
        policy: the network's form.
        params: the start; not changed.
        goals: ``(T, 2)``, the tasks.
        settings: of the inner loop; the measured trajectories are as many and as long.
        estimator: ``"naive"``, ``"e-maml"``, ``"dice"`` or ``"fomaml"``.
        generator: a CPU generator.

    Returns:
        The gradient, detached, named like ``params``; and the mean return (sum of the
        rewards, not discounted) after adaptation, a 0-dimensional tensor.

    Raises:
        ValueError: bad settings, goals or parameters.
    """
    _check(params, settings, estimator)
    leaves = {name: v.detach().clone().requires_grad_() for name, v in params.items()}
    with torch.enable_grad():
        moved, scores = _expand(leaves, len(goals)), []
        for _ in range(settings.steps):
            done = _roll(policy, moved, goals, settings, generator)
            value = _surrogate(policy, moved, done, settings, estimator).sum()
            scores.append(policy.log_probs(moved, done).sum((1, 2)))  # (T,)
            moved = graph_step(
                value, moved, settings.inner_lr, list(moved), estimator != "fomaml"
            )
        done = _roll(policy, moved, goals, settings, generator)
        outer = _surrogate(policy, moved, done, settings, "naive").mean()
        if estimator == "e-maml" and scores:
            outer = outer + sampling_term(sum(scores), done, settings)
    grads = torch.autograd.grad(outer, list(leaves.values()), materialize_grads=True)
    found = dict(zip(leaves, grads, strict=True))
    return found, done.returns.mean()


def sampling_term(scores: Tensor, after: Trajectories, settings: RlSettings) -> Tensor:
    r"""What the naive surrogate loses: credit for the trajectories one adapts on.

    :math:`-\frac1T\sum_t \log p_\theta(\tau_t)\,(R_t - b_t)`, where :math:`R_t` is the
    mean discounted return after adaptation. The baseline :math:`b_t` is the mean over
    the other tasks (0 if there is only one).

    Args:
        scores: log probability of all the actions a task adapted on, ``(T,)``.
        after: trajectories after adaptation.
        settings: for the discount.
    """
    gains = returns_to_go(after.rewards, settings.discount)[..., 0].mean(1)  # (T,)
    if len(gains) > 1:
        gains = gains - leave_one_out(gains[:, None])[:, 0]
    return -(scores * gains).mean()


def _surrogate(
    policy: NavigationPolicy,
    params: Params,
    done: Trajectories,
    settings: RlSettings,
    estimator: str,
) -> Tensor:
    """Inner loss ``(T,)``; without a discount both kinds have one first gradient."""
    log_probs = policy.log_probs(params, done)
    if estimator != "dice":
        return rl_inner_loss(log_probs, done.rewards, settings.discount)
    gains = returns_to_go(done.rewards, settings.discount)
    return dice_loss(log_probs, done.rewards, settings.discount, leave_one_out(gains))


def _roll(
    policy: NavigationPolicy,
    params: Params,
    goals: Tensor,
    settings: RlSettings,
    generator: torch.Generator,
) -> Trajectories:
    plain = {name: value.detach() for name, value in params.items()}
    n, horizon = settings.num_trajectories, settings.horizon
    return rollout(policy, plain, goals, n, horizon, generator=generator)


def _expand(params: Mapping[str, Tensor], num_tasks: int) -> Params:
    return {name: v.expand(num_tasks, *v.shape) for name, v in params.items()}


def _check(params: Mapping[str, Tensor], settings: RlSettings, estimator: str) -> None:
    check_params("params", params)
    check_inner(settings.inner_lr, settings.steps, "batched")
    arguments.whole("num_trajectories", settings.num_trajectories, 2)
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {ESTIMATORS}, got {estimator!r}.")
