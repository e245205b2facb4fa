import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.losses import cross_entropy, focal_loss, label_smoothing_ce

LOSSES = [cross_entropy, label_smoothing_ce, focal_loss]
quiet = settings(max_examples=40, deadline=None, derandomize=True)
shapes = {"seed": st.integers(0, 2**31), "n": st.integers(1, 9), "k": st.integers(2, 7)}


def draw(seed, n, k, scale=3.0):
    g = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, k, generator=g, dtype=torch.float64)
    return logits, torch.randint(k, (n,), generator=g)


@quiet
@given(**shapes, smoothing=st.floats(0, 0.99))
def test_label_smoothing_is_torchs(seed, n, k, smoothing):
    logits, y = draw(seed, n, k)
    want = F.cross_entropy(logits, y, label_smoothing=smoothing)
    torch.testing.assert_close(label_smoothing_ce(logits, y, smoothing), want)


@quiet
@given(**shapes)
def test_cross_entropy_is_torchs(seed, n, k):
    logits, y = draw(seed, n, k)
    torch.testing.assert_close(cross_entropy(logits, y), F.cross_entropy(logits, y))


@quiet
@given(**shapes, gamma=st.sampled_from([0, 1, 1.5, 2, 5]))
def test_focal_is_the_slow_loop(seed, n, k, gamma):
    logits, y = draw(seed, n, k)
    total = 0.0
    for row, true in zip(logits.tolist(), y.tolist(), strict=True):
        p = math.exp(row[true]) / sum(math.exp(z) for z in row)
        total -= (1 - p) ** gamma * math.log(p)
    assert focal_loss(logits, y, gamma).item() == pytest.approx(total / n, rel=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
@quiet
@given(**shapes, shift=st.floats(-500, 500))
def test_a_shift_of_all_logits_changes_nothing(loss, seed, n, k, shift):
    logits, y = draw(seed, n, k)
    moved = loss(logits + shift, y)
    torch.testing.assert_close(moved, loss(logits, y), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
@quiet
@given(**shapes)
def test_order_of_samples_and_names_of_classes_do_not_count(loss, seed, n, k):
    logits, y = draw(seed, n, k)
    g = torch.Generator().manual_seed(seed)
    rows, names = torch.randperm(n, generator=g), torch.randperm(k, generator=g)
    moved = loss(logits[rows][:, names], names.argsort()[y[rows]])
    torch.testing.assert_close(moved, loss(logits, y))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient(loss):
    logits, y = draw(1, 4, 5)
    assert torch.autograd.gradcheck(lambda z: loss(z, y), logits.requires_grad_())


@pytest.mark.parametrize("loss", LOSSES)
def test_huge_logits_stay_finite(loss):
    logits = torch.tensor([[3e4, -3e4, 0.0], [0.0, 0.0, 3e4]], requires_grad=True)
    value = loss(logits, torch.tensor([0, 1]))
    value.backward()
    assert value.isfinite() and logits.grad.isfinite().all()


def test_focal_with_gamma_0_is_cross_entropy():
    logits, y = draw(2, 6, 3)
    torch.testing.assert_close(focal_loss(logits, y, 0), cross_entropy(logits, y))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("logits", "targets", "says"),
    [
        (torch.zeros(3), torch.zeros(3).long(), r"\(n, k\)"),
        (torch.zeros(0, 3), torch.zeros(0).long(), "n >= 1"),
        (torch.zeros(2, 3).long(), torch.zeros(2).long(), "float"),
        (torch.zeros(2, 3), torch.zeros(2), "int64"),
        (torch.zeros(2, 3), torch.zeros(1).long(), r"\(2,\)"),
        (torch.zeros(2, 3), torch.zeros(2, 3).long(), "one-hot"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), r"\[0, 2\]"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), r"\[0, 2\]"),
    ],
)
def test_bad_input_is_refused(loss, logits, targets, says):
    with pytest.raises(ValueError, match=says):
        loss(logits, targets)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan])
def test_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(ValueError, match="smoothing"):
        label_smoothing_ce(torch.zeros(2, 3), torch.tensor([0, 1]), smoothing)


def test_smoothing_one_class_is_refused():
    with pytest.raises(ValueError, match="k >= 2"):
        label_smoothing_ce(torch.zeros(2, 1), torch.tensor([0, 0]))


@pytest.mark.parametrize("gamma", [-1, 0.5, math.nan])
def test_gamma_with_an_infinite_slope_is_refused(gamma):
    with pytest.raises(ValueError, match="gamma"):
        focal_loss(torch.zeros(2, 3), torch.tensor([0, 1]), gamma)
