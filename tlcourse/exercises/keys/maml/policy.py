"""The inner loss of a policy: what is right, and the wrong credit for an action."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tlcourse.exercises.spec import Key, Mutant, Tolerance


@dataclass(frozen=True)
class _Surrogate:
    """REINFORCE with a leave-one-out baseline; each flag puts one mistake in."""

    climbs: bool = False
    returns: str = "to go"
    baseline: str = "others"
    mean: str = "trajectories"
    no_discount: bool = False
    from_the_start: bool = False
    normalised: bool = False
    attached: bool = False
    no_graph: bool = False
    alone: bool = False
    broadcasts: bool = False
    checks: str = "shapes"
    in_place: bool = False
    divided: bool = False

    def __call__(
        self, log_probs: Tensor, rewards: Tensor, discount: float = 1.0
    ) -> Tensor:
        unequal = {
            "shapes": log_probs.shape != rewards.shape,
            "steps": log_probs.shape[1] != rewards.shape[1],
            "sizes": log_probs.numel() != rewards.numel(),
        }[self.checks]
        if unequal and not self.broadcasts:
            raise ValueError("log_probs and rewards must have one shape (N, H).")
        n = len(rewards)
        if n < 2 and not self.alone:
            raise ValueError("the baseline needs two trajectories or more.")
        r = rewards if self.attached else rewards.detach()
        g = self._returns(r, 1.0 if self.no_discount else discount)
        weights = g - self._baseline(g)
        if self.normalised:
            weights = weights / (weights.std() + 1e-8)
        if self.no_graph:
            log_probs = log_probs.detach()
        terms = (log_probs if self.climbs else -log_probs) * weights
        if self.mean == "steps":
            return terms.mean()
        return terms.sum() if self.mean == "none" else terms.sum(1).mean()

    def _returns(self, r: Tensor, discount: float) -> Tensor:
        horizon = r.shape[1]
        if self.in_place:
            for h in reversed(range(horizon - 1)):
                r[:, h] += discount * r[:, h + 1]
            return r
        after = torch.arange(horizon)[None] - torch.arange(horizon)[:, None]  # h' - h
        weights = torch.where(
            after >= 0, float(discount) ** after.clamp(min=0).to(r.dtype), 0.0
        ).to(r.dtype)
        if self.from_the_start or self.divided:
            powers = float(discount) ** torch.arange(horizon).to(r.dtype)
            weights = (after >= 0) * powers
        if self.returns == "whole":
            return (r @ weights[0])[:, None].expand_as(r)
        if self.returns == "past":
            weights = weights.T
        if self.returns == "later":
            weights = weights - torch.eye(horizon, dtype=r.dtype)
        if self.divided:
            return r @ weights.T / powers
        return r if self.returns == "reward" else r @ weights.T

    def _baseline(self, g: Tensor) -> Tensor | float:
        if self.baseline == "none":
            return 0.0
        if self.baseline == "all":
            return g.mean(0, keepdim=True)
        if self.baseline == "one number":
            return g.mean()
        if self.baseline == "own":
            return g.mean(1, keepdim=True)
        return (g.sum(0, keepdim=True) - g) / max(len(g) - 1, 1)


rl_inner_loss = Key(
    reference=_Surrogate(),
    tolerance=Tolerance(rtol=1e-4, atol=1e-5),
    mutants=(
        Mutant(
            "climbs",
            _Surrogate(climbs=True),
            "The sign is wrong: a step down this loss makes good actions rarer. The "
            "loss has a minus.",
        ),
        Mutant(
            "whole_return",
            _Surrogate(returns="whole"),
            "Every action is credited with the return of the whole trajectory, also "
            "with rewards from before it. Use the rewards from its step on.",
        ),
        Mutant(
            "past_rewards",
            _Surrogate(returns="past"),
            "The rewards are added up from the start to the action's step: what came "
            "before it. Add up what comes after.",
        ),
        Mutant(
            "later_rewards",
            _Surrogate(returns="later"),
            "The reward of the action's own step is left out. G_h begins with r_h.",
        ),
        Mutant(
            "reward_only",
            _Surrogate(returns="reward"),
            "The weight is the reward of the step alone. An action is answerable for "
            "all the rewards that follow.",
        ),
        Mutant(
            "no_discount",
            _Surrogate(no_discount=True),
            "The argument `discount` is not used, or not always: 0 is a discount, too.",
        ),
        Mutant(
            "discount_from_the_start",
            _Surrogate(from_the_start=True),
            "The discount counts from the first step of the trajectory. Seen from "
            "step h, r_h has the weight 1 and r_(h+1) the weight discount.",
        ),
        Mutant(
            "no_baseline",
            _Surrogate(baseline="none"),
            "There is no baseline. The gradient is right on average, but with rewards "
            "that are all negative it is very noisy.",
        ),
        Mutant(
            "itself_in_the_baseline",
            _Surrogate(baseline="all"),
            "The mean includes the trajectory itself, which shrinks the gradient by "
            "(N - 1) / N. Take the mean over the others.",
        ),
        Mutant(
            "one_baseline",
            _Surrogate(baseline="one number"),
            "One number serves as the baseline of all steps. Early steps have more "
            "rewards to go than late ones: one baseline per step.",
        ),
        Mutant(
            "baseline_over_time",
            _Surrogate(baseline="own"),
            "The baseline is a trajectory's mean over its own steps. Compare with the "
            "other trajectories at the same step.",
        ),
        Mutant(
            "mean_over_steps",
            _Surrogate(mean="steps"),
            "The mean runs over trajectories and steps, so the inner step shrinks with "
            "the horizon. Sum over the steps, mean over the trajectories.",
        ),
        Mutant(
            "summed",
            _Surrogate(mean="none"),
            "The trajectories are added up. Divide by their number N.",
        ),
        Mutant(
            "normalised",
            _Surrogate(normalised=True),
            "The advantages are divided by their standard deviation. That is often "
            "done, but it is another loss with another inner rate; it is not asked.",
        ),
        Mutant(
            "through_the_rewards",
            _Surrogate(attached=True),
            "A gradient flows into the rewards. In REINFORCE the advantage is a "
            "constant: detach it.",
        ),
        Mutant(
            "no_graph",
            _Surrogate(no_graph=True),
            "The loss has no gradient: the log-probabilities must stay in the graph.",
        ),
        Mutant(
            "one_trajectory",
            _Surrogate(alone=True),
            "A single trajectory has no others to compare with. Raise a ValueError.",
        ),
        Mutant(
            "in_place",
            _Surrogate(in_place=True),
            "The sums are written into the given rewards: also after detach() it is "
            "the same memory. Work on a clone, or collect new tensors.",
        ),
        Mutant(
            "power_divided",
            _Surrogate(divided=True),
            "You divide by powers of the discount, and those of 0 are 0. Add the "
            "rewards up from the last step to the first, without dividing.",
        ),
        Mutant(
            "steps_compared",
            _Surrogate(checks="steps"),
            "Only the numbers of steps are compared. Unequal numbers of trajectories "
            "are a ValueError, too: compare the whole shapes.",
        ),
        Mutant(
            "sizes_compared",
            _Surrogate(checks="sizes"),
            "Only the numbers of entries are compared, and 3 x 4 has as many as 4 x 3. "
            "Compare the shapes.",
        ),
        Mutant(
            "broadcast",
            _Surrogate(broadcasts=True),
            "Rewards of another shape are broadcast silently. Compare the shapes and "
            "raise a ValueError.",
        ),
    ),
)
