"""Gains and transferability scores against oracles that share no code with them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, spearmanr

from tlcourse.transferability import leep, log_me, rank_correlation, transfer_gain


def curves(seed, *shape):
    return np.random.default_rng(seed).uniform(0, 1, shape)


# transfer_gain


def test_gain_is_the_mean_gap_over_a_fine_log_axis():
    shots, a, b = [1, 3, 4, 20], curves(0, 4), curves(1, 4)
    u = np.linspace(0, np.log(20), 200_001)
    gap = np.interp(u, np.log(shots), a - b)
    assert transfer_gain(shots, a, b).item() == pytest.approx(gap.mean(), abs=1e-5)


def test_gain_of_a_constant_gap_is_that_gap():
    b = torch.rand(6, 3)
    gains = transfer_gain([2, 5, 40], b + 0.25, b)
    assert gains.shape == (6,) and gains.dtype == torch.float64
    assert gains.tolist() == pytest.approx([0.25] * 6, abs=1e-6)


def test_gain_is_computed_seed_by_seed():
    a, b = curves(2, 5, 4), curves(3, 5, 4)
    shots = [1, 2, 5, 9]
    one_by_one = [transfer_gain(shots, x, y) for x, y in zip(a, b, strict=True)]
    torch.testing.assert_close(transfer_gain(shots, a, b), torch.stack(one_by_one))


def test_every_doubling_weighs_the_same():
    b = torch.zeros(4)
    early, late = torch.tensor([1.0, 1, 0, 0]), torch.tensor([0, 0, 1.0, 1])
    gains = [transfer_gain([1, 2, 4, 8], a, b) for a in (early, late)]
    assert gains[0] == gains[1]


@pytest.mark.parametrize(
    "shots, shapes, said",
    [
        ([1], ((1,), (1,)), "at least two"),
        ([1, 1], ((2,), (2,)), "increasing"),
        ([0, 1], ((2,), (2,)), "positive"),
        ([1, math.nan], ((2,), (2,)), "increasing"),
        ([1, 2], ((3,), (3,)), "like shots"),
        ([1, 2], ((2,), (4, 2)), "like shots"),
        ([1, 2], ((), ()), "like shots"),
    ],
)
def test_gain_refuses(shots, shapes, said):
    with pytest.raises(ValueError, match=said):
        transfer_gain(shots, *(np.ones(shape) for shape in shapes))


# leep


def softmaxed(n, s, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(n, s, generator=g, dtype=torch.float64)).softmax(1)


def labels(n, c, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(c, (n,), generator=g)


def entropy(y):
    p = y.bincount().double() / len(y)
    return -torch.xlogy(p, p).sum().item()


def one_em_step(theta, y):
    """Log-likelihood of sum_z k(y|z) theta_z after one EM step from k = P(y)."""
    prior = y.bincount().double() / len(y)
    head = prior[:, None].repeat(1, theta.shape[1])
    responsibility = head[y] * theta
    responsibility /= responsibility.sum(1, keepdim=True)
    counts = torch.zeros_like(head)
    for i, target in enumerate(y.tolist()):
        counts[target] += responsibility[i]
    head = counts / counts.sum(0)
    return (head[y] * theta).sum(1).log().mean()


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 40), st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_leep_is_one_em_step_and_lies_between_its_bounds(n, s, c, seed):
    theta, y = softmaxed(n, s, seed), labels(n, c, seed)
    score = leep(theta, y)
    torch.testing.assert_close(score, one_em_step(theta, y))
    assert -entropy(y) - 1e-9 <= score.item() <= 1e-9


def test_leep_by_hand():
    theta = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    score = leep(theta, torch.tensor([0, 1]))
    assert score.item() == pytest.approx(math.log(2 / 3))
    assert score.dtype == torch.float64


def test_leep_of_a_perfect_and_of_a_blind_source():
    y = torch.arange(12) % 3
    assert leep(torch.eye(3)[(y + 1) % 3], y).item() == pytest.approx(0)
    blind = torch.full((12, 4), 0.25)
    assert leep(blind, y).item() == pytest.approx(-entropy(y))


def test_leep_ignores_source_classes_without_mass():
    theta, y = softmaxed(20, 4), labels(20, 3)
    wider = torch.cat([theta, torch.zeros(20, 2)], dim=1)
    torch.testing.assert_close(leep(wider, y), leep(theta, y))


@pytest.mark.parametrize(
    "theta, y, said",
    [
        (softmaxed(4, 3)[:, 0], labels(4, 2), r"\(n, s\)"),
        (softmaxed(4, 3), labels(3, 2), r"labels \(n,\)"),
        (softmaxed(4, 3)[:0], labels(4, 2)[:0], "n >= 1"),
        (torch.randn(4, 3), labels(4, 2), "softmax"),
        (softmaxed(4, 3) * math.nan, labels(4, 2), "softmax"),
        (softmaxed(4, 3), labels(4, 2).float(), "int64"),
        (softmaxed(4, 3), labels(4, 2) - 1, "from 0 on"),
    ],
)
def test_leep_refuses(theta, y, said):
    with pytest.raises(ValueError, match=said):
        leep(theta, y)


# log_me


def clusters(n, d, c, noise=0.7, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    x = rng.normal(0, 1, (c, d))[y] + rng.normal(0, noise, (n, d))
    return torch.from_numpy(x), torch.from_numpy(y)


def best_evidence(f, t):
    """max over alpha, beta of log N(t; 0, F F'/alpha + I/beta), by brute force."""

    def loss(log):
        alpha, beta = np.exp(np.clip(log, -20, 20))
        covariance = f @ f.T / alpha + np.eye(len(f)) / beta
        return -multivariate_normal.logpdf(t, cov=covariance)

    starts = [(a, b) for a in (-2.0, 2.0, 5.0) for b in (0.0, 3.0)]
    options = {"xatol": 1e-7, "fatol": 1e-9}
    return max(-minimize(loss, s, method="Nelder-Mead", options=options).fun
               for s in starts)  # fmt: skip


@pytest.mark.parametrize("n, d, c", [(30, 3, 2), (40, 6, 4), (14, 20, 2)])
def test_log_me_is_the_maximum_of_the_evidence(n, d, c):
    f, y = clusters(n, d, c, noise=1.5)
    found = [best_evidence(f.numpy(), (y == k).double().numpy()) / n for k in range(c)]
    assert log_me(f, y).item() == pytest.approx(np.mean(found), abs=1e-6)


def test_log_me_does_not_see_a_rotation_of_the_features():
    f, y = clusters(50, 8, 3)
    q, _ = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))
    torch.testing.assert_close(log_me(f @ q, y), log_me(f, y))


