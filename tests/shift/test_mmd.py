"""MMD², its kernel and its width, against float64 loops and gradcheck."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import rbf_kernel as sklearn_rbf
from torch.utils._python_dispatch import TorchDispatchMode

from tlcourse import shift
from tlcourse.shift.medians import median_squared


def normal(n, d, seed, shift=0.0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=dtype) + shift


def kernel_loop(a, b, sigmas):
    squared = ((a.double()[:, None] - b.double()[None]) ** 2).sum(2)
    return sum(torch.exp(-squared / (2 * s**2)) for s in sigmas) / len(sigmas)


def textbook(x, y, sigmas, unbiased=True):
    """Gretton et al. (2012), pair by pair."""
    n, m = len(x), len(y)
    xx, yy, xy = (kernel_loop(a, b, sigmas) for a, b in ((x, x), (y, y), (x, y)))
    if not unbiased:
        return xx.mean() + yy.mean() - 2 * xy.mean()
    pairs = [
        sum(k[i, j] for i in range(len(k)) for j in range(len(k)) if i != j)
        for k in (xx, yy)
    ]
    return pairs[0] / (n * (n - 1)) + pairs[1] / (m * (m - 1)) - 2 * xy.mean()


LADDER = [2.0, 2**0.5, 1.0, 2**-0.5, 0.5]


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("sigmas", [[1.3], [0.7, 1.4, 3.3], [1, 2**0.5, 2], LADDER])
def test_mmd2_equals_the_textbook_loop(sigmas, unbiased):
    x, y = normal(23, 4, 0), normal(17, 4, 1, 0.7)
    wanted = float(textbook(x, y, sigmas, unbiased))
    assert float(shift.mmd2(x, y, sigmas, unbiased)) == pytest.approx(wanted, rel=1e-5)
    exact = float(shift.mmd2(x.double(), y.double(), sigmas, unbiased))
    assert exact == pytest.approx(wanted, rel=1e-11)


@pytest.mark.parametrize("n, m", [(2, 2), (256, 257), (600, 300), (3, 520)])
def test_blocks_of_every_size(n, m):
    x, y = normal(n, 3, 0), normal(m, 3, 1, 0.5)
    k = [kernel_loop(a, b, [1.0, 2**0.5]) for a, b in ((x, x), (y, y), (x, y))]
    own = [(a.sum() - a.trace()) / (len(a) * (len(a) - 1)) for a in k[:2]]
    wanted = float(own[0] + own[1] - 2 * k[2].mean())
    assert float(shift.mmd2(x, y, [1.0, 2**0.5])) == pytest.approx(wanted, abs=2e-7)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("sigmas", [1.0, [0.8, 2.1], [1.0, 2**0.5, 2.0]])
def test_gradients_are_right(sigmas, unbiased):
    x = normal(6, 3, 0, dtype=torch.float64).requires_grad_()
    y = normal(4, 3, 1, 0.5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: shift.mmd2(a, b, sigmas, unbiased), (x, y)
    )


def test_gradients_over_blocks_and_in_float32():
    x, y = normal(300, 5, 0).requires_grad_(), normal(270, 5, 1, 1).requires_grad_()
    shift.mmd2(x, y, [1.0, 2.0, 1.7]).backward()
    a, b = (z.detach().double().requires_grad_() for z in (x, y))
    k = [kernel_loop(u, v, [1.0, 2.0, 1.7]) for u, v in ((a, a), (b, b), (a, b))]
    own = [(c.sum() - c.trace()) / (len(c) * (len(c) - 1)) for c in k[:2]]
    (own[0] + own[1] - 2 * k[2].mean()).backward()
    for got, want in ((x.grad, a.grad), (y.grad, b.grad)):
        assert float((got - want).norm() / want.norm()) < 1e-5


def test_gradient_where_samples_and_points_coincide():
    x = normal(5, 2, 0, dtype=torch.float64)
    x[1] = x[0]
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: shift.mmd2(a, a, [1.0, 0.6]), (x,))
    y = x.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: shift.mmd2(a, b, 1.0), (x, y))


def test_one_side_may_be_constant_and_a_second_gradient_is_refused():
    x, y = normal(5, 2, 0).requires_grad_(), normal(5, 2, 1)
    shift.mmd2(x, y).backward()
    assert y.grad is None and x.grad.isfinite().all()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(shift.mmd2(x, y), x, create_graph=True)


def test_the_default_width_is_the_median_ladder_and_is_detached():
    x, y = normal(8, 3, 0).requires_grad_(), normal(6, 3, 1, 1)
    sigma = float(torch.pdist(torch.cat([x.detach(), y])).median())
    ladder = [sigma * f**0.5 for f in (0.25, 0.5, 1, 2, 4)]
    (got,) = torch.autograd.grad(shift.mmd2(x, y), x)
    (want,) = torch.autograd.grad(shift.mmd2(x, y, ladder), x)
    torch.testing.assert_close(got, want)
    wanted = float(textbook(x.detach(), y, ladder))
    assert shift.mmd2(x, y).item() == pytest.approx(wanted, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 8), st.integers(2, 8), st.floats(-1e3, 1e3), st.integers(0, 99))
def test_exchange_shift_and_order_change_nothing(n, m, offset, seed):
    x, y = normal(n, 3, seed), normal(m, 3, seed + 1, 0.4)
    value = float(shift.mmd2(x, y, [1.0, 2.0]))
    assert float(shift.mmd2(y, x, [2.0, 1.0])) == pytest.approx(value, abs=1e-6)
    assert float(shift.mmd2(x.flip(0), y, [1.0, 2.0])) == pytest.approx(value, abs=1e-6)
    moved = float(shift.mmd2(x.double() + offset, y.double() + offset, [1.0, 2.0]))
    assert moved == pytest.approx(value, abs=1e-6)


def test_close_points_far_from_the_origin_and_from_each_other():
    x = normal(40, 3, 0, dtype=torch.float64) * 0.1
    x[20:] += 500
    y = x + 0.05
    wanted = float(textbook(x.float(), y.float(), [0.2]))
    assert float(shift.mmd2(x.float(), y.float(), 0.2)) == pytest.approx(
        wanted, rel=1e-4
    )


def test_two_gaussians_have_a_known_mmd():
    """Closed form for N(0, I) and N(a, I): E k = (s² / (s² + 2))^(d/2) e^(...)."""
    d, s, a = 3, 1.5, 0.8
    x = normal(3000, d, 0)
    y = normal(3000, d, 1)
    y[:, 0] += a
    scale = (s**2 / (s**2 + 2)) ** (d / 2)
    wanted = 2 * scale * (1 - math.exp(-(a**2) / (2 * (s**2 + 2))))
    assert float(shift.mmd2(x, y, s)) == pytest.approx(wanted, rel=0.1)


def test_unbiased_means_zero_on_average_and_biased_is_never_negative():
    both = np.array(
        [
            [
                float(shift.mmd2(normal(10, 2, s), normal(12, 2, s + 999), 1.0, u))
                for u in (True, False)
            ]
            for s in range(200)
        ]
    )
    error = both[:, 0].std() / 200**0.5
    assert abs(both[:, 0].mean()) < 4 * error
    assert (both[:, 0] < 0).mean() > 0.3 and (both[:, 1] > 0).all()


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numel = max(self.numel, made.numel())
        return made


@pytest.mark.parametrize("bandwidth", [1.0, [1.0, 1.7], None])
def test_the_kernel_matrix_is_never_built(bandwidth):
    n = 2000
    z = normal(n, 4, 0).requires_grad_()
    with Largest() as seen:
        shift.mmd2(z, z.detach().flip(0) + 0.1, bandwidth).backward()
    assert 0 < seen.numel < n * n / 2


def test_lower_precision_is_computed_in_float32():
    x, y = normal(9, 4, 0).bfloat16(), normal(7, 4, 1, 1).bfloat16()
    value = shift.mmd2(x, y, 1.5)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(textbook(x, y, [1.5])), rel=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        again = shift.mmd2(x.float(), y.float(), 1.5)
    assert float(again) == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize("bandwidth", [0.9, [0.5, 1.0, 2.0]])
def test_rbf_kernel_equals_scikit_learn(bandwidth):
    x, y = normal(30, 3, 0), normal(28, 3, 1)
    sigmas = [bandwidth] if isinstance(bandwidth, float) else bandwidth
    wanted = np.mean([sklearn_rbf(x, y, gamma=1 / (2 * s * s)) for s in sigmas], axis=0)
    got = shift.rbf_kernel(x, y, bandwidth)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    a = x[:4].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: shift.rbf_kernel(z, z, bandwidth), (a,))


@pytest.mark.parametrize("n, m, d", [(1, 1, 2), (2, 1, 3), (30, 41, 5), (700, 500, 4)])
def test_median_heuristic_equals_the_median_of_all_pairs(n, m, d):
    x, y = normal(n, d, 0, 50), normal(m, d, 1, 51)
    wanted = torch.pdist(torch.cat([x, y]).double()).median()
    assert float(shift.median_heuristic(x, y)) == pytest.approx(float(wanted), rel=1e-5)


def test_median_heuristic_with_ties_outliers_and_far_clusters():
    one_hot = torch.eye(10).repeat(80, 1)
    assert float(shift.median_heuristic(one_hot, one_hot)) == pytest.approx(2**0.5)
    x, y = normal(1200, 3, 0) * 0.01 + 1000, normal(100, 3, 1) * 0.01 - 1000
    y[0] = 1e15
    wanted = torch.pdist(torch.cat([x, y]).double()).median()
    assert float(shift.median_heuristic(x, y)) == pytest.approx(float(wanted), rel=1e-4)


def test_the_median_does_not_depend_on_the_bracket(monkeypatch):
    z = normal(800, 3, 0)
    value = median_squared(z)
    monkeypatch.setattr("tlcourse.shift.medians._bracket", lambda *_: (-1e-9, 0.0))
    assert median_squared(z) == value


def test_linear_time_equals_its_loop_and_is_unbiased():
    x, y, sigmas = normal(11, 3, 0), normal(11, 3, 1, 0.5), [0.8, 1.7]
    kx, ky, kxy = (kernel_loop(a, b, sigmas) for a, b in ((x, x), (y, y), (x, y)))
    h = [
        float(kx[i, i + 1] + ky[i, i + 1] - kxy[i, i + 1] - kxy[i + 1, i])
        for i in range(0, 10, 2)
    ]
    value, variance = shift.mmd_linear_time(x, y, sigmas)
    assert float(value) == pytest.approx(np.mean(h), rel=1e-5)
    assert float(variance) == pytest.approx(np.var(h, ddof=1) / 5, rel=1e-4)
    a, b = normal(20000, 2, 2), normal(20000, 2, 3, 0.5)
    value, variance = shift.mmd_linear_time(a, b, 1.0)
    full = float(shift.mmd2(a[:2500], b[:2500], 1.0))
    assert abs(float(value) - full) < 5 * float(variance) ** 0.5


@pytest.mark.parametrize("unbiased", [True, False])
def test_random_features_find_mmd2_within_their_error(unbiased):
    x, y, sigmas = normal(60, 3, 0), normal(45, 3, 1, 0.4), [1.0, 2.0]
    wanted = float(shift.mmd2(x, y, sigmas, unbiased))
    found = [
        shift.mmd_random_features(x, y, sigmas, 256, unbiased=unbiased, seed=s)
        for s in range(40)
    ]
    values = np.array([float(f.value) for f in found])
    variances = np.array([float(f.variance) for f in found])
    assert abs(values.mean() - wanted) < 4 * values.std() / 40**0.5
    assert values.var(ddof=1) == pytest.approx(variances.mean(), rel=0.8)
    again = shift.mmd_random_features(x, y, sigmas, 256, unbiased=unbiased, seed=0)
    assert again.value == found[0].value


BAD = {
    "x must be a float tensor": lambda x, y: (x.long(), y),
    "y must be a float tensor": lambda x, y: (x, y[:, 0]),
    "x must have at least": lambda x, y: (x[:0], y),
    "same number of columns": lambda x, y: (x, y[:, :2]),
    "one dtype": lambda x, y: (x, y.double()),
    "y holds nan": lambda x, y: (x, y.index_fill(0, torch.tensor([1]), torch.nan)),
    "x holds numbers up to": lambda x, y: (x * 1e25, y),
}


@pytest.mark.parametrize("message, spoil", BAD.items(), ids=list(BAD))
def test_bad_samples_are_named(message, spoil):
    x, y = spoil(normal(6, 3, 0), normal(6, 3, 1))
    for use in (
        lambda: shift.mmd2(x, y, 1.0),
        lambda: shift.rbf_kernel(x, y, 1.0),
        lambda: shift.median_heuristic(x, y),
        lambda: shift.mmd_linear_time(x, y, 1.0),
        lambda: shift.mmd_random_features(x, y, 1.0),
        lambda: shift.permutation_test(x, y),
        lambda: shift.energy_distance(x, y),
        lambda: shift.sliced_wasserstein(x, y),
    ):
        with pytest.raises(ValueError, match=message):
            use()


@pytest.mark.parametrize("kind", [int, np.float32, np.float64, np.array, torch.tensor])
def test_a_bandwidth_may_be_any_number(kind):
    x, y = normal(6, 3, 0), normal(6, 3, 1)
    assert shift.mmd2(x, y, kind([2]) if kind is np.array else kind(2)) == shift.mmd2(
        x, y, 2.0
    )


def test_other_bad_input():
    x, y = normal(6, 3, 0), normal(6, 3, 1)
    for width, use in itertools.product(
        (0, -1.0, [], [1.0, 0.0], math.nan, torch.zeros(2)),
        (shift.mmd2, shift.rbf_kernel, shift.mmd_random_features),
    ):
        with pytest.raises(ValueError, match="bandwidth"):
            use(x, y, width)
    with pytest.raises(ValueError, match="x must have at least 2 rows"):
        shift.mmd2(x[:1], y)
    assert shift.mmd2(x[:1], y, unbiased=False) > 0
    same = torch.full((5, 2), 0.1)
    for use in (shift.median_heuristic, shift.mmd2):
        with pytest.raises(ValueError, match="median distance of x and y is 0"):
            use(same, same)
    with pytest.raises(ValueError, match="equally many rows"):
        shift.mmd_linear_time(x, y[:4], 1.0)
    with pytest.raises(ValueError, match="narrowest bandwidth"):
        shift.mmd2(x, y, 1e-9)
    with pytest.raises(ValueError, match="num_features"):
        shift.mmd_random_features(x, y, 1.0, 2)
