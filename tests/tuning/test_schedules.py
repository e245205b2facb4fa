import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from tlcourse.tuning import warmup_cosine


def by_torch(total, warmup, peak, floor):
    """LinearLR, then CosineAnnealingLR, as a list of rates."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    cosine = lr_scheduler.CosineAnnealingLR(
        optimizer, T_max=max(1, total - 1 - warmup), eta_min=floor
    )
    scheduler = cosine
    if warmup:
        rise = lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup)
        scheduler = lr_scheduler.SequentialLR(optimizer, [rise, cosine], [warmup])
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(total):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("total", "warmup", "peak", "floor"),
    [(20, 5, 1.0, 0.0), (20, 0, 0.1, 0.0), (7, 1, 3e-4, 1e-5), (50, 20, 2.0, 0.5),
     (9, 8, 1.0, 0.0), (2, 0, 1.0, 0.2)],
)  # fmt: skip
def test_same_as_torchs_schedulers(total, warmup, peak, floor):
    ours = [warmup_cosine(t, total, warmup, peak, floor) for t in range(total)]
    assert ours == pytest.approx(by_torch(total, warmup, peak, floor), rel=1e-9)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data(), total=st.integers(1, 60), floor=st.floats(0, 1))
def test_shape_of_the_curve(data, total, floor):
    warmup = data.draw(st.integers(0, total - 1))
    rates = [warmup_cosine(t, total, warmup, 1.0, floor) for t in range(total)]
    assert rates[warmup] == 1.0 == max(rates) and min(rates) > 0 or floor == 0
    assert rates[0] > 0
    assert all(a < b for a, b in zip(rates[:warmup], rates[1:], strict=False))
    after = rates[warmup:]
    assert all(a >= b for a, b in zip(after, after[1:], strict=False))
    if warmup < total - 1:
        assert rates[-1] == floor
    assert warmup_cosine(total + 3, total, warmup, 1.0, floor) == floor


def test_lambda_lr_takes_it_one_step_past_the_end():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda t: warmup_cosine(t, 4, 1))
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.25, 0.5, 0.25, 0.0])


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((-1, 4, 1), "step must be a whole number >= 0"),
        ((1.5, 4, 1), "step must be"),
        ((0, 0, 0), "total_steps must be a whole number >= 1"),
        ((0, 4, 4), "warmup_steps must be below total_steps"),
        ((0, 4, -1), "warmup_steps must be"),
        ((0, 4, 1, 0.0), "peak > 0"),
        ((0, 4, 1, 1.0, 2.0), "floor <= peak"),
        ((0, 4, 1, 1.0, -0.1), "floor <= peak"),
        ((0, 4, 1, float("nan")), "floor <= peak"),
    ],
)
def test_refuses(args, says):
    with pytest.raises(ValueError, match=says):
        warmup_cosine(*args)
