import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tlcourse.losses import ewc_penalty, feature_penalty, l2_sp

quiet = settings(max_examples=40, deadline=None, derandomize=True)
strength = st.floats(0, 10)


def weights(seed, head):
    g = torch.Generator().manual_seed(seed)
    shapes = {"body.weight": (3, 4), "body.bias": (3,), "head.weight": (head, 3)}
    return {
        name: torch.randn(*shape, generator=g, dtype=torch.float64)
        for name, shape in shapes.items()
    }


def slow(params, source, alpha, beta):
    total = 0.0
    for name, w in params.items():
        flat = w.flatten().tolist()
        if name in source and tuple(source[name].shape) == tuple(w.shape):
            start = source[name].flatten().tolist()
            pairs = zip(flat, start, strict=True)
            total += alpha / 2 * math.fsum((a - b) ** 2 for a, b in pairs)
        else:
            total += beta / 2 * math.fsum(a**2 for a in flat)
    return total


@quiet
@given(seed=st.integers(0, 9999), heads=st.tuples(*[st.integers(1, 4)] * 2),
       alpha=strength, beta=strength)  # fmt: skip
def test_l2_sp_is_the_slow_loop(seed, heads, alpha, beta):
    params, source = weights(seed, heads[0]), weights(seed + 1, heads[1])
    want = slow(params, source, alpha, beta)
    assert l2_sp(params, source, alpha, beta).item() == pytest.approx(want, rel=1e-9)


def test_l2_sp_gradient_by_hand():
    params = {k: v.requires_grad_() for k, v in weights(0, 2).items()}
    source = weights(1, 5)
    l2_sp(params, source, alpha=0.3, beta=0.7).backward()
    for name in ("body.weight", "body.bias"):
        gap = params[name].detach() - source[name]
        torch.testing.assert_close(params[name].grad, 0.3 * gap)
    head = params["head.weight"]
    torch.testing.assert_close(head.grad, 0.7 * head.detach())


def test_l2_sp_is_zero_at_the_source_and_extra_names_do_not_count():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    source = {k: v.clone() for k, v in net.state_dict().items()}  # counters and all
    assert l2_sp(dict(net.named_parameters()), source).item() == 0


def test_l2_sp_sends_no_gradient_into_the_source():
    params = {"w": torch.ones(2, requires_grad=True)}
    source = {"w": torch.zeros(2, requires_grad=True)}
    l2_sp(params, source).backward()
    assert source["w"].grad is None and params["w"].grad is not None


@pytest.mark.parametrize(
    ("params", "source", "says"),
    [
        ({}, {}, "empty"),
        ([torch.zeros(2)], {}, "named_parameters"),
        ({"w": torch.zeros(2)}, None, "named_parameters"),
        ({"w": torch.zeros(2).long()}, {}, "int64"),
        ({"w": [0.0]}, {}, "list"),
    ],
)
def test_l2_sp_refuses_what_is_no_mapping_of_float_tensors(params, source, says):
    with pytest.raises(ValueError, match=says):
        l2_sp(params, source)


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"beta": -1.0}])
def test_l2_sp_refuses_a_negative_strength(options):
    with pytest.raises(ValueError, match=">= 0"):
        l2_sp({"w": torch.zeros(2)}, {}, **options)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5, 2)])
def test_feature_penalty_is_the_slow_loop(shape):
    g = torch.Generator().manual_seed(0)
    f, f0 = (torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2))
    w = torch.rand(shape[1], generator=g, dtype=torch.float64)
    total = 0.0
    for i in range(shape[0]):
        for j in range(shape[1]):
            gaps = (f[i, j] - f0[i, j]).flatten().tolist()
            total += w[j].item() * math.fsum(gap**2 for gap in gaps)
    assert feature_penalty(f, f0, w).item() == pytest.approx(total / shape[0])


def test_feature_penalty_weighs_channels_equally_by_default():
    f, f0 = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    want = feature_penalty(f, f0, torch.full((4,), 0.25))
    torch.testing.assert_close(feature_penalty(f, f0), want)


def test_feature_penalty_moves_only_the_model():
    f = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    f0 = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    feature_penalty(f, f0).backward()
    assert f0.grad is None
    torch.testing.assert_close(f.grad, 2 * (f - f0).detach() / 6)


