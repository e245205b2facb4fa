"""Reinforcement learning tasks of one family: walk to a goal in the plane.

The setting of Finn et al. (2017, section 5.3): the walker starts in the middle of the
unit square, sees its own position and never the goal, and every task has its own goal.
The reward is minus the distance to the goal after the move, as in the authors' released
code (the text of the paper says squared distance). An episode always lasts the whole
horizon; the paper ends it at 0.01 from the goal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tlcourse import arguments
from tlcourse.meta.stateless import Layers, stackable_layers, stacked_outputs
from tlcourse.meta.task_inputs import Params, check_generator

MAX_MOVE = 0.1  # per coordinate and step
HALF = 0.5  # the square is [-HALF, HALF] in both coordinates


class Trajectories(NamedTuple):
    """What T policies did, N times H steps each; no tensor has a graph.

    Attributes:
        states: positions before the moves, ``(T, N, H, 2)``.
        actions: what the policy said, not clipped, ``(T, N, H, 2)``.
        rewards: minus the distance to the goal after the move, ``(T, N, H)``; the unit
            is the side of the square.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor

    @property
    def returns(self) -> Tensor:
        """Sum of the rewards of each trajectory, ``(T, N)``."""
        return self.rewards.sum(-1)


class NavigationPolicy(nn.Module):
    r"""Gaussian policy, :math:`a \sim \mathcal N(f_\theta(s), \sigma^2 I)`.

    The mean is a perceptron 2 - width - width - 2; the logarithm of :math:`\sigma` is
    a parameter, one number per coordinate.

    Args:
        width: units of each of the two hidden layers (100 in the paper).
        std: where :math:`\sigma` starts; about the largest move is sensible.
        seed: decides the weights; the caller's random state is left alone.

    Raises:
        ValueError: a width below 1 or a deviation that is not > 0.
    """

    def __init__(self, width: int = 100, std: float = MAX_MOVE, seed: int = 0) -> None:
        """Build; the last layer starts small, so that the first moves are noise."""
        super().__init__()
        arguments.whole("width", width, 1)
        arguments.positive("std", std)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential(
                nn.Linear(2, width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.ReLU(),
                nn.Linear(width, 2),
            )
        with torch.no_grad():
            self.net[-1].weight.mul_(0.1)
            self.net[-1].bias.zero_()
        self.log_std = nn.Parameter(torch.full((2,), math.log(std)))

    def params(self) -> Params:
        """A detached copy of the parameters, by name."""
        return {n: value.detach().clone() for n, value in self.named_parameters()}

    def means(self, params: Mapping[str, Tensor], states: Tensor) -> Tensor:
        """Mean actions of T policies.

        Args:
            params: name to ``(T, ...)``.
            states: ``(T, ..., 2)``.

        Returns:
            ``(T, ..., 2)``.
        """
        flat = states.flatten(1, -2)  # (T, m, 2)
        return stacked_outputs(self._layers(), params, flat).reshape(states.shape)

    def log_probs(self, params: Mapping[str, Tensor], done: Trajectories) -> Tensor:
        r"""Log density of the actions, ``(T, N, H)``, summed over coordinates.

        Args:
            params: name to ``(T, ...)``; the graph goes to them.
            done: what was seen and done.
        """
        log_std = params["log_std"][:, None, None]  # (T, 1, 1, 2)
        off = (done.actions - self.means(params, done.states)) * torch.exp(-log_std)
        density = -0.5 * off**2 - log_std - 0.5 * math.log(2 * math.pi)
        return density.sum(-1)

    def _layers(self) -> Layers:
        found = stackable_layers(self.net, "net")
        assert found is not None
        return found


def sample_goals(
    num_tasks: int,
    generator: torch.Generator,
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Goals uniform in the square, ``(T, 2)`` in [-0.5, 0.5].

    Args:
        num_tasks: how many goals.
        generator: a CPU generator.
        device: where the goals shall live.

    Raises:
        ValueError: fewer than one task, or no generator.
    """
    arguments.whole("num_tasks", num_tasks, 1)
    check_generator(generator)
    return (HALF * (2 * torch.rand(num_tasks, 2, generator=generator) - 1)).to(device)


def rollout(
    policy: NavigationPolicy,
    params: Mapping[str, Tensor],
    goals: Tensor,
    num_trajectories: int = 20,
    horizon: int = 20,
    *,
    generator: torch.Generator,
) -> Trajectories:
    r"""Let T policies walk, N trajectories of H steps each, all at once.

    :math:`s_{t+1} = s_t + \mathrm{clip}(a_t, \pm 0.1)`, :math:`s_0 = 0`,
    :math:`r_t = -\lVert s_{t+1} - g\rVert`.

    Args:
        policy: gives means and deviations.
        params: name to ``(T, ...)``, one policy per task; no graph is kept.
        goals: ``(T, 2)``.
        num_trajectories: N, per task.
        horizon: H, steps per trajectory (100 in the paper).
        generator: a CPU generator; the noise goes to the goals' device.

    Raises:
        ValueError: goals of another shape, parameters of another number of tasks,
            counts below 1, or no generator.
    """
    _check_goals(goals, params)
    arguments.whole("num_trajectories", num_trajectories, 1)
    arguments.whole("horizon", horizon, 1)
    check_generator(generator)
    shape = (horizon, len(goals), num_trajectories, 2)
    noise = torch.randn(shape, generator=generator).to(goals)
    with torch.no_grad():
        noise = noise * params["log_std"].exp()[:, None]
        return walk(
            lambda state, t: policy.means(params, state) + noise[t], goals, shape
        )


def walk(
    act: Callable[[Tensor, int], Tensor], goals: Tensor, shape: tuple[int, ...]
) -> Trajectories:
    """The world itself: apply ``act(states (T, N, 2), t)`` for ``shape[0]`` steps."""
    horizon, *rest = shape
    state = goals.new_zeros(rest)
    states, actions, rewards = [], [], []
    for t in range(horizon):
        action = act(state, t)
        states.append(state)
        actions.append(action)
        state = state + action.clamp(-MAX_MOVE, MAX_MOVE)
        rewards.append(-torch.linalg.vector_norm(state - goals[:, None], dim=-1))
    return Trajectories(
        torch.stack(states, 2), torch.stack(actions, 2), torch.stack(rewards, 2)
    )


def best_returns(goals: Tensor, horizon: int = 20) -> Tensor:
    """Return of a walker that knows its goal and goes straight there, ``(T,)``.

    A bound to hold results against: every coordinate moves as far as it may.

    Args:
        goals: ``(T, 2)``.
        horizon: steps.
    """
    done = walk(
        lambda state, t: goals[:, None] - state, goals, (horizon, len(goals), 1, 2)
    )
    return done.returns[:, 0]


def _check_goals(goals: Tensor, params: Mapping[str, Tensor]) -> None:
    if goals.ndim != 2 or goals.shape[1] != 2 or len(goals) == 0:
        raise ValueError(f"goals must be (T, 2) with T >= 1, got {tuple(goals.shape)}.")
    for name, value in params.items():
        if value.ndim == 0 or len(value) != len(goals):
            raise ValueError(
                f"params[{name!r}] must have one entry per goal, ({len(goals)}, ...), "
                f"got {tuple(value.shape)}; stack the tasks' parameters, or expand "
                "one set of them."
            )
