"""Permutation tests, other distances and corrections, against independent forms."""

import itertools

import numpy as np
import ot
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist

from tlcourse import shift


def normal(n, d, seed, shift_by=0.0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=dtype) + shift_by


# --- permutation test ---------------------------------------------------------


@pytest.mark.parametrize("n, m", [(30, 41), (290, 300)])
def test_all_splits_at_once_equal_the_loop(n, m):
    x, y = normal(n, 3, 0, dtype=torch.float64), normal(m, 3, 1, dtype=torch.float64)
    sigmas = [0.8, 1.9]
    fast = shift.permutation_test(x, y, num_permutations=20, bandwidth=sigmas, seed=3)
    loop = shift.permutation_test(
        x, y, lambda a, b: shift.mmd2(a, b, sigmas), num_permutations=20, seed=3
    )
    assert fast.statistic == pytest.approx(float(shift.mmd2(x, y, sigmas)), rel=1e-9)
    torch.testing.assert_close(fast.null, loop.null, rtol=1e-9, atol=1e-12)
    assert fast.p_value == loop.p_value
    single = shift.permutation_test(
        x.float(), y.float(), num_permutations=20, bandwidth=sigmas, seed=3
    )
    torch.testing.assert_close(single.null, loop.null, rtol=0, atol=1e-6)


def test_the_null_is_that_of_all_splits():
    """3 and 3 rows: the 20 splits can be written down."""
    x, y = normal(3, 2, 0), normal(3, 2, 1, 0.5)
    z = torch.cat([x, y])
    every = torch.tensor(
        [
            float(shift.mmd2(z[list(a)], z[[i for i in range(6) if i not in a]], 1.0))
            for a in itertools.combinations(range(6), 3)
        ]
    )
    found = shift.permutation_test(x, y, num_permutations=4000, bandwidth=1.0)
    share = float((every >= every[0] - 1e-6).double().mean())
    assert found.p_value == pytest.approx(share, abs=5 * 0.5 / 4000**0.5)
    gaps = (found.null[:, None] - every).abs().min(1).values
    assert float(gaps.max()) < 1e-6


def test_it_keeps_its_level_and_p_is_never_zero():
    p = [
        shift.permutation_test(
            normal(8, 1, s), normal(8, 1, s + 500), num_permutations=19, bandwidth=1.0
        ).p_value
        for s in range(300)
    ]
    # P(p <= 0.1) is at most 0.1; 4 standard deviations of a share of 300.
    assert np.mean(np.array(p) <= 0.1) < 0.1 + 4 * (0.09 / 300) ** 0.5
    assert min(p) >= 1 / 20
    apart = shift.permutation_test(normal(20, 2, 0), normal(20, 2, 1, 9))
    assert apart.p_value == 1 / 1001


def test_ties_count_and_seeds_decide():
    x, y = normal(5, 2, 0), normal(7, 2, 1)
    constant = shift.permutation_test(x, y, lambda a, b: 0.0, num_permutations=9)
    assert constant.p_value == 1
    state = torch.get_rng_state()
    runs = [shift.permutation_test(x, y, num_permutations=9, seed=s) for s in (1, 1, 2)]
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(runs[0].null, runs[1].null)
    assert not torch.equal(runs[0].null, runs[2].null)


def test_infinite_statistics_tie_and_nan_is_refused():
    x, y = normal(5, 2, 0), normal(7, 2, 1)
    few = dict(num_permutations=9)
    always = shift.permutation_test(x, y, lambda a, b: np.inf, **few)
    assert always.p_value == 1
    first = x[0, 0]
    once = shift.permutation_test(
        x, y, lambda a, b: np.inf if torch.equal(a, x) else float(first), **few
    )
    assert once.p_value == 0.1
    with pytest.raises(ValueError, match="statistic is nan"):
        shift.permutation_test(x, y, lambda a, b: np.nan, **few)


