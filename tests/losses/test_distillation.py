import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.losses import distillation_loss

quiet = settings(max_examples=40, deadline=None, derandomize=True)
drawn = {
    "seed": st.integers(0, 2**31),
    "n": st.integers(1, 8),
    "k": st.integers(1, 7),
    "temperature": st.floats(0.3, 30),
}


def two(seed, n, k):
    g = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(n, k, generator=g, dtype=torch.float64) for _ in range(2))


@quiet
@given(**drawn)
def test_is_torchs_kl_divergence(seed, n, k, temperature):
    student, teacher = two(seed, n, k)
    want = temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, 1),
        F.softmax(teacher / temperature, 1),
        reduction="batchmean",
    )
    got = distillation_loss(student, teacher, temperature)
    torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-12)


@quiet
@given(**drawn, shift=st.floats(-300, 300))
def test_is_never_negative_and_shifts_do_not_count(seed, n, k, temperature, shift):
    student, teacher = two(seed, n, k)
    loss = distillation_loss(student, teacher, temperature)
    assert loss >= -1e-12
    moved = distillation_loss(student + shift, teacher - shift, temperature)
    torch.testing.assert_close(moved, loss, rtol=1e-7, atol=1e-9)


def test_is_zero_where_both_agree():
    student, _ = two(0, 4, 5)
    assert distillation_loss(student, student.clone()).item() == 0


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradient_by_hand(temperature):
    student, teacher = two(3, 5, 4)
    student.requires_grad_()
    distillation_loss(student, teacher, temperature).backward()
    gap = F.softmax(student / temperature, 1) - F.softmax(teacher / temperature, 1)
    torch.testing.assert_close(student.grad, temperature * gap.detach() / 5)


def test_gradcheck():
    student, teacher = two(4, 3, 4)
    assert torch.autograd.gradcheck(
        lambda z: distillation_loss(z, teacher, 3.0), student.requires_grad_()
    )


def test_at_high_temperature_it_matches_centred_logits():
    """Hinton et al. (2015), eq. (4): the limit is a squared distance of logits."""
    student, teacher = (z - z.mean(1, keepdim=True) for z in two(5, 6, 4))
    limit = (student - teacher).square().sum(1).mean() / (2 * 4)
    got = distillation_loss(student, teacher, 1e4)
    torch.testing.assert_close(got, limit, rtol=1e-3, atol=0)


def test_the_teacher_gets_no_gradient():
    student, teacher = (z.requires_grad_() for z in two(6, 2, 3))
    distillation_loss(student, teacher).backward()
    assert teacher.grad is None and student.grad is not None


def test_huge_logits_stay_finite():
    student = torch.tensor([[3e4, -3e4, 0.0]], requires_grad=True)
    loss = distillation_loss(student, torch.tensor([[-3e4, 3e4, 0.0]]), 1.0)
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        (torch.zeros(3), torch.zeros(3)),
        (torch.zeros(2, 3), torch.zeros(2, 4)),
        (torch.zeros(2, 3), torch.zeros(1, 3)),
        (torch.zeros(0, 3), torch.zeros(0, 3)),
        (torch.zeros(2, 3), torch.zeros(2, 3).long()),
    ],
)
def test_logits_that_do_not_fit_are_refused(student, teacher):
    with pytest.raises(ValueError, match="logits must"):
        distillation_loss(student, teacher)


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        distillation_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature)