@pytest.mark.parametrize(
    ("features", "source", "weights"),
    [
        (torch.zeros(3), torch.zeros(3), None),
        (torch.zeros(2, 3), torch.zeros(2, 1), None),
        (torch.zeros(0, 3), torch.zeros(0, 3), None),
        (torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2)),
        (torch.zeros(2, 3), torch.zeros(2, 3), -torch.ones(3)),
    ],
)
def test_feature_penalty_refuses_shapes_that_do_not_fit(features, source, weights):
    with pytest.raises(ValueError, match="must"):
        feature_penalty(features, source, weights)


# ---- elastic weight consolidation


def fishers(seed, head):
    return {name: w.square() for name, w in weights(seed, head).items()}


def slow_ewc(params, source, fisher, strength):
    total = 0.0
    for name, w in params.items():
        tensors = (w, source.get(name), fisher.get(name))
        if any(t is None or t.shape != w.shape for t in tensors):
            continue
        flat = (t.flatten().tolist() for t in tensors)
        total += math.fsum(f * (a - b) ** 2 for a, b, f in zip(*flat, strict=True))
    return strength / 2 * total


@quiet
@given(seed=st.integers(0, 9999), heads=st.tuples(*[st.integers(1, 4)] * 3),
       strength=strength)  # fmt: skip
def test_ewc_penalty_is_the_slow_loop(seed, heads, strength):
    params, source = weights(seed, heads[0]), weights(seed + 1, heads[1])
    fisher = fishers(seed + 2, heads[2])
    want = slow_ewc(params, source, fisher, strength)
    got = ewc_penalty(params, source, fisher, strength).item()
    assert got == pytest.approx(want, rel=1e-9)


def test_ewc_gradient_by_hand_and_nothing_into_the_anchor():
    params = {k: v.requires_grad_() for k, v in weights(0, 2).items()}
    source = {k: v.requires_grad_() for k, v in weights(1, 2).items()}
    fisher = {k: v.requires_grad_() for k, v in fishers(2, 2).items()}
    ewc_penalty(params, source, fisher, 0.7).backward()
    for name, w in params.items():
        gap = (w - source[name]).detach()
        torch.testing.assert_close(w.grad, 0.7 * fisher[name].detach() * gap)
        assert source[name].grad is None and fisher[name].grad is None


def test_ewc_with_fisher_one_is_l2_sp():
    params, source = weights(0, 2), weights(1, 2)
    ones = {name: torch.ones_like(w) for name, w in params.items()}
    torch.testing.assert_close(
        ewc_penalty(params, source, ones, 0.3), l2_sp(params, source, 0.3, 0)
    )


def test_ewc_is_zero_at_the_source_and_keeps_the_parameters_dtype():
    source, fisher = weights(1, 2), fishers(2, 2)
    params = {name: w.float().requires_grad_() for name, w in source.items()}
    rounded = {name: w.float() for name, w in source.items()}
    loss = ewc_penalty(params, rounded, fisher, 2.0)
    assert loss.item() == 0 and loss.dtype == torch.float32


@pytest.mark.parametrize(
    ("source", "fisher", "strength", "says"),
    [
        ({}, {"w": torch.ones(2)}, 1.0, "no parameter has the same name"),
        ({"w": torch.ones(3)}, {"w": torch.ones(2)}, 1.0, "same name and shape"),
        ({"w": torch.ones(2)}, {}, 1.0, "None"),
        ({"w": torch.ones(2)}, [torch.ones(2)], 1.0, "fisher_diagonal"),
        ({"w": torch.ones(2)}, {"w": -torch.ones(2)}, 1.0, ">= 0 and finite"),
        ({"w": torch.ones(2)}, {"w": torch.tensor([1, math.nan])}, 1.0, "finite"),
        ({"w": torch.ones(2)}, {"w": torch.ones(2)}, -1.0, "strength must be"),
    ],
)
def test_ewc_refuses_bad_input(source, fisher, strength, says):
    with pytest.raises(ValueError, match=says):
        ewc_penalty({"w": torch.zeros(2)}, source, fisher, strength)
