"""A network as a function of its parameters, and many at once."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from tlcourse import meta
from tlcourse.models import small_resnet
from tlcourse.models.backbones import Mlp

NETS = {
    "mlp": lambda: Mlp(6, [5, 4], 3),
    "sequential": lambda: nn.Sequential(nn.Linear(6, 5), nn.ELU(), nn.Linear(5, 3)),
    "nested": lambda: nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(6, 5, bias=False), nn.GELU()),
        Mlp(5, [4], 3),
    ),
    "linear": lambda: nn.Linear(6, 3),
}


def data(tasks=4, n=5, shape=(6,)):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(tasks, n, *shape, generator=g)
    return x, torch.randint(3, (tasks, n), generator=g)


def stack(loss, tasks):
    torch.manual_seed(1)
    return {
        name: value + 0.1 * torch.randn(tasks, *value.shape)
        for name, value in loss.params().items()
    }


def squared_hinge(logits, y):
    """An error that the fast way does not know."""
    signs = 2 * F.one_hot(y, 3) - 1
    return (F.relu(1 - signs * logits) ** 2).mean()


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("error", [F.cross_entropy, squared_hinge])
def test_stacked_equals_one_by_one(net, error):
    model = NETS[net]()
    loss, (x, y) = meta.module_loss(model, error), data()
    params = stack(loss, len(x))
    found = loss.stacked(params, x, y)
    assert found.shape == (4,)
    for t in range(4):
        own = {name: value[t] for name, value in params.items()}
        wanted = loss.error(functional_call(model, own, (x[t],)), y[t])
        torch.testing.assert_close(found[t], wanted)
        torch.testing.assert_close(loss(own, x[t], y[t]), wanted)


def test_regression_and_flattened_pictures():
    model = Mlp(12, [4], 2)
    loss = meta.module_loss(model, F.mse_loss)
    x, y = torch.randn(3, 5, 1, 3, 4), torch.randn(3, 5, 2)
    params = stack(loss, 3)
    for t, value in enumerate(loss.stacked(params, x, y)):
        own = {name: value[t] for name, value in params.items()}
        torch.testing.assert_close(value, loss(own, x[t], y[t]))


def test_frozen_parameters_stay_with_the_network():
    model = Mlp(6, [5], 3)
    model.body.requires_grad_(False)
    loss, (x, y) = meta.module_loss(model), data()
    assert list(loss.params()) == ["head.weight", "head.bias"]
    ways = [
        meta.maml_grad(loss, loss.params(), (x, y), (x, y), 0.1, 2, tasks=way)[0]
        for way in ("vmap", "loop", "batched")
    ]
    for name, value in ways[0].items():
        torch.testing.assert_close(value, ways[1][name])
        torch.testing.assert_close(value, ways[2][name])


def test_params_are_a_copy_and_can_go_back():
    model = Mlp(6, [5], 3)
    loss = meta.module_loss(model)
    params = loss.params()
    params["head.bias"].fill_(7)
    assert not bool((model.head.bias == 7).any())
    model.load_state_dict(params, strict=False)
    assert bool((model.head.bias == 7).all())


@pytest.mark.parametrize("tasks", ["vmap", "loop"])
def test_running_statistics_are_refused(tasks):
    model = small_resnet(3, in_channels=1, width=4)
    x, y = data(2, 4, (1, 8, 8))
    loss = meta.module_loss(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="leak from task to task"):
        meta.maml_grad(loss, loss.params(), (x, y), (x, y), 0.1, tasks=tasks)
    model.eval()
    grads, _ = meta.maml_grad(loss, loss.params(), (x, y), (x, y), 0.1, tasks=tasks)
    assert all(bool(g.isfinite().all()) for g in grads.values())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_dropout_draws_for_every_task():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3))
    loss = meta.module_loss(model)
    x, y = torch.ones(4, 1, 6), torch.zeros(4, 1, dtype=torch.int64)
    torch.manual_seed(0)
    curve = meta.adaptation_curve(loss, loss.params(), (x, y), (x, y), 0.1, 0)
    assert len(set(curve[0].tolist())) > 1


def test_what_cannot_be_stacked_says_so():
    x, y = data(2, 4, (1, 8, 8))
    for model in (nn.Conv2d(1, 3, 8), nn.Sequential(nn.Flatten(2), nn.Linear(64, 3))):
        loss = meta.module_loss(model)
        with pytest.raises(ValueError, match="vmap"):
            loss.stacked(loss.params(), x, y)


def test_bad_networks_are_refused():
    with pytest.raises(ValueError, match="nn.Module"):
        meta.module_loss(F.relu)
    with pytest.raises(ValueError, match="requires_grad"):
        meta.module_loss(nn.Linear(2, 2).requires_grad_(False))