def test_log_me_does_not_see_scale_or_empty_features():
    f, y = clusters(50, 8, 3)
    padded = torch.cat([10 * f, torch.zeros(50, 5)], dim=1)
    torch.testing.assert_close(log_me(padded, y), log_me(f, y))


def test_log_me_falls_as_the_features_get_noisier():
    scores = [log_me(*clusters(90, 5, 3, noise)).item() for noise in (0.3, 1, 3)]
    assert scores == sorted(scores, reverse=True)


def test_log_me_of_features_that_say_nothing_is_that_of_noise_alone():
    _, y = clusters(60, 4, 3)
    f = torch.randn(60, 4, dtype=torch.float64, generator=torch.manual_seed(1)) * 1e-3
    t = [(y == k).double() for k in range(3)]
    floor = np.mean([-0.5 * (math.log(2 * math.pi * v.square().mean()) + 1) for v in t])
    assert log_me(f, y).item() == pytest.approx(floor, abs=0.01)


def test_log_me_does_not_see_the_names_of_the_classes():
    f, y = clusters(50, 8, 3)
    names = torch.tensor([2, 7, 11])
    torch.testing.assert_close(log_me(f, names[y]), log_me(f, y))


def test_log_me_takes_float32():
    f, y = clusters(50, 8, 3)
    assert log_me(f.float(), y).item() == pytest.approx(log_me(f, y).item(), abs=1e-5)


@pytest.mark.parametrize(
    "f, y, said",
    [
        (torch.ones(4), labels(4, 2), r"\(n, d\)"),
        (torch.ones(4, 2), labels(3, 2), r"labels \(n,\)"),
        (torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]), "all zero"),
        (torch.full((4, 2), math.inf), torch.tensor([0, 1, 0, 1]), "finite"),
        (torch.ones(4, 2), torch.zeros(4, dtype=torch.int64), "one class"),
        (torch.eye(2)[[0, 1, 0, 1]], torch.tensor([0, 1, 0, 1]), "no maximum"),
    ],
)
def test_log_me_refuses(f, y, said):
    with pytest.raises(ValueError, match=said):
        log_me(f, y)


# rank_correlation


def test_rank_correlation_is_scipys_also_with_ties():
    a, b = np.random.default_rng(0).integers(0, 6, (2, 15))
    assert rank_correlation(a, b).value == pytest.approx(spearmanr(a, b).statistic)


def test_rank_correlation_of_any_rising_relation_is_one():
    x = np.arange(8.0)
    assert rank_correlation(x, np.exp(x)) == pytest.approx((1, 1, 1))


def test_bootstrap_interval_holds_the_true_correlation_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    true = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's for a normal pair with r = 0.6
    held = 0
    for _ in range(100):
        a, noise = rng.normal(size=(2, 25))
        found = rank_correlation(a, 0.6 * a + 0.8 * noise)
        held += found.low <= true <= found.high
    assert 85 <= held <= 99


@pytest.mark.parametrize(
    "a, b, said",
    [([1, 2, 3], [1, 2, 3], "at least 4"), ([1, 2, 3, 4], [1, 2, 3], "paired"),
     ([1, 2, 3, 4], [5, 5, 5, 5], "vary")],
)  # fmt: skip
def test_rank_correlation_refuses(a, b, said):
    with pytest.raises(ValueError, match=said):
        rank_correlation(a, b)