def test_permutation_test_refuses():
    x, y = normal(5, 2, 0), normal(7, 2, 1)
    with pytest.raises(ValueError, match="num_permutations"):
        shift.permutation_test(x, y, num_permutations=0)
    with pytest.raises(ValueError, match="bandwidth belongs to"):
        shift.permutation_test(x, y, shift.energy_distance, bandwidth=1.0)
    with pytest.raises(ValueError, match="y must have at least 2 rows"):
        shift.permutation_test(x, y[:1])


# --- distances ----------------------------------------------------------------


def test_coral_equals_numpy_and_its_gradient_is_right():
    s, t = normal(9, 4, 0, 3, torch.float64), normal(6, 4, 1, dtype=torch.float64) * 2
    gap = np.cov(s.numpy(), rowvar=False) - np.cov(t.numpy(), rowvar=False)
    assert float(shift.coral_distance(s, t)) == pytest.approx((gap**2).sum() / 64)
    assert torch.autograd.gradcheck(shift.coral_distance, (s.requires_grad_(), t))
    with pytest.raises(ValueError, match="target must have at least 2 rows"):
        shift.coral_distance(s, t[:1])


@pytest.mark.parametrize("unbiased", [True, False])
def test_energy_distance_equals_scipy(unbiased):
    x, y = normal(9, 3, 0), normal(7, 3, 1, 0.5)
    a, b, c = cdist(x, x).sum(), cdist(y, y).sum(), cdist(x, y).mean()
    sizes = (9 * 8, 7 * 6) if unbiased else (81, 49)
    wanted = 2 * c - a / sizes[0] - b / sizes[1]
    got = shift.energy_distance(x, y, unbiased)
    assert float(got) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("n, m", [(12, 12), (12, 7), (1, 5), (30, 45)])
def test_sliced_wasserstein_equals_exact_transport(n, m, p):
    x, y = normal(n, 3, 0).double(), normal(m, 3, 1, 0.5).double()
    g = torch.Generator().manual_seed(5)
    theta = F.normalize(torch.randn(3, 16, generator=g), dim=0).double()
    cost = np.mean(
        [
            ot.wasserstein_1d((x @ theta)[:, i].numpy(), (y @ theta)[:, i].numpy(), p=p)
            for i in range(16)
        ]
    )
    got = shift.sliced_wasserstein(x, y, 16, p=p, seed=5)
    assert float(got) == pytest.approx(cost ** (1 / p), rel=1e-6)
    with_pot = ot.sliced_wasserstein_distance(
        x.numpy(), y.numpy(), projections=theta.numpy(), p=p
    )
    assert float(got) == pytest.approx(float(with_pot), rel=1e-6)


def test_sliced_wasserstein_of_equal_samples_has_a_gradient():
    x = normal(6, 2, 0).requires_grad_()
    distance = shift.sliced_wasserstein(x, x.detach().flip(0))
    distance.backward()
    assert distance.item() < 1e-6 and x.grad.isfinite().all()
    y = normal(5, 2, 1, 1, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda b: shift.sliced_wasserstein(x.detach().double(), b, 8), (y,)
    )
    with pytest.raises(ValueError, match="p must be 1 or 2"):
        shift.sliced_wasserstein(x, x, p=3)


# --- domain classifier --------------------------------------------------------


def test_proxy_a_distance_knows_near_from_far():
    near = shift.proxy_a_distance(normal(200, 3, 0), normal(150, 3, 1))
    far = shift.proxy_a_distance(normal(200, 3, 0), normal(150, 3, 1, 5))
    assert 0 <= near < 0.5 and far > 1.9
    assert near == shift.proxy_a_distance(normal(200, 3, 0), normal(150, 3, 1))


