"""AdaBN and TENT: exact statistics, and nothing else touched."""

import copy
import math

import pytest
import torch
from torch import nn

from tlcourse import adapt, models


def network(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5),
        nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(),
        nn.Linear(80, 6), nn.BatchNorm1d(6), nn.Linear(6, 3),
    )  # fmt: skip
    for m in model.modules():
        if hasattr(m, "running_mean"):
            nn.init.normal_(m.weight)
            nn.init.normal_(m.running_mean)
    return model.eval()


def pictures(n=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, 1, 8, 8, generator=generator) + 1


def statistics(model):
    return torch.cat([b for name, b in model.named_buffers() if "running" in name])


def test_eval_mode_equals_one_pass_in_train_mode():
    model, x = network(), pictures()
    model[3].p = 0.0
    with torch.no_grad():
        expected = copy.deepcopy(model).train()(x)
        assert torch.allclose(
            adapt.adapt_batchnorm(model, x).eval()(x), expected, atol=1e-5
        )


def test_residual_networks_too():
    torch.manual_seed(0)
    model, x = models.small_resnet(5, width=4), torch.rand(40, 1, 16, 16)
    with torch.no_grad():
        expected = copy.deepcopy(model).train()(x)
        got = adapt.adapt_batchnorm(model, x, batch_size=7).eval()(x)
    assert torch.allclose(got, expected, atol=1e-4)


def test_neither_order_nor_batch_size_matters():
    x = pictures()
    reference = statistics(adapt.adapt_batchnorm(network(), x))
    for batch_size in (1, 7, 30):
        order = torch.randperm(30)
        other = adapt.adapt_batchnorm(network(), x[order], batch_size=batch_size)
        assert torch.allclose(statistics(other), reference, atol=1e-6)


def test_first_layer_against_numbers():
    x = torch.tensor([[1.0], [3.0], [8.0]])
    model = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 2))
    adapt.adapt_batchnorm(model, x)
    assert model[0].running_mean.item() == pytest.approx(4)
    assert model[0].running_var.item() == pytest.approx(26 / 3)


def test_a_large_offset_loses_no_digits():
    x = torch.tensor([[10_000.0], [10_001.0]]).repeat(50, 1)
    model = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 2))
    adapt.adapt_batchnorm(model, x)
    assert model[0].running_var.item() == pytest.approx(0.25)


def test_adabn_changes_statistics_alone():
    model = network().train()
    model[1].eval()
    before = copy.deepcopy(model)
    adapt.adapt_batchnorm(model, pictures())
    for a, b in zip(before.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b) and b.requires_grad
    for a, b in zip(before.modules(), model.modules(), strict=True):
        assert a.training == b.training
        assert getattr(a, "momentum", 0) == getattr(b, "momentum", 0)
        assert not b._forward_pre_hooks


def test_adabn_refuses():
    with pytest.raises(ValueError, match="no samples"):
        adapt.adapt_batchnorm(network(), pictures()[:0])
    with pytest.raises(ValueError, match="no BatchNorm"):
        adapt.adapt_batchnorm(nn.Linear(2, 2), torch.ones(3, 2))
    with pytest.raises(ValueError, match="NaN"):
        adapt.adapt_batchnorm(network(), pictures() * math.nan)


def test_tent_without_a_step_is_normalisation_by_the_batch():
    model, x = network(), pictures(24)
    expected = []
    for batch in x.split(8):
        twin = copy.deepcopy(model)
        expected.append(adapt.adapt_batchnorm(twin, batch)(batch))
    logits = adapt.tent(model, x, lr=0.0, batch_size=8)
    assert torch.allclose(logits, torch.cat(expected), atol=1e-4)


def test_tent_lowers_the_entropy_and_moves_batchnorm_alone():
    model, x = network(), pictures(64)
    before = copy.deepcopy(model)
    first = adapt.tent(copy.deepcopy(model), x, lr=0.0, batch_size=64)
    for _ in range(20):
        adapt.tent(model, x, lr=1e-2, batch_size=64)
    last = adapt.tent(copy.deepcopy(model), x, lr=0.0, batch_size=64)
    assert adapt.entropy(last) < adapt.entropy(first) - 0.05
    norms = {"1.weight", "1.bias", "5.weight", "5.bias", "9.weight", "9.bias"}
    for (name, a), b in zip(before.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b) == (name not in norms)
        assert b.requires_grad and b.grad is None
    assert torch.equal(statistics(before), statistics(model))


def test_tent_gives_the_modes_back_after_an_error():
    model = network().train()
    with pytest.raises(RuntimeError):
        adapt.tent(model, torch.ones(4, 3, 8, 8))
    assert all(m.training for m in model.modules())
    assert model[1].running_mean is not None


@pytest.mark.parametrize(
    ("x", "settings", "words"),
    [
        (pictures(1), {}, "two samples"),
        (pictures(8), {"batch_size": 1}, "batch_size"),
        (pictures(8), {"lr": -1.0}, "lr"),
    ],
)
def test_tent_refuses(x, settings, words):
    with pytest.raises(ValueError, match=words):
        adapt.tent(network(), x, **settings)
    with pytest.raises(ValueError, match="no BatchNorm"):
        adapt.tent(nn.Linear(3, 2), torch.ones(4, 3))
