r"""Policy gradients for an inner loop: returns, a baseline, and two surrogate losses.

A *surrogate* is a function whose gradient estimates that of the expected return. With
trajectories :math:`\tau` drawn from the policy :math:`\pi_\theta` and returns-to-go
:math:`G_t`, ``-log_prob * advantage`` gives the right **first** gradient. Its second
derivative, which MAML's chain rule asks for, is

.. math::
    \mathbb E\Big[\sum_t \nabla^2\log\pi(a_t|s_t)\,G_t\Big]
    \quad\text{where}\quad
    \nabla^2 \mathbb E[R] = \mathbb E\big[R\,(\nabla^2\log p(\tau)
    + \nabla\log p(\tau)\,\nabla\log p(\tau)^\top)\big]

is the truth: the surrogate loses the outer product, because the trajectories depend on
:math:`\theta` and a constant advantage hides that (Foerster et al., 2018). DiCE keeps
it by a factor that is 1 in value and whose derivative is the score. How the lost terms
matter for meta-learning: Al-Shedivat et al. (2018), Rothfuss et al. (2019).

Shapes: ``(..., N, H)`` for N trajectories of H steps; leading dimensions are tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse import arguments


def returns_to_go(rewards: Tensor, discount: float = 1.0) -> Tensor:
    r"""Discounted sums of what is still to come.

    :math:`G_t = \sum_{u\ge t}\gamma^{u-t} r_u`.

    Args:
        rewards: ``(..., H)``.
        discount: :math:`\gamma`, in [0, 1].

    Returns:
        ``(..., H)``.

    Raises:
        ValueError: no steps, or a discount outside [0, 1].
    """
    _check_rewards(rewards, discount)
    total = torch.zeros_like(rewards[..., 0])
    sums = []
    for reward in rewards.unbind(-1)[::-1]:
        total = reward + discount * total
        sums.append(total)
    return torch.stack(sums[::-1], -1)


def leave_one_out(values: Tensor) -> Tensor:
    """At every step the mean over the *other* trajectories: a baseline of time.

    Leaving the own trajectory out keeps the policy gradient free of bias: the baseline
    does not depend on the actions that it is multiplied with.

    Args:
        values: returns-to-go ``(..., N, H)``.

    Returns:
        ``(..., N, H)``.

    Raises:
        ValueError: fewer than two trajectories.
    """
    if values.ndim < 2 or values.shape[-2] < 2:
        raise ValueError(
            "a baseline over the other trajectories needs (..., N, H) with N >= 2, got "
            f"{tuple(values.shape)}; sample more trajectories."
        )
    n = values.shape[-2]
    return (values.sum(-2, keepdim=True) - values) / (n - 1)


def advantages(rewards: Tensor, discount: float = 1.0) -> Tensor:
    r"""Returns-to-go minus their leave-one-out mean over trajectories.

    :math:`A_{i,t} = G_{i,t} - \frac1{N-1}\sum_{j\ne i} G_{j,t}`.

    Args:
        rewards: ``(..., N, H)`` with N >= 2.
        discount: in [0, 1].

    Returns:
        ``(..., N, H)``, without a graph.

    Raises:
        ValueError: see :func:`returns_to_go` and :func:`leave_one_out`.
    """
    gains = returns_to_go(rewards.detach(), discount)
    return gains - leave_one_out(gains)


def rl_inner_loss(log_probs: Tensor, rewards: Tensor, discount: float = 1.0) -> Tensor:
    r"""REINFORCE surrogate with a baseline, the inner loss of a policy.

    :math:`-\frac1N\sum_i\sum_t \log\pi(a_{i,t}|s_{i,t})\,A_{i,t}` (Williams, 1992), the
    advantages :math:`A` from :func:`advantages`, taken as constants. Its gradient at
    the policy that drew the trajectories estimates that of minus the expected return;
    its second derivative does not (top of this module).

    Args:
        log_probs: ``(..., N, H)``, with a graph to the policy's parameters.
        rewards: the same shape; N >= 2.
        discount: in [0, 1].

    Returns:
        ``(...)``: one number per task, a scalar for one task.

    Raises:
        ValueError: shapes that differ, one trajectory only, or a bad discount.
    """
    _check_pair(log_probs, "rewards", rewards)
    return -(log_probs * advantages(rewards, discount)).sum(-1).mean(-1)


def dice_loss(
    log_probs: Tensor,
    rewards: Tensor,
    discount: float = 1.0,
    baseline: Tensor | None = None,
) -> Tensor:
    r"""Surrogate with right derivatives of every order (DiCE, Foerster et al., 2018).

    .. math::
        -\frac1N\sum_i\sum_t \gamma^t\Big[ M_{i,\le t}\, r_{i,t}
        + (1 - M_{i,t})\, b_{i,t}\Big], \qquad
        M_{i,\le t} = \exp\Big(\ell - \mathrm{stop}(\ell)\Big),\;
        \ell = \sum_{u\le t}\log\pi(a_{i,u}|s_{i,u})

    and :math:`M_{i,t}` the same for one step. In value :math:`M = 1`, so the loss is
    minus the mean return. The baseline lowers the variance of the first gradient and
    leaves every derivative without bias as long as it does not depend on that
    trajectory's later actions.

    With ``discount`` below 1 this is the gradient of the discounted return, whereas
    :func:`rl_inner_loss` leaves out the outer :math:`\gamma^t`, as most
    implementations do. With 1, and one baseline, their first gradients are equal.

    Args:
        log_probs: ``(..., N, H)``, with a graph.
        rewards: the same shape; constants.
        discount: :math:`\gamma`, in [0, 1].
        baseline: the same shape, an estimate of the return-to-go; none by default.

    Returns:
        ``(...)``: one number per task.

    Raises:
        ValueError: shapes that differ, or a discount outside [0, 1].
    """
    _check_pair(log_probs, "rewards", rewards)
    _check_rewards(rewards, discount)
    steps = torch.arange(rewards.shape[-1], device=rewards.device, dtype=rewards.dtype)
    weights = discount**steps
    gains = _magic(log_probs.cumsum(-1)) * rewards.detach()
    if baseline is not None:
        _check_pair(log_probs, "baseline", baseline)
        gains = gains + (1 - _magic(log_probs)) * baseline.detach()
    return -(weights * gains).sum(-1).mean(-1)


def _magic(log_probs: Tensor) -> Tensor:
    """DiCE's factor: 1 in value, the score in its derivative."""
    return torch.exp(log_probs - log_probs.detach())


def _check_pair(log_probs: Tensor, name: str, other: Tensor) -> None:
    if log_probs.ndim < 2 or log_probs.shape != other.shape:
        raise ValueError(
            f"log_probs and {name} must both be (..., N, H), got "
            f"{tuple(log_probs.shape)} and {tuple(other.shape)}; sum the log "
            "probabilities over the action's dimensions first."
        )


def _check_rewards(rewards: Tensor, discount: float) -> None:
    if rewards.ndim == 0 or rewards.numel() == 0 or not rewards.is_floating_point():
        raise ValueError(
            "rewards must be floats (..., H) with at least one step, got "
            f"{tuple(rewards.shape)} of {rewards.dtype}."
        )
    arguments.fraction("discount", discount)
