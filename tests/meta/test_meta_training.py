"""The outer loops learn, repeat, and leave the caller alone."""

import pytest
import torch
import torch.nn.functional as F

from tlcourse import meta


def waves(generator):
    return meta.sinusoid_batch(10, 10, 10, generator)


def setting():
    loss = meta.module_loss(meta.sinusoid_model(width=16), F.mse_loss)
    return loss, loss.params()


METHODS = {
    "maml": {"tasks": "batched", "outer_lr": 5e-3},
    "fomaml": {"tasks": "batched", "outer_lr": 5e-3},
    "reptile": {"tasks": "batched", "outer_lr": 0.5, "steps": 5},
}


@pytest.mark.parametrize("method", METHODS)
def test_adaptation_gets_better(method):
    loss, params = setting()
    before = {name: value.clone() for name, value in params.items()}
    state = torch.get_rng_state()
    options = {"method": method, "iterations": 250, "progress": False}
    done = meta.meta_train(loss, params, waves, **options, **METHODS[method])
    assert len(done.values) == 250
    support, query = meta.sinusoid_batch(200, 10, 50, torch.Generator().manual_seed(9))
    ends = [
        meta.adaptation_curve(loss, p, support, query, 0.01, 5, tasks="batched")[-1]
        for p in (params, done.params)
    ]
    assert float(ends[1].mean()) < 0.85 * float(ends[0].mean())
    assert torch.equal(state, torch.get_rng_state())
    for name, value in params.items():
        assert torch.equal(value, before[name]) and value.grad is None
        assert not done.params[name].requires_grad


def test_the_seed_decides():
    loss, params = setting()
    runs = [
        meta.meta_train(loss, params, waves, iterations=5, seed=s, progress=False)
        for s in (0, 0, 1)
    ]
    assert runs[0].values == runs[1].values != runs[2].values


def test_one_reptile_step_is_the_update():
    loss, params = setting()
    options = {"method": "reptile", "steps": 3, "outer_lr": 0.4, "iterations": 1}
    done = meta.meta_train(loss, params, waves, **options, progress=False)
    support, query = waves(torch.Generator().manual_seed(0))
    both = tuple(torch.cat(pair, 1) for pair in zip(support, query, strict=True))
    ends = meta.adapt_params(loss, params, both, 0.01, 3)
    for name, value in meta.reptile_update(params, ends, 0.4).items():
        torch.testing.assert_close(done.params[name], value)


@pytest.mark.parametrize(
    "change, word",
    [
        ({"method": "anil"}, "method"),
        ({"method": "reptile", "steps": 1}, "steps >= 2"),
        ({"method": "reptile", "steps": 3, "outer_lr": 2.0}, "outer_lr"),
        ({"outer_lr": -1.0}, "outer_lr"),
        ({"iterations": 0}, "iterations"),
        ({"inner_lr": 1e20, "steps": 3}, "inner_lr"),
    ],
)
def test_bad_settings_name_the_argument(change, word):
    loss, params = setting()
    options = {"iterations": 2, "progress": False, **change}
    with pytest.raises(ValueError, match=word):
        meta.meta_train(loss, params, waves, **options)
