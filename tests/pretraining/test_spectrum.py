import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.pretraining import effective_rank, singular_spectrum

quiet = settings(max_examples=30, deadline=None, derandomize=True)


def draw(seed, n=20, d=5):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64)


def with_values(values, n=12):
    """A matrix with these singular values, known by construction."""
    q, _ = torch.linalg.qr(draw(1, n, len(values)))
    turn, _ = torch.linalg.qr(draw(2, len(values), len(values)))
    return q * torch.tensor(values, dtype=torch.float64) @ turn


def test_known_spectra():
    torch.testing.assert_close(
        singular_spectrum(with_values([3.0, 2.0, 1.0])),
        torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64),
    )
    assert effective_rank(with_values([2.0] * 6)) == pytest.approx(6)
    assert effective_rank(with_values([5.0, 0, 0])) == pytest.approx(1)
    found = effective_rank(with_values([3.0, 1.0]))
    assert found == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    )


@quiet
@given(seed=st.integers(0, 2**31), n=st.integers(2, 12), d=st.integers(1, 12))
def test_the_plain_form_by_numpy(seed, n, d):
    z = draw(seed, n, d)
    for centred in (False, True):
        a = z.numpy() - (z.numpy().mean(0) if centred else 0)
        s = np.linalg.svd(a, compute_uv=False)
        p = s[s > 1e-12 * s[0]] / s.sum()
        wanted = float(np.exp(-(p * np.log(p)).sum()))
        assert effective_rank(z, centred) == pytest.approx(wanted)
        assert 1 - 1e-9 <= wanted <= min(n, d) + 1e-9


@quiet
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-6, 1e6))
def test_rotation_scale_and_order_do_not_count(seed, scale):
    z = draw(seed)
    turn, _ = torch.linalg.qr(draw(seed + 1, 5, 5))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
    assert effective_rank(scale * (z @ turn)[order]) == pytest.approx(effective_rank(z))


def test_centring_takes_a_common_offset_away():
    z = draw(3, 200)
    assert effective_rank(z + 100) < 1.5
    moved = effective_rank(z + 100, centred=True)
    assert moved == pytest.approx(effective_rank(z, centred=True))
    variances = singular_spectrum(z, centred=True).square() / 199
    wanted = torch.linalg.eigvalsh(z.T.cov()).flip(0)
    torch.testing.assert_close(variances, wanted)


def test_a_collapsed_embedding_has_rank_one():
    point = torch.ones(30, 4)
    assert effective_rank(point) == pytest.approx(1)
    line = draw(4, 30, 1) @ draw(5, 1, 4)
    assert effective_rank(line) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="collapsed to a point"):
        effective_rank(point, centred=True)
    with pytest.raises(ValueError, match="all rows are equal and zero"):
        effective_rank(torch.zeros(3, 4))


def test_low_precision_and_gradients_do_not_matter():
    z = draw(6).float().requires_grad_()
    assert effective_rank(z.half()) == pytest.approx(effective_rank(z), rel=1e-3)
    assert not singular_spectrum(z).requires_grad


@pytest.mark.parametrize(
    ("z", "text"),
    [
        (torch.ones(3), "z must be a float"),
        (torch.ones(3, 2).long(), "z must be a float"),
        ([[1.0, 2.0]], "z must be a float"),
        (torch.ones(1, 2), "two rows"),
        (torch.ones(3, 0), "one column"),
        (torch.full((3, 2), math.nan), "z holds nan"),
    ],
)
def test_what_has_no_spectrum_is_refused(z, text):
    for function in (effective_rank, singular_spectrum):
        with pytest.raises(ValueError, match=text):
            function(z)
