"""The same code on every device: what runs on the CPU runs on CUDA, to the same end."""

import pytest
import torch

import tlcourse
from tlcourse import adapt, data, features, losses, meta, models, shift, training
from tlcourse import pretraining as pre
from tlcourse.models.lora import LoRALinear

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    monkeypatch.setenv("TLCOURSE_DEVICE", request.param)
    return tlcourse.device()


@pytest.fixture(scope="module")
def letters():
    return data.load("glyphs", script="latin", per_class=20, size=16)


def test_training_learns_and_evaluates(device, letters):
    train, test = letters.split(0.8, 0.2)
    model = models.small_resnet(len(letters.classes), width=8).to(device)
    history = training.fit(model, train, epochs=6, lr=5e-3, progress=False)
    assert history.train_loss[-1] < history.train_loss[0] / 2
    found = training.evaluate(model, test)
    assert found.n == len(test) and found.accuracy > 0.3
    assert training.predict(model, test).shape == (len(test), len(letters.classes))
    assert all(p.device.type == device.type for p in model.parameters())


def test_losses_agree_with_the_cpu(device):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 5, generator=rng)
    teacher = torch.randn(12, 5, generator=rng)
    targets = torch.arange(12) % 5
    for loss, given in [
        (losses.cross_entropy, (logits, targets)),
        (losses.label_smoothing_ce, (logits, targets)),
        (losses.distillation_loss, (logits, teacher)),
        (losses.triplet_loss, (logits, targets)),
    ]:
        here = loss(*(x.to(device) for x in given))
        assert here.device.type == device.type
        torch.testing.assert_close(here.cpu(), loss(*given), rtol=1e-4, atol=1e-6)


def test_frozen_features_agree_with_the_cpu(device, letters):
    net = models.load("glyphnet", num_classes=None)
    x = data.load("glyphs", script="greek", per_class=2).x
    with torch.no_grad():
        wanted = net.eval().features(x)
        found = net.to(device).features(x.to(device))
    torch.testing.assert_close(found.cpu(), wanted, rtol=1e-3, atol=1e-3)
    cka = features.linear_cka(found, wanted.to(device))
    assert float(cka) == pytest.approx(1, abs=1e-4)


def test_shift_agrees_with_the_cpu(device):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 6, generator=rng), torch.randn(30, 6, generator=rng) + 1
    found = []
    for where in ("cpu", device):
        a, b = (z.to(where).requires_grad_() for z in (x, y))
        value = shift.mmd2(a, b)
        value.backward()
        linear = shift.mmd_linear_time(a[:30], b, 1.0).value
        test = shift.permutation_test(a.detach(), b.detach(), seed=0)
        found.append(
            [
                value,
                a.grad,
                linear,
                shift.coral_distance(a, b),
                shift.sliced_wasserstein(a.detach(), b.detach(), seed=0),
                torch.tensor(test.p_value),
            ]
        )
    for wanted, here in zip(*found, strict=True):
        torch.testing.assert_close(here.detach().cpu(), wanted.detach())


@pytest.mark.parametrize("method", ["source_only", "dann", "ot_map", "tent"])
def test_a_method_adapts_where_it_is_told(device, method):
    options = dict(per_class=6, size=16)
    source = data.load("glyphs", script="digits", face="DejaVuSans", **options)
    target = data.load("glyphs", script="digits", face="DejaVuSerif", **options)
    result = adapt.run(
        method, source, target.sealed(), epochs=1, width=4, progress=False
    )
    assert {p.device.type for p in result.model.parameters()} == {device.type}
    assert result.predict(target.x).shape == (len(target), 10)


def test_lora_agrees_with_the_cpu(device):
    torch.manual_seed(0)
    layer = LoRALinear(torch.nn.Linear(5, 3), rank=2, alpha=4)
    torch.nn.init.normal_(layer.lora_b)
    x = torch.randn(4, 5)
    wanted = layer(x)
    here = layer.to(device).merge()(x.to(device))
    torch.testing.assert_close(here.cpu(), wanted)


def test_contrastive_losses_agree_with_the_cpu(device):
    rng = torch.Generator().manual_seed(0)
    z1, z2 = (torch.randn(300, 8, generator=rng) for _ in range(2))
    y = torch.arange(300) % 7
    for loss, given in [
        (losses.nt_xent, (z1, z2)),
        (losses.sup_con, (z1, y)),
        (losses.vicreg, (z1, z2)),
        (losses.alignment, (z1, z2)),
        (losses.uniformity, (z1,)),
    ]:
        found = []
        for where in ("cpu", device):
            z = given[0].clone().to(where).requires_grad_()
            value = loss(z, *(x.to(where) for x in given[1:]))
            value.backward()
            found.append((value.detach().cpu(), z.grad.cpu()))
        torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_pretraining_learns(device, letters):
    net = models.small_resnet(2, width=4).to(device)
    projector = pre.Projector(net.feature_dim, 16, 8).to(device)
    history = pre.pretrain(
        net,
        projector,
        letters.x,
        losses.nt_xent,
        pre.Jitter(),
        epochs=2,
        progress=False,
    )
    assert history.loss[1] < history.loss[0]
    assert {p.device.type for p in net.parameters()} == {device.type}


@pytest.mark.parametrize("tasks", ["vmap", "loop", "batched"])
def test_meta_gradient_agrees_with_the_cpu(device, tasks):
    loss = meta.module_loss(meta.sinusoid_model(8), torch.nn.functional.mse_loss)
    generator = torch.Generator().manual_seed(0)
    batches = meta.sinusoid_batch(3, 5, 5, generator)
    found = []
    for where in ("cpu", device):
        params = {name: p.to(where) for name, p in loss.params().items()}
        support, query = (tuple(v.to(where) for v in pair) for pair in batches)
        grads, value = meta.maml_grad(
            loss, params, support, query, 0.01, steps=2, tasks=tasks
        )
        found.append(({k: g.cpu() for k, g in grads.items()}, value.cpu()))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_episodes_are_learnt(device, letters):
    net = models.small_resnet(2, width=4).to(device)
    options = dict(num_ways=5, num_shots=1, num_queries=5, progress=False)
    history = meta.train_episodes(net.features, letters, steps=3, **options)
    assert len(history.loss) == 3
    result = meta.few_shot_accuracy(net.features, letters, episodes=4, **options)
    assert 0 <= result.interval.value <= 1
