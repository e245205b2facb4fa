"""Entropy, pseudo-labels and the validators against slow loops and known answers."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from tlcourse import adapt
from tlcourse.adapt import validators


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_entropy_is_torchs():
    logits = normal(20, 5) * 3
    expected = Categorical(logits=logits).entropy().mean()
    assert torch.allclose(adapt.entropy(logits), expected)


def test_entropy_has_its_gradient():
    assert torch.autograd.gradcheck(adapt.entropy, normal(4, 3).requires_grad_())


def test_entropy_of_certain_predictions_is_zero_and_so_is_its_gradient():
    logits = torch.tensor([[1e4, 0.0, -1e4]], requires_grad=True)
    value = adapt.entropy(logits)
    value.backward()
    assert value.item() == 0 and torch.equal(logits.grad, torch.zeros(1, 3))


@pytest.mark.parametrize(
    "logits",
    [torch.zeros(0, 3), torch.zeros(3), torch.tensor([[math.nan, 0.0]]), [[0.0]]],
)
def test_entropy_refuses(logits):
    with pytest.raises(ValueError, match="logits"):
        adapt.entropy(logits)


@pytest.mark.parametrize("per_class", [None, 1, 3, 100])
def test_pseudo_labels_are_a_plain_loop(per_class):
    logits = normal(50, 4) * 2
    p = logits.softmax(1).tolist()
    sure = [(max(row), i, row.index(max(row))) for i, row in enumerate(p)]
    sure = sorted((t for t in sure if t[0] >= 0.6), reverse=True)
    kept = []
    for triple in sure:
        if per_class is None or sum(t[2] == triple[2] for t in kept) < per_class:
            kept.append(triple)
    kept.sort(key=lambda t: t[1])
    indices, labels = adapt.pseudo_labels(logits, 0.6, per_class)
    assert indices.tolist() == [t[1] for t in kept]
    assert labels.tolist() == [t[2] for t in kept]


def test_pseudo_labels_may_be_none_and_carry_no_graph():
    logits = torch.zeros(4, 3, requires_grad=True)
    indices, labels = adapt.pseudo_labels(logits, 0.9)
    assert indices.shape == labels.shape == (0,)
    assert indices.dtype == labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threshold": 1.2}, "threshold"),
        ({"per_class": 0}, "per_class"),
        ({"per_class": 1.5}, "per_class"),
    ],
)
def test_pseudo_labels_refuse(settings, words):
    with pytest.raises(ValueError, match=words):
        adapt.pseudo_labels(torch.zeros(3, 2), **settings)


def test_information_maximisation_is_mutual_information():
    p = (normal(30, 4) * 2).softmax(1)
    joint = p / len(p)  # uniform over samples
    independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    expected = (joint * (joint / independent).log()).sum().item()
    assert validators.information_maximisation(p.log()) == pytest.approx(expected)


def test_one_class_for_all_is_certain_and_tells_nothing():
    logits = torch.tensor([[50.0, 0.0]] * 5)
    assert adapt.entropy(logits).item() == pytest.approx(0, abs=1e-6)
    assert validators.information_maximisation(logits) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("batch_size", [3, 7, 1024])
def test_snd_is_the_papers_loop(batch_size):
    logits = normal(12, 3) * 2
    p = logits.softmax(1)
    p = p / p.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(12):
        others = [float(p[i] @ p[j]) / 0.05 for j in range(12) if j != i]
        weights = np.exp(np.array(others) - max(others))
        weights /= weights.sum()
        total -= (weights * np.log(weights)).sum()
    assert validators.snd(logits, batch_size=batch_size) == pytest.approx(total / 12)


def test_source_risk_is_cross_entropy():
    logits, y = normal(9, 3), torch.arange(9) % 3
    expected = -logits.log_softmax(1)[torch.arange(9), y].mean().item()
    assert validators.source_risk(logits, y) == pytest.approx(expected)


def test_dev_is_numpys():
    losses, weights = normal(40).abs(), normal(40, seed=1).abs()
    ours = validators.dev_risk(losses, weights).item()
    wl = (weights * losses).numpy()
    covariance = np.cov(wl, weights.numpy(), ddof=1)
    eta = -covariance[0, 1] / covariance[1, 1]
    expected = wl.mean() + eta * weights.numpy().mean() - eta
    assert ours == pytest.approx(expected)


def test_dev_of_equal_weights_is_the_weighted_mean():
    losses = normal(7).abs().float()
    risk = validators.dev_risk(losses, torch.full((7,), 0.7))
    assert risk.item() == pytest.approx(0.7 * losses.mean().item())


def test_dev_varies_less_than_the_weighted_mean():
    """The reason for the control variate: weights from a known density ratio."""
    plain, controlled = [], []
    for seed in range(200):
        x = normal(60, seed=seed)
        weights = (x - 0.5).square().div(-2).exp() / x.square().div(-2).exp()
        losses = (x - 0.5).square() + 1
        plain.append((weights * losses).mean().item())
        controlled.append(validators.dev_risk(losses, weights).item())
    assert np.std(controlled) < 0.8 * np.std(plain)
    assert abs(np.mean(controlled) - 2) < 0.1  # E_target[(x - 0.5)^2 + 1] = 2


@pytest.mark.parametrize(
    ("losses", "weights", "words"),
    [
        (torch.ones(3), torch.ones(4), "one weight per loss"),
        (torch.ones(1), torch.ones(1), "n >= 2"),
        (torch.ones(3), -torch.ones(3), "negative"),
        (torch.tensor([1.0, math.nan]), torch.ones(2), "finite"),
        (torch.ones(3, dtype=torch.int64), torch.ones(3), "floating"),
        (torch.ones(3, 1), torch.ones(3), "losses"),
    ],
)
def test_dev_refuses(losses, weights, words):
    with pytest.raises(ValueError, match=words):
        validators.dev_risk(losses, weights)


def test_dev_weights_find_a_known_density_ratio():
    """Two Gaussians: the log odds are linear, so logistic regression is right."""
    z_train, z_target = normal(4000, 1), normal(4000, 1, seed=1) + 1
    z = torch.tensor([[-1.0], [0.0], [0.5], [1.0], [2.0]], dtype=torch.float64)
    weights = validators.dev_weights(z, z_train, z_target)
    assert torch.allclose(weights.log(), z[:, 0] - 0.5, atol=0.15)


def test_dev_weights_know_unequal_sizes():
    z_train, z_target = normal(3000, 2), normal(500, 2, seed=1)
    weights = validators.dev_weights(normal(200, 2, seed=2), z_train, z_target)
    assert weights.mean().item() == pytest.approx(1, abs=0.15)
