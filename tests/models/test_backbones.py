"""The small networks, their heads and the hooks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tlcourse import models


@settings(max_examples=15, deadline=None)
@given(
    side=st.integers(8, 40),
    channels=st.sampled_from([1, 3]),
    width=st.integers(1, 8),
    classes=st.integers(1, 7),
)
def test_small_resnet_maps_pictures_of_any_size_to_logits(
    side, channels, width, classes
):
    model = models.small_resnet(classes, in_channels=channels, width=width).eval()
    x = torch.rand(2, channels, side, side + 3)
    z = model.features(x)
    assert z.shape == (2, model.feature_dim) == (2, 4 * width)
    torch.testing.assert_close(model(x), z @ model.head.weight.T + model.head.bias)


def test_small_resnet_halves_three_times_and_doubles_twice():
    model = models.small_resnet(3, width=4).eval()
    stages = ["stem", "stage1", "stage2", "stage3"]
    with models.record(model, stages) as outputs:
        model(torch.rand(1, 1, 32, 32))
    shapes = [tuple(outputs[name].shape[1:]) for name in stages]
    assert shapes == [(4, 16, 16), (4, 16, 16), (8, 8, 8), (16, 4, 4)]


def test_a_residual_block_with_silent_convolutions_is_the_identity():
    block = models.small_resnet(2).stage1.eval()
    nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 16, 8, 8)
    torch.testing.assert_close(block(x), x)


def test_every_parameter_of_small_resnet_gets_a_gradient():
    model = models.small_resnet(3)
    model(torch.rand(4, 1, 16, 16)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("shape", [(4, 3, 16, 16), (1, 16, 16)])
def test_small_resnet_refuses_other_pictures(shape):
    with pytest.raises(ValueError, match=r"pictures \(b, 1, h, w\)"):
        models.small_resnet(2)(torch.rand(shape))


@pytest.mark.parametrize("bad", [0, -1, 2.0, True])
@pytest.mark.parametrize("name", ["num_classes", "in_channels", "width"])
def test_small_resnet_refuses_bad_numbers(name, bad):
    with pytest.raises(ValueError, match=f"{name} must be"):
        models.small_resnet(**({"num_classes": 2} | {name: bad}))


def test_mlp_equals_its_formula():
    model = models.Mlp(6, [5, 4], 3)
    x = torch.randn(7, 2, 3)
    first, second = model.body[1], model.body[3]
    z = (x.flatten(1) @ first.weight.T + first.bias).clamp(min=0)
    z = (z @ second.weight.T + second.bias).clamp(min=0)
    torch.testing.assert_close(model.features(x), z)
    torch.testing.assert_close(model(x), z @ model.head.weight.T + model.head.bias)
    assert model.feature_dim == 4


def test_mlp_needs_a_hidden_layer():
    with pytest.raises(ValueError, match="at least one width"):
        models.Mlp(6, [], 3)


def test_replace_head_changes_the_last_linear_layer_only():
    model = models.small_resnet(5).double().eval()
    before = {name: p.clone() for name, p in model.named_parameters()}
    model.requires_grad_(False)
    assert models.replace_head(model, 9) is model
    assert model.head.weight.shape == (9, model.feature_dim)
    assert model.head.weight.dtype == torch.float64 and not model.head.training
    assert [n for n, p in model.named_parameters() if p.requires_grad] == [
        "head.weight",
        "head.bias",
    ]
    for name, p in model.named_parameters():
        assert name.startswith("head") or torch.equal(p, before[name])


def test_replace_head_keeps_a_missing_bias_missing():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, bias=False))
    assert models.replace_head(model, 6)[-1].bias is None
    assert model[0].out_features == 4


@pytest.mark.parametrize("model", [nn.Sequential(nn.Conv2d(1, 2, 1)), nn.Linear(2, 3)])
def test_replace_head_needs_a_linear_layer_inside(model):
    with pytest.raises(ValueError, match="no linear classifier inside"):
        models.replace_head(model, 3)


def test_replace_head_refuses_zero_classes():
    with pytest.raises(ValueError, match="num_classes must be"):
        models.replace_head(models.small_resnet(2), 0)


# --- record


def hooks_of(model):
    return [hook for m in model.modules() for hook in m._forward_hooks]


def test_record_gives_the_layers_outputs_of_the_latest_pass():
    model = models.small_resnet(3).eval()
    first, second = torch.rand(2, 2, 1, 16, 16)
    with models.record(model, ["stem", "stage1.conv1"]) as outputs:
        assert outputs == {}
        model(first)
        model(second)
    torch.testing.assert_close(outputs["stem"], model.stem(second))
    expected = model.stage1.conv1(model.stem(second))
    torch.testing.assert_close(outputs["stage1.conv1"], expected)
    assert outputs["stem"].requires_grad


def test_record_keeps_no_graph_under_no_grad():
    model = models.small_resnet(3)
    with torch.no_grad(), models.record(model, ["stage3"]) as outputs:
        model(torch.rand(2, 1, 16, 16))
    assert not outputs["stage3"].requires_grad


def test_record_removes_its_hooks_also_after_an_error():
    model = models.small_resnet(3)
    with pytest.raises(ZeroDivisionError), models.record(model, ["stem", "head"]):
        assert len(hooks_of(model)) == 2
        raise ZeroDivisionError
    assert hooks_of(model) == []


def test_record_names_the_nearest_layer():
    model = models.small_resnet(3)
    message = "no layer 'stage_1'.*'stage1'"
    with (
        pytest.raises(ValueError, match=message),
        models.record(model, ["stem", "stage_1"]),
    ):
        pass
    assert hooks_of(model) == []


def test_record_wants_a_list():
    model = models.small_resnet(3)
    message = r"write \['stem'\]"
    with pytest.raises(ValueError, match=message), models.record(model, "stem"):
        pass
