"""Policy gradients against an enumerated world, where every expectation is a sum."""

import itertools

import pytest
import torch
from torch.func import grad

from tlcourse import meta
from tlcourse.meta.policy_gradient import leave_one_out

# Two steps, two actions; the second state is the first action. Six numbers theta.
THETA = torch.tensor([[0.3, -0.2], [0.5, 0.1], [-0.4, 0.7]], dtype=torch.float64)
FIRST = torch.tensor([1.0, -0.5], dtype=torch.float64)
SECOND = torch.tensor([[0.2, 2.0], [-1.0, 0.4]], dtype=torch.float64)
PATHS = list(itertools.product((0, 1), (0, 1)))
REWARDS = torch.stack([torch.stack([FIRST[a], SECOND[a, b]]) for a, b in PATHS])
PAIRS = torch.tensor(list(itertools.product(range(4), range(4))))  # (16, 2)


def log_probs(theta):
    """Of all four paths, (4, 2)."""
    p = theta.log_softmax(1)
    return torch.stack([torch.stack([p[0, a], p[1 + a, b]]) for a, b in PATHS])


def expected(theta, discount=1.0):
    """The return's expectation, by enumeration."""
    weights = torch.tensor([1, discount], dtype=torch.float64)
    return (log_probs(theta).sum(1).exp() * (REWARDS * weights).sum(1)).sum()


def chances(theta):
    """Probability of every pair of paths, (16,)."""
    return log_probs(theta).sum(1)[PAIRS].sum(1).exp()


def mean_of(surrogate):
    """Expectation over pairs of paths, whose chances are constants, as for samples."""

    def value(theta):
        losses = surrogate(log_probs(theta)[PAIRS], REWARDS[PAIRS])
        return (chances(theta.detach()) * losses).sum()

    return value


def with_baseline(discount):
    def surrogate(logs, rewards):
        baseline = leave_one_out(meta.returns_to_go(rewards, discount))
        return meta.dice_loss(logs, rewards, discount, baseline)

    return surrogate


def gap(a, b):
    return float((a - b).abs().max())


def derivative(value, theta):
    theta = theta.clone().requires_grad_()
    return torch.autograd.grad(value(theta), theta)[0]


def second(value, theta):
    return torch.autograd.functional.hessian(value, theta)


def test_returns_and_advantages_equal_the_loop():
    rewards = torch.randn(3, 4, 5, dtype=torch.float64)
    gains = meta.returns_to_go(rewards, 0.9)
    found = meta.advantages(rewards, 0.9)
    for t, i, h in itertools.product(range(3), range(4), range(5)):
        wanted = sum(0.9 ** (u - h) * rewards[t, i, u] for u in range(h, 5))
        assert float(gains[t, i, h]) == pytest.approx(float(wanted))
        others = [gains[t, j, h] for j in range(4) if j != i]
        wanted = gains[t, i, h] - sum(others) / 3
        assert float(found[t, i, h]) == pytest.approx(float(wanted))


def test_reinforce_has_the_right_first_gradient():
    wanted = -grad(expected)(THETA)
    assert gap(derivative(mean_of(meta.rl_inner_loss), THETA), wanted) < 1e-14


@pytest.mark.parametrize("discount", [1.0, 0.7])
@pytest.mark.parametrize("baseline", [False, True])
def test_dice_is_right_in_both_orders(discount, baseline):
    plain = lambda logs, r: meta.dice_loss(logs, r, discount)  # noqa: E731
    value = mean_of(with_baseline(discount) if baseline else plain)
    truth = lambda theta: -expected(theta, discount)  # noqa: E731
    assert gap(value(THETA), truth(THETA)) < 1e-14
    assert gap(derivative(value, THETA), grad(truth)(THETA)) < 1e-14
    assert gap(second(value, THETA), second(truth, THETA)) < 1e-14


def test_reinforce_loses_the_outer_product():
    naive = second(mean_of(meta.rl_inner_loss), THETA)
    truth = second(lambda theta: -expected(theta), THETA)
    assert gap(naive, truth) > 0.1
    dice = second(mean_of(with_baseline(1.0)), THETA)
    assert gap(dice, truth) < 1e-14


def test_score_term_completes_the_meta_gradient():
    """Sampled adaptation: the truth is the derivative of a sum over all pairs."""
    rate = 0.3

    def adapted(theta):
        """The parameters after the step on every pair, (16, 3, 2)."""
        logs = log_probs(theta)
        rows = []
        for pair in PAIRS:
            value = meta.rl_inner_loss(logs[pair], REWARDS[pair])
            (g,) = torch.autograd.grad(value, theta, create_graph=True)
            rows.append(theta - rate * g)
        return torch.stack(rows)

    theta = THETA.clone().requires_grad_()
    after = torch.stack([expected(end) for end in adapted(theta)])
    (truth,) = torch.autograd.grad((chances(theta) * after).sum(), theta)
    theta = THETA.clone().requires_grad_()
    after = torch.stack([expected(end) for end in adapted(theta)])
    fixed, scores = chances(THETA), chances(theta).log()
    (path,) = torch.autograd.grad((fixed * after).sum(), theta, retain_graph=True)
    (term,) = torch.autograd.grad((fixed * scores * after.detach()).sum(), theta)
    assert gap(path + term, truth) < 1e-14
    assert gap(path, truth) > 1e-2  # what the naive estimator misses


def test_advantages_are_constants():
    logs = torch.randn(3, 4, requires_grad=True)
    rewards = torch.randn(3, 4, requires_grad=True)
    for loss in (meta.rl_inner_loss, meta.dice_loss):
        rewards.grad = None
        loss(logs, rewards).backward()
        assert rewards.grad is None and logs.grad is not None


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: meta.rl_inner_loss(torch.zeros(1, 3), torch.zeros(1, 3)), "N >= 2"),
        (lambda: meta.rl_inner_loss(torch.zeros(3), torch.zeros(3)), "log_probs"),
        (lambda: meta.rl_inner_loss(torch.zeros(2, 3), torch.zeros(3, 2)), "rewards"),
        (lambda: meta.dice_loss(torch.zeros(2, 3, 2), torch.zeros(2, 3)), "log_probs"),
        (lambda: meta.returns_to_go(torch.zeros(2, 3), 1.1), "discount"),
        (lambda: meta.returns_to_go(torch.zeros(2, 0)), "at least one step"),
        (lambda: meta.returns_to_go(torch.zeros(2, dtype=torch.int64)), "floats"),
    ],
)
def test_bad_input_names_the_argument(call, word):
    with pytest.raises(ValueError, match=word):
        call()
