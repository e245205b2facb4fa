"""The plane, the policy, and the meta-gradient against a loop over tasks."""

import math

import pytest
import torch
from torch.distributions import Normal

from tlcourse import meta
from tlcourse.meta.navigation import walk

SETTINGS = meta.RlSettings(inner_lr=1e-3, steps=2, num_trajectories=3, horizon=4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def policy(width=6):
    made = meta.NavigationPolicy(width, seed=1).double()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator(), dtype=p.dtype))
    return made


def stacked(params, tasks):
    return {name: value.expand(tasks, *value.shape) for name, value in params.items()}


def test_goals_fill_the_square():
    goals = meta.sample_goals(4000, generator())
    assert goals.shape == (4000, 2) and float(goals.abs().max()) <= 0.5
    assert goals.mean(0).tolist() == pytest.approx([0, 0], abs=0.02)
    assert goals.std(0).tolist() == pytest.approx([12**-0.5] * 2, rel=0.05)


def test_a_walk_by_hand():
    goals = torch.tensor([[0.3, -0.4]])
    moves = [torch.tensor([[[0.05, -2.0]]]), torch.tensor([[[0.2, 0.01]]])]
    done = walk(lambda state, t: moves[t], goals, (2, 1, 1, 2))
    assert done.states[0, 0].flatten().tolist() == pytest.approx([0, 0, 0.05, -0.1])
    assert done.actions[0, 0].flatten().tolist() == pytest.approx([0.05, -2, 0.2, 0.01])
    wanted = [-math.hypot(0.25, 0.3), -math.hypot(0.15, 0.31)]
    assert done.rewards[0, 0].tolist() == pytest.approx(wanted)
    assert done.returns.shape == (1, 1)


def test_the_best_walker_arrives_and_no_other_is_better():
    goals = meta.sample_goals(20, generator())
    best = meta.best_returns(goals, 10)
    for i, goal in enumerate(goals.tolist()):
        x, y, total = 0.0, 0.0, 0.0
        for _ in range(10):
            x += max(-0.1, min(0.1, goal[0] - x))
            y += max(-0.1, min(0.1, goal[1] - y))
            total -= math.hypot(x - goal[0], y - goal[1])
        assert float(best[i]) == pytest.approx(total, abs=1e-5)
    made = policy().float()
    params = stacked(made.params(), 20)
    done = meta.rollout(made, params, goals, 30, 10, generator=generator(1))
    assert bool((done.returns <= best[:, None] + 1e-5).all())


def test_log_probs_are_those_of_a_normal():
    made, goals = policy(), meta.sample_goals(3, generator()).double()
    params = {
        name: value + 0.1 * torch.randn(value.shape, generator=generator(2)).double()
        for name, value in stacked(made.params(), 3).items()
    }
    done = meta.rollout(made, params, goals, 4, 5, generator=generator(1))
    found = made.log_probs(params, done)
    assert found.shape == (3, 4, 5)
    for t in range(3):
        own = {name: value[t] for name, value in params.items()}
        made.load_state_dict(own)
        noise = Normal(made.net(done.states[t]), made.log_std.exp())
        wanted = noise.log_prob(done.actions[t]).sum(-1)
        torch.testing.assert_close(found[t], wanted)


def test_one_step_gradient_has_a_closed_form():
    """For one step with reward -|a - g|^2 the return is -|mu - g|^2 - 2 sigma^2."""
    made, n = policy(), 400_000
    params = {n: v[None].requires_grad_() for n, v in made.params().items()}
    goals = torch.tensor([[0.2, -0.1]], dtype=torch.float64)
    done = meta.rollout(made, params, goals, n, 1, generator=generator())
    rewards = -((done.actions - goals[0]) ** 2).sum(-1)
    loss = meta.rl_inner_loss(made.log_probs(params, done), rewards).sum()
    bias, log_std = torch.autograd.grad(loss, [params["net.4.bias"], params["log_std"]])
    mean = made.net(torch.zeros(2, dtype=torch.float64)).detach()
    std = made.log_std.detach().exp()
    torch.testing.assert_close(bias[0], 2 * (mean - goals[0]), atol=4e-3, rtol=0)
    torch.testing.assert_close(log_std[0], 2 * std**2, atol=2e-3, rtol=0)


def test_policies_of_tasks_do_not_mix():
    made, goals = policy(), meta.sample_goals(3, generator()).double()
    params = made.params()
    _, all_returns = meta.rl_adapt(made, params, goals, SETTINGS, generator=generator())
    path, again = meta.rl_adapt(made, params, goals, SETTINGS, generator=generator())
    assert torch.equal(all_returns, again) and again.shape == (3, 3)
    assert [len(point["log_std"]) for point in path] == [3, 3, 3]
    other = goals.clone()
    other[2] = -other[2]
    changed, _ = meta.rl_adapt(made, params, other, SETTINGS, generator=generator())
    for name in params:
        assert torch.equal(path[2][name][:2], changed[2][name][:2])
        assert not torch.equal(path[2][name][2], path[0][name][2])


