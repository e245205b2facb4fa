import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.losses import barlow_twins, nt_xent, vicreg, vicreg_terms

quiet = settings(max_examples=30, deadline=None, derandomize=True)
drawn = {"seed": st.integers(0, 2**31), "n": st.integers(2, 9), "d": st.integers(1, 4)}


def draw(seed, n, d=4, spread=0.7):
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, n, d, generator=g, dtype=torch.float64) * spread)


def columns(z):
    return [list(column) for column in zip(*z.tolist(), strict=True)]


def covariance(a, b, divisor):
    ma, mb = statistics.fmean(a), statistics.fmean(b)
    return sum((p - ma) * (q - mb) for p, q in zip(a, b, strict=True)) / divisor


def slow_vicreg(z1, z2, weights=(25, 25, 1)):
    n, d = z1.shape
    s = sum(
        (p - q) ** 2
        for a, b in zip(z1.tolist(), z2.tolist(), strict=True)
        for p, q in zip(a, b, strict=True)
    ) / (n * d)
    v = c = 0.0
    for z in (columns(z1), columns(z2)):
        for i, a in enumerate(z):
            std = math.sqrt(statistics.variance(a) + 1e-4)
            v += max(0.0, 1 - std) / d / 2
            for j, b in enumerate(z):
                c += covariance(a, b, n - 1) ** 2 / d if i != j else 0.0
    return sum(w * term for w, term in zip(weights, (s, v, c), strict=True))


def slow_barlow(z1, z2, strength):
    n = len(z1)
    total = 0.0
    for i, a in enumerate(columns(z1)):
        for j, b in enumerate(columns(z2)):
            spread = [math.sqrt(covariance(v, v, n) + 1e-5) for v in (a, b)]
            value = covariance(a, b, n) / spread[0] / spread[1]
            total += (1 - value) ** 2 if i == j else strength * value**2
    return total


@quiet
@given(**drawn)
def test_vicreg_is_the_slow_loop(seed, n, d):
    z1, z2 = draw(seed, n, d)
    assert vicreg(z1, z2).item() == pytest.approx(slow_vicreg(z1, z2))
    found = vicreg(z1, z2, 1, 0.5, 3).item()
    assert found == pytest.approx(slow_vicreg(z1, z2, (1, 0.5, 3)))


@quiet
@given(**drawn)
def test_barlow_twins_is_the_slow_loop(seed, n, d):
    z1, z2 = draw(seed, n, d)
    found = barlow_twins(z1, z2, 0.1).item()
    assert found == pytest.approx(slow_barlow(z1, z2, 0.1))


def test_all_three_are_those_of_lightly():
    from lightly.loss import BarlowTwinsLoss, NTXentLoss, VICRegLoss

    z1, z2 = draw(1, 40, 12)
    for ours, theirs in [
        (vicreg, VICRegLoss()),
        (barlow_twins, BarlowTwinsLoss()),
        (nt_xent, NTXentLoss()),
        (lambda a, b: nt_xent(a, b, 0.07), NTXentLoss(0.07)),
    ]:
        gradients = []
        for loss in (ours, theirs):
            a, b = z1.clone().requires_grad_(), z2.clone().requires_grad_()
            value = loss(a, b)
            value.backward()
            gradients.append((value.detach(), a.grad, b.grad))
        for x, y in zip(*gradients, strict=True):
            torch.testing.assert_close(x, y)


def test_terms_say_what_is_wrong():
    z = draw(2, 200, 6, spread=2.0)[0]
    z = z - z.mean(0)
    q, _ = torch.linalg.qr(z)
    white = q * math.sqrt(199) * 1.01  # uncorrelated, deviations 1.01
    assert vicreg(white, white).item() == pytest.approx(0, abs=1e-9)
    flat = torch.ones(9, 3)
    assert vicreg_terms(flat, flat).variance.item() == pytest.approx(0.99)
    assert vicreg_terms(flat, flat).invariance == 0
    twice = white[:, [0, 0]]
    assert vicreg_terms(twice, twice).covariance.item() == pytest.approx(2 * 1.01**4)
    assert vicreg_terms(white, white + 2).invariance.item() == pytest.approx(4)
    assert barlow_twins(white, white).item() == pytest.approx(0, abs=1e-8)
    # Columns in another order: nothing agrees on the diagonal.
    turned = barlow_twins(white, white[:, [1, 2, 3, 4, 5, 0]])
    assert turned.item() == pytest.approx(6 + 6 * 5e-3, rel=1e-3)


@quiet
@given(seed=drawn["seed"], n=st.integers(3, 9))
def test_what_does_not_count(seed, n):
    z1, z2 = draw(seed, n)
    g = torch.Generator().manual_seed(seed)
    order, mixed = torch.randperm(n, generator=g), torch.randperm(4, generator=g)
    for loss in (vicreg, barlow_twins):
        torch.testing.assert_close(
            loss(z2[order][:, mixed] + 3, z1[order][:, mixed] + 3), loss(z1, z2)
        )


def test_gradients():
    z1, z2 = (z.requires_grad_() for z in draw(3, 6))
    assert torch.autograd.gradcheck(vicreg, (z1, z2))
    assert torch.autograd.gradcheck(barlow_twins, (z1, z2))


@pytest.mark.parametrize("loss", [vicreg, barlow_twins])
def test_a_collapsed_batch_has_a_finite_gradient(loss):
    z = torch.ones(5, 3, requires_grad=True)
    value = loss(z, z.detach())
    value.backward()
    assert value.isfinite() and value > 1 and z.grad.isfinite().all()


@pytest.mark.parametrize("loss", [vicreg, barlow_twins])
def test_low_precision_and_strides(loss):
    z1, z2 = (z.float() for z in draw(4, 12))
    assert loss(z1.bfloat16(), z2.bfloat16()).dtype == torch.float32
    torch.testing.assert_close(loss(z1.T.contiguous().T, z2), loss(z1, z2))


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "1", True])
def test_weights_out_of_range_are_refused(value):
    z1, z2 = draw(5, 3)
    for name in ("invariance", "variance", "covariance"):
        with pytest.raises(ValueError, match=name):
            vicreg(z1, z2, **{name: value})
    with pytest.raises(ValueError, match="strength"):
        barlow_twins(z1, z2, value)
    assert vicreg(z1, z2, 0, 0, 0) == 0


@pytest.mark.parametrize("loss", [vicreg, barlow_twins, vicreg_terms])
def test_views_that_do_not_fit_are_refused(loss):
    z1, z2 = draw(6, 3)
    for other, text in [
        (z2[:2], "one shape"),
        (z2.float(), "one dtype"),
        (z2 * math.nan, "z2 holds nan"),
        (z2.long(), "z2 must be a float"),
    ]:
        with pytest.raises(ValueError, match=text):
            loss(z1, other)
    with pytest.raises(ValueError, match="z1 must have at least 2 rows"):
        loss(z1[:1], z2[:1])
