"""Reversal, schedule and maps against autograd, POT and skada."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tlcourse import adapt


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_reversal_is_minus_lambda_times_the_gradient():
    z = normal(4, 3).requires_grad_()
    weight = normal(4, 3, seed=1)
    out = adapt.grad_reverse(z, 0.3)
    assert torch.equal(out, z)
    (out.sin() * weight).sum().backward()
    assert torch.allclose(z.grad, -0.3 * (z.cos() * weight).detach())


def test_two_reversals_pass_gradcheck():
    """One reversal is no derivative of its forward; two of strength 1 are."""
    z = normal(3, 2).requires_grad_()
    twice = lambda z: adapt.grad_reverse(adapt.grad_reverse(z.exp()))  # noqa: E731
    assert torch.autograd.gradcheck(twice, z)
    assert not torch.autograd.gradcheck(adapt.grad_reverse, z, raise_exception=False)


def test_only_the_features_are_reversed():
    x, body, head = normal(8, 3), nn.Linear(3, 4).double(), nn.Linear(4, 1).double()
    plain = head(body(x)).square().mean()
    reversed_ = head(adapt.grad_reverse(body(x), 2.0)).square().mean()
    for parameter in body.parameters():
        a, b = (
            torch.autograd.grad(loss, parameter, retain_graph=True)[0]
            for loss in (plain, reversed_)
        )
        assert torch.allclose(b, -2 * a)
    for parameter in head.parameters():
        a, b = (
            torch.autograd.grad(loss, parameter, retain_graph=True)[0]
            for loss in (plain, reversed_)
        )
        assert torch.allclose(b, a)


@pytest.mark.parametrize("strength", [-1.0, math.nan, math.inf, "1", True])
def test_reversal_refuses(strength):
    with pytest.raises(ValueError, match="strength"):
        adapt.grad_reverse(torch.ones(2), strength)


def test_reversal_refuses_whole_numbers():
    with pytest.raises(ValueError, match="gradient"):
        adapt.grad_reverse(torch.ones(2, dtype=torch.int64))


@given(st.floats(0, 1), st.floats(0.1, 50))
def test_schedule_is_the_papers(p, slope):
    paper = 2 / (1 + math.exp(-slope * p)) - 1
    assert adapt.dann_lambda(p, slope) == pytest.approx(paper, abs=1e-12)


def test_schedule_has_no_overflow():
    assert adapt.dann_lambda(0.0) == 0.0
    assert adapt.dann_lambda(1.0, slope=1e6) == 1.0


@pytest.mark.parametrize("bad", [(-0.1,), (1.1,), (20,), (0.5, 0.0), (0.5, -1.0)])
def test_schedule_refuses(bad):
    with pytest.raises(ValueError, match="progress|slope"):
        adapt.dann_lambda(*bad)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 25, 3), (7, 60, 5), (5, 6, 9)])
def test_coral_gives_the_targets_mean_and_covariance(n, m, d):
    mixed = normal(d, d, seed=9)
    source, target = normal(n, d) + 3, normal(m, d, seed=1) @ mixed - 1
    moved = adapt.coral_map(source, target)
    assert torch.allclose(moved.mean(0), target.mean(0))
    if n > d and m > d:
        exact = adapt.coral_map(source, target, ridge=0)
        assert torch.allclose(exact.T.cov(), target.T.cov())


def test_coral_equals_skada():
    from skada import CORALAdapter

    source, target = normal(60, 4), normal(50, 4, seed=1) @ normal(4, 4, seed=2)
    source, target = source - source.mean(0), target - target.mean(0)
    x = torch.cat([source, target]).numpy()
    domain = np.r_[np.ones(60), -2 * np.ones(50)].astype(int)
    adapter = CORALAdapter(reg=None, assume_centered=True)
    theirs = adapter.fit_transform(x, sample_domain=domain)[:60]
    # skada divides by n where we divide by n - 1: equal up to one factor.
    factor = math.sqrt((50 / 49) / (60 / 59))
    ours = adapt.coral_map(source, target, ridge=0).numpy()
    assert np.allclose(ours, theirs * factor, atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_coral_does_not_depend_on_order_or_position(seed):
    source, target = normal(20, 3, seed=seed), normal(15, 3, seed=seed + 1)
    order = torch.randperm(20)
    moved = adapt.coral_map(source, target)
    assert torch.allclose(adapt.coral_map(source[order], target), moved[order])
    assert torch.allclose(adapt.coral_map(source + 5, target), moved)
    assert torch.allclose(adapt.coral_map(source, target + 5), moved + 5)


def test_coral_keeps_dtype_and_inputs():
    source, target = normal(9, 3).float(), normal(9, 3, seed=1).float()
    before = source.clone()
    assert adapt.coral_map(source, target).dtype == torch.float32
    assert torch.equal(source, before)


@pytest.mark.parametrize(
    ("source", "target", "ridge", "words"),
    [
        (normal(5, 3), normal(5, 4), 1.0, "same layer"),
        (normal(1, 3), normal(5, 3), 1.0, "source needs at least 2"),
        (normal(5, 3), normal(1, 3), 1.0, "target needs at least 2"),
        (normal(5, 3), normal(5, 3).float(), 1.0, "dtype"),
        (normal(5), normal(5, 3), 1.0, r"source must be a tensor \(n, d\)"),
        (normal(5, 3) * math.nan, normal(5, 3), 1.0, "source holds NaN"),
        (normal(5, 3), normal(5, 3), -1.0, "ridge"),
        (normal(3, 5), normal(9, 5), 0.0, "ridge > 0"),
        (torch.ones(4, 2, dtype=torch.int64), normal(4, 2), 1.0, "floating"),
    ],
)
def test_coral_refuses(source, target, ridge, words):
    with pytest.raises(ValueError, match=words):
        adapt.coral_map(source, target, ridge)


def test_transport_is_pots_barycentric_map():
    import ot

    source, target = normal(12, 2), normal(9, 2, seed=1) + 2
    theirs = ot.da.EMDTransport(metric="sqeuclidean")
    moved = theirs.fit_transform(Xs=source.numpy(), Xt=target.numpy())
    assert np.allclose(adapt.transport_map(source, target).numpy(), moved)


def test_transport_of_a_shift_is_the_shift():
    source = normal(30, 3)
    target = (source + 10)[torch.randperm(30)]
    assert torch.allclose(adapt.transport_map(source, target), source + 10)


def test_transport_refuses():
    with pytest.raises(ValueError, match="same layer"):
        adapt.transport_map(normal(5, 3), normal(5, 4))
    with pytest.raises(ValueError, match="at least 1"):
        adapt.transport_map(normal(0, 3), normal(5, 3))