def one_task(made, params, goal, noise, estimator):
    """Textbook MAML for one goal: outer surrogate, score, and return at the end."""
    moved, score = dict(params), 0
    for step, eps in enumerate(noise):  # (N, H, 2)
        net = {n[4:]: v for n, v in moved.items() if n[:4] == "net."}
        logs, rewards = [], []
        for path in eps:
            state, own_logs, own_rewards = torch.zeros(2).double(), [], []
            for e in path:
                mean = torch.func.functional_call(made.net, net, state)
                std = moved["log_std"].exp()
                action = (mean + std * e).detach()
                own_logs.append(Normal(mean, std).log_prob(action).sum())
                state = state + action.clamp(-0.1, 0.1)
                own_rewards.append(-(state - goal).norm())
            logs.append(torch.stack(own_logs))
            rewards.append(torch.stack(own_rewards))
        logs, rewards = torch.stack(logs), torch.stack(rewards)
        gains = torch.stack([rewards[:, h:].sum(1) for h in range(rewards.shape[1])], 1)
        n = len(gains)
        base = (gains.sum(0) - gains) / (n - 1)
        loss = -(logs * (gains - base)).sum(1).mean()
        if step == len(noise) - 1:
            return loss, score, rewards.sum(1).mean()
        score = score + logs.sum()
        if estimator == "dice":
            magic = torch.exp(logs.cumsum(1) - logs.cumsum(1).detach())
            own = torch.exp(logs - logs.detach())
            loss = -(magic * rewards + (1 - own) * base).sum(1).mean()
        found = torch.autograd.grad(loss, list(moved.values()), create_graph=True)
        for name, g in zip(list(moved), found, strict=True):
            g = g.detach() if estimator == "fomaml" else g
            moved[name] = moved[name] - SETTINGS.inner_lr * g
    raise AssertionError


@pytest.mark.parametrize("estimator", ["naive", "e-maml", "dice", "fomaml"])
def test_meta_gradient_equals_a_loop_over_tasks(estimator):
    made, tasks = policy(), 3
    goals, params = meta.sample_goals(tasks, generator()).double(), made.params()
    grads, value = meta.rl_maml_grad(
        made, params, goals, SETTINGS, estimator=estimator, generator=generator(5)
    )
    g = generator(5)
    noise = [torch.randn(4, tasks, 3, 2, generator=g).double() for _ in range(3)]
    start = {name: v.clone().requires_grad_() for name, v in params.items()}
    pieces = [
        one_task(
            made, start, goals[t], [e[:, t].transpose(0, 1) for e in noise], estimator
        )
        for t in range(tasks)
    ]
    outer = sum(loss for loss, _, _ in pieces) / tasks
    gains = torch.stack([gain for _, _, gain in pieces])
    if estimator == "e-maml":
        for t in range(tasks):
            others = (gains.sum() - gains[t]) / (tasks - 1)
            outer = outer - pieces[t][1] * (gains[t] - others) / tasks
    wanted = torch.autograd.grad(outer, list(start.values()))
    torch.testing.assert_close(value, gains.mean())
    for name, v in zip(start, wanted, strict=True):
        torch.testing.assert_close(grads[name], v, rtol=1e-9, atol=1e-9)
        assert not grads[name].requires_grad


def test_training_helps_adaptation_and_nothing_global_moves():
    made = meta.NavigationPolicy(16)
    start, trained = made.params(), made.params()
    settings, g = meta.RlSettings(horizon=8), generator()
    state = torch.get_rng_state()
    adam = torch.optim.Adam(trained.values(), lr=1e-2)
    for _ in range(40):
        goals = meta.sample_goals(20, g)
        grads, _ = meta.rl_maml_grad(made, trained, goals, settings, generator=g)
        for name, value in trained.items():
            value.grad = grads[name]
        adam.step()
    goals = meta.sample_goals(100, generator(3))
    after = [
        meta.rl_adapt(made, params, goals, settings, generator=generator(4))[1][-1]
        for params in (start, trained)
    ]
    assert torch.equal(state, torch.get_rng_state())
    assert float((after[1] - after[0]).mean()) > 0.3


@pytest.mark.parametrize(
    "change, word",
    [
        ({"goals": torch.zeros(3)}, "goals"),
        ({"estimator": "reptile"}, "estimator"),
        ({"generator": None}, "generator"),
        ({"settings": meta.RlSettings(inner_lr=-1.0)}, "inner_lr"),
        ({"settings": meta.RlSettings(num_trajectories=1)}, "num_trajectories"),
        ({"settings": meta.RlSettings(horizon=0)}, "horizon"),
    ],
)
def test_bad_input_names_the_argument(change, word):
    made = meta.NavigationPolicy(4)
    given = {"goals": torch.zeros(2, 2), "settings": SETTINGS, "generator": generator()}
    with pytest.raises(ValueError, match=word):
        meta.rl_maml_grad(made, made.params(), **{**given, **change})


def test_other_bad_input():
    with pytest.raises(ValueError, match="std"):
        meta.NavigationPolicy(4, std=0)
    made = meta.NavigationPolicy(4)
    with pytest.raises(ValueError, match="one entry per goal"):
        meta.rollout(made, made.params(), torch.zeros(3, 2), generator=generator())
