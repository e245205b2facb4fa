import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.losses import alignment, uniformity

quiet = settings(max_examples=30, deadline=None, derandomize=True)
drawn = {"seed": st.integers(0, 2**31), "n": st.integers(2, 8)}


def draw(seed, n, d=4):
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, n, d, generator=g, dtype=torch.float64))


def unit(row):
    length = math.hypot(*row)
    return [v / length for v in row]


def slow_alignment(z1, z2, alpha):
    pairs = zip(z1.tolist(), z2.tolist(), strict=True)
    return sum(math.dist(unit(a), unit(b)) ** alpha for a, b in pairs) / len(z1)


def slow_uniformity(z, t):
    rows = [unit(row) for row in z.tolist()]
    kernels = [
        math.exp(-t * math.dist(a, b) ** 2) for a, b in itertools.combinations(rows, 2)
    ]
    return math.log(sum(kernels) / len(kernels))


@quiet
@given(**drawn, alpha=st.floats(0.5, 4))
def test_alignment_is_the_slow_loop(seed, n, alpha):
    z1, z2 = draw(seed, n)
    assert alignment(z1, z2).item() == pytest.approx(slow_alignment(z1, z2, 2))
    found = alignment(z1, z2, alpha).item()
    assert found == pytest.approx(slow_alignment(z1, z2, alpha))


@quiet
@given(**drawn, t=st.floats(0.1, 20))
def test_uniformity_is_the_slow_loop(seed, n, t):
    z = draw(seed, n)[0]
    assert uniformity(z, t).item() == pytest.approx(slow_uniformity(z, t), abs=1e-10)


def test_the_papers_own_form_agrees():
    z1, z2 = (torch.nn.functional.normalize(z, dim=1) for z in draw(1, 30))
    theirs = torch.pdist(z1).square().mul(-2).exp().mean().log()
    torch.testing.assert_close(uniformity(z1), theirs)
    torch.testing.assert_close(alignment(z1, z2), (z1 - z2).norm(dim=1).pow(2).mean())


@quiet
@given(**drawn)
def test_rotation_length_and_order_do_not_count(seed, n):
    z1, z2 = draw(seed, n)
    g = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=g, dtype=torch.float64))
    length = torch.rand(n, 1, generator=g, dtype=torch.float64) + 0.1
    order = torch.randperm(n, generator=g)
    a, b = (length * z1 @ turn)[order], (z2 @ turn)[order]
    torch.testing.assert_close(alignment(b, a), alignment(z1, z2))
    torch.testing.assert_close(uniformity(a), uniformity(z1))


def test_corners():
    same = torch.ones(5, 3)
    assert alignment(same, 4 * same) == 0
    assert alignment(same, -same).item() == pytest.approx(4)
    assert alignment(same, -same, 1).item() == pytest.approx(2)
    assert uniformity(same).item() == pytest.approx(0, abs=1e-6)
    poles = torch.tensor([[1.0, 0], [-2, 0]])
    assert uniformity(poles, 3).item() == pytest.approx(-12)
    assert uniformity(poles, 1e4).item() == pytest.approx(-4e4)  # exp(-4e4) is 0
    assert alignment(same[:1], same[:1] + 1).isfinite()  # one pair is enough


@pytest.mark.parametrize("alpha", [0.5, 1, 2, 3.0])
def test_gradients(alpha):
    z1, z2 = (z.requires_grad_() for z in draw(2, 4))
    assert torch.autograd.gradcheck(lambda a, b: alignment(a, b, alpha), (z1, z2))
    assert torch.autograd.gradgradcheck(lambda a: uniformity(a, alpha), (z1,))


@pytest.mark.parametrize("alpha", [0.5, 1, 2, 3.0])
def test_views_that_agree_have_a_finite_gradient(alpha):
    z = draw(3, 4)[0].requires_grad_()
    (alignment(z, z.detach(), alpha) + uniformity(z)).backward()
    assert z.grad.isfinite().all()


def test_low_precision_is_computed_in_float32():
    z1, z2 = draw(4, 6)
    found = alignment(z1.half(), z2.half()) + uniformity(z1.half())
    assert found.dtype == torch.float32
    wanted = alignment(z1, z2) + uniformity(z1)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-2)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "2", True])
def test_exponents_out_of_range_are_refused(value):
    z1, z2 = draw(5, 3)
    with pytest.raises(ValueError, match="alpha"):
        alignment(z1, z2, value)
    with pytest.raises(ValueError, match="t must"):
        uniformity(z1, value)


def test_rows_that_do_not_serve_are_refused():
    z = draw(6, 3)[0]
    with pytest.raises(ValueError, match="row 1 of z is a zero vector"):
        uniformity(z * torch.tensor([[1], [0], [1]]))
    with pytest.raises(ValueError, match="row 0 of z2 is a zero vector"):
        alignment(z, z * 0)
    with pytest.raises(ValueError, match="z must have at least 2 rows"):
        uniformity(z[:1])
    with pytest.raises(ValueError, match="z1 must have at least 1 row "):
        alignment(z[:0], z[:0])
    with pytest.raises(ValueError, match="one shape"):
        alignment(z, z[:2])
    with pytest.raises(ValueError, match="z holds nan"):
        uniformity(z * math.nan)
    with pytest.raises(ValueError, match="z must be a float"):
        uniformity(z.long())
