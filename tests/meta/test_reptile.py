"""Reptile's update against a loop, and what it is with one inner step."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse import meta

quiet = settings(max_examples=30, deadline=None, derandomize=True)


def case(num_tasks=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    params = {"w": torch.randn(2, 3, generator=g), "b": torch.randn((), generator=g)}
    ends = {
        name: torch.randn(num_tasks, *value.shape, generator=g)
        for name, value in params.items()
    }
    return params, ends


@quiet
@given(st.integers(1, 6), st.floats(0.01, 1.0))
def test_update_equals_the_loop(num_tasks, step):
    params, ends = case(num_tasks)
    found = meta.reptile_update(params, ends, step)
    for name, value in params.items():
        moves = [ends[name][t] - value for t in range(num_tasks)]
        torch.testing.assert_close(found[name], value + step * sum(moves) / num_tasks)
        assert found[name].shape == value.shape


def test_step_one_is_the_mean_and_nothing_is_changed():
    params, ends = case()
    params = {name: value.requires_grad_() for name, value in params.items()}
    before = {name: value.detach().clone() for name, value in params.items()}
    found = meta.reptile_update(params, ends, 1)
    for name, value in params.items():
        torch.testing.assert_close(found[name], ends[name].mean(0))
        assert torch.equal(value, before[name]) and not found[name].requires_grad


def test_one_inner_step_is_joint_training():
    loss = meta.module_loss(meta.sinusoid_model(), F.mse_loss)
    params = {name: value.double() for name, value in loss.params().items()}
    support, _ = meta.sinusoid_batch(4, 10, 1, torch.Generator().manual_seed(0))
    support = tuple(part.double() for part in support)
    ends = meta.adapt_params(loss, params, support, 0.1)
    found = meta.reptile_update(params, ends, 0.5)
    joint, _ = meta.maml_grad(loss, params, support, support, 0.1, steps=0)
    for name, value in params.items():
        torch.testing.assert_close(found[name], value - 0.5 * 0.1 * joint[name])


@pytest.mark.parametrize(
    "change, word",
    [
        ({"step": 0}, "step"),
        ({"step": 1.5}, "step"),
        ({"step": float("nan")}, "step"),
        ({"step": True}, "step"),
        ({"params": {}}, "params"),
        ({"adapted": {"w": torch.zeros(3, 2, 3)}}, "'b'"),
        ({"adapted": {"w": torch.zeros(2, 3), "b": torch.zeros(3)}}, "'w'"),
        ({"adapted": {"w": torch.zeros(0, 2, 3), "b": torch.zeros(0)}}, "T >= 1"),
    ],
)
def test_bad_input_names_the_argument(change, word):
    params, ends = case()
    given = {"params": params, "adapted": ends, "step": 0.5}
    with pytest.raises(ValueError, match=word):
        meta.reptile_update(**{**given, **change})