def test_proxy_a_distance_is_held_out_balanced_and_cut_off():
    source, target = normal(30, 2, 0), normal(10, 2, 1)

    def by_heart(x, labels):
        def predict(z):
            gaps = torch.cdist(z, x)
            known = gaps.min(1).values < 1e-6
            return torch.where(known, labels[gaps.argmin(1)], 0)

        return predict

    assert shift.proxy_a_distance(source, target, by_heart) == 0
    wrong = shift.proxy_a_distance(
        source, source + 100, lambda x, y: lambda z: (z[:, 0] < 50).long()
    )
    right = shift.proxy_a_distance(
        source, source + 100, lambda x, y: lambda z: (z[:, 0] > 50).long()
    )
    assert (wrong, right) == (0, 2)
    with pytest.raises(ValueError, match="target must have at least 5 rows"):
        shift.proxy_a_distance(source, target[:4])
    with pytest.raises(ValueError, match="folds"):
        shift.proxy_a_distance(source, target, folds=1)
    with pytest.raises(ValueError, match="fit must return"):
        shift.proxy_a_distance(source, target, lambda x, y: lambda z: z)


def test_importance_weights_of_two_gaussians():
    """N(0, 1) to N(1, 1): the ratio is exp(x - 1/2)."""
    source, target = normal(4000, 1, 0), normal(1000, 1, 1, 1)
    logits, of_target = shift.domain_logits(source, target)
    assert len(logits) == 4000 and len(of_target) == 1000
    weights = shift.importance_weights(logits, 4000, 1000, normalise=False)
    wanted = (source[:, 0] - 0.5).exp()
    assert float(weights.mean()) == pytest.approx(1, abs=0.1)
    assert np.corrcoef(weights, wanted)[0, 1] > 0.99
    normalised = shift.importance_weights(logits, 4000, 1000)
    torch.testing.assert_close(normalised, weights / weights.mean())
    huge = shift.importance_weights(torch.tensor([500.0, 499.0]), 2, 2)
    torch.testing.assert_close(huge, torch.tensor([1.0, 0.0]).softmax(0) * 2)


@pytest.mark.parametrize(
    "message, args",
    [
        ("logits must be", (torch.zeros(0), 1, 1)),
        ("logits must be", (torch.zeros(2, 2), 1, 1)),
        ("logits holds", (torch.tensor([torch.inf]), 1, 1)),
        ("num_source", (torch.zeros(2), 0, 1)),
        ("num_target", (torch.zeros(2), 1, 0)),
    ],
)
def test_importance_weights_refuse(message, args):
    with pytest.raises(ValueError, match=message):
        shift.importance_weights(*args)


# --- label shift --------------------------------------------------------------


def confused(labels, seed, k=3):
    """Predictions: right with 0.8, otherwise the next class."""
    g = torch.Generator().manual_seed(seed)
    slips = torch.rand(len(labels), generator=g) > 0.8
    return (labels + slips) % k


def test_bbse_finds_the_target_prior():
    y = torch.arange(3000) % 3
    target = torch.repeat_interleave(torch.arange(3), torch.tensor([2400, 400, 200]))
    w = shift.bbse(confused(y, 0), y, confused(target, 1), 3)
    torch.testing.assert_close(
        w / 3, torch.tensor([0.8, 2 / 15, 1 / 15]).double(), atol=0.03, rtol=0
    )


def test_bbse_solves_and_cuts_off():
    h, y = torch.tensor([0, 0, 0, 1, 1, 0]), torch.tensor([0, 0, 0, 1, 1, 1])
    target = torch.tensor([0, 1, 1, 1])
    joint = np.array([[3, 1], [0, 2]]) / 6
    wanted = np.linalg.solve(joint, [0.25, 0.75])
    np.testing.assert_allclose(
        shift.bbse(h, y, target, 2), np.maximum(wanted, 0), atol=1e-12
    )
    assert wanted.min() < 0


@pytest.mark.parametrize(
    "message, change",
    [
        ("predictions_target must be an int64", {2: torch.zeros(0, dtype=torch.int64)}),
        ("labels_val must lie in", {1: torch.tensor([0, 1, 3, 1])}),
        ("predictions_val must be an int64", {0: torch.zeros(4)}),
        ("describe the same samples", {0: torch.tensor([0, 1])}),
        ("singular", {0: torch.zeros(4, dtype=torch.int64)}),
    ],
)
def test_bbse_refuses(message, change):
    args = [torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 0, 1]), torch.tensor([0])]
    for i, value in change.items():
        args[i] = value
    with pytest.raises(ValueError, match=message):
        shift.bbse(*args, 2)
