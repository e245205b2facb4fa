"""The methods on a toy whose answer is known, and what run() promises."""

import copy
import inspect
import math

import pytest
import torch
from torch import nn

from tlcourse import adapt, data
from tlcourse.adapt import methods, validators
from tlcourse.adapt.method import Batch, Method
from tlcourse.data import SealedError


class TinyNet(nn.Module):
    """A perceptron with BatchNorm: quick, and every method can run on it."""

    def __init__(self, classes=2):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.head = nn.Linear(16, classes)

    def features(self, x):
        return self.body(x)

    def forward(self, x):
        return self.head(self.features(x))


def clouds(n=120, shift=0.0, seed=0):
    """Two classes left and right; the target is moved by 1.5 along the first axis."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    x = torch.randn(n, 2, generator=generator) * 0.5
    x[:, 0] += torch.where(y == 1, 1.0, -1.0) + shift
    return x, y


def net():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return TinyNet()


def toy(method, seed=0, **settings):
    options = {"epochs": 8, "batch_size": 24, "progress": False, "model": net()}
    target = clouds(shift=1.5, seed=1)[0]
    return adapt.run(method, clouds(), target, seed, **(options | settings))


def accuracy(result):
    x, y = clouds(shift=1.5, seed=1)
    return (result.predict(x).argmax(1) == y).float().mean().item()


@pytest.mark.parametrize("method", adapt.METHODS)
def test_every_method_runs_and_repeats_itself(method):
    first, again, other = toy(method), toy(method), toy(method, seed=1)
    x = clouds()[0]
    assert torch.equal(first.predict(x), again.predict(x))
    assert not torch.equal(first.predict(x), other.predict(x))
    assert torch.isfinite(first.predict(x)).all()
    assert first.features(x).shape == (120, 16)
    assert len(first.history) == 8 and not first.model.training
    assert all(math.isfinite(e["source_loss"]) for e in first.history)


@pytest.mark.parametrize("method", [m for m in adapt.METHODS if m != "source_only"])
def test_every_method_beats_source_only_on_a_shift(method):
    assert accuracy(toy(method)) >= accuracy(toy("source_only")) - 0.01
    if method in ("adabn", "dan", "deep_coral", "dann", "cdan", "tent", "mcc"):
        assert accuracy(toy(method)) > accuracy(toy("source_only")) + 0.05


def test_methods_are_the_files():
    names = {m.stem for m in _files()}
    assert set(adapt.METHODS) == names and next(iter(adapt.METHODS)) == "source_only"
    assert all(inspect.getdoc(cls) for cls in adapt.METHODS.values())


def _files():
    from pathlib import Path

    folder = Path(methods.__path__[0])
    return [f for f in folder.glob("*.py") if not f.name.startswith("_")]


def test_one_more_file_is_one_more_method(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from tlcourse.adapt.method import Method\n\n\nclass Mine(Method):\n    pass\n"
    )
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    assert "mine" in methods.found()
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(TypeError, match="exactly one method"):
        methods.found()


def test_a_method_of_ones_own():
    class Watcher(Method):
        def loss(self, source: Batch, target: Batch, progress: float):
            assert target.y is None and len(source.z) == len(source.y)
            seen.append(progress)
            return 0.0

    seen = []
    result = toy(Watcher(), own_statistics=False)
    assert seen[0] == 0 and 0.9 < seen[-1] < 1 and seen == sorted(seen)
    assert accuracy(result) > 0.5


def test_sealed_labels_are_never_read():
    source = data.load("glyphs", script="digits", per_class=4, size=16)
    target = data.load("glyphs", script="digits", face="cmr10", per_class=4, size=16)
    peeks = data.oracle_peeks()
    sealed = target.sealed()
    result = adapt.run("dann", source, sealed, epochs=1, width=4, progress=False)
    assert result.predict(sealed).shape == (40, 10)
    scores = validators.scores(result.model, source, source, sealed)
    assert set(scores) == {
        "source_risk", "entropy", "information_maximisation", "snd", "dev_risk"
    }  # fmt: skip
    assert data.oracle_peeks() == peeks
    with pytest.raises(SealedError):
        sealed.y[0]


def test_target_labels_make_no_difference():
    source = data.load("glyphs", script="digits", per_class=4, size=16)
    results = [
        adapt.run("cdan", source, t, epochs=1, width=4, progress=False).predict(source)
        for t in (source, source.sealed(), source.x)
    ]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_the_given_model_and_the_callers_randomness_stay():
    model = net()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(7)
    state = torch.get_rng_state()
    toy("dann", model=model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_source_only_is_alike_whatever_the_target():
    x = clouds()[0]
    other = adapt.run(
        "source_only", clouds(), clouds(50, seed=4)[0], epochs=8, batch_size=24,
        progress=False, model=net(),
    )  # fmt: skip
    assert torch.equal(other.predict(x), toy("source_only").predict(x))


def test_strength_zero_only_changes_the_statistics():
    plain = toy("adabn").predict(clouds()[0])
    for method in ("dan", "deep_coral", "mcc", "entropy_minimization"):
        assert torch.allclose(toy(method, strength=0.0).predict(clouds()[0]), plain)


def test_a_shared_batch_is_another_thing():
    own, mixed = toy("dann"), toy("dann", own_statistics=False)
    assert not torch.equal(own.predict(clouds()[0]), mixed.predict(clouds()[0]))


def test_reversal_follows_schedule_and_warmup():
    dann = adapt.METHODS["dann"](strength=2.0, warmup=0.5)
    assert dann.reversal(0.49) == 0 and dann.reversal(0.5) == 0
    assert dann.reversal(0.75) == pytest.approx(2 * adapt.dann_lambda(0.5))
    assert adapt.METHODS["dann"](schedule=False).reversal(0.0) == 1.0


def test_mcc_is_a_plain_loop():
    logits = torch.randn(6, 3, dtype=torch.float64)
    batch = Batch(logits, logits, logits, None)
    p = (logits / 2.5).softmax(1)
    w = 1 + torch.exp((p * p.log()).sum(1))
    w = 6 * w / w.sum()
    c = sum(w[i] * torch.outer(p[i], p[i]) for i in range(6))
    expected = sum(1 - c[k, k] / c[k].sum() for k in range(3)) / 3
    loss = adapt.METHODS["mcc"]().loss(batch, batch, 0.5)
    assert torch.allclose(loss, expected)


def test_cdan_sees_the_outer_product():
    cdan = adapt.METHODS["cdan"](normalise=False)
    z, logits = torch.randn(4, 5), torch.randn(4, 3, requires_grad=True)
    inputs = cdan.inputs(Batch(z, z, logits, None))
    expected = torch.stack(
        [torch.outer(a, b).flatten() for a, b in zip(z, logits.softmax(1), strict=True)]
    )
    assert torch.allclose(inputs, expected) and not inputs.requires_grad
    p = logits.detach().softmax(1)
    weights = cdan.weights(Batch(z, z, logits, None))
    assert torch.allclose(weights, 1 + (p * p.log()).sum(1).exp())


def test_data_on_another_device_than_the_model_moves():
    if not torch.cuda.is_available():
        pytest.skip("needs a second device")
    assert toy("dann", model=net().cuda()).predict(clouds()[0]).shape == (120, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "dnn"}, "Did you mean 'dann'"),
        ({"strenght": 2.0}, "has no setting 'strenght'"),
        ({"strength": -1.0}, "strength"),
        ({"method": "source_only", "lr": 1e30, "epochs": 9}, "loss became"),
        ({"warmup": 2.0, "method": "dann"}, "warmup"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1}, "batch_size"),
        ({"lr": 0.0}, "lr"),
        ({"seed": -1}, "seed"),
        ({"source": (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))}, "source"),
        ({"target": torch.zeros(0, 2)}, "target needs at least two"),
        ({"target": torch.zeros(9, 3)}, "same size and channels"),
        ({"target": torch.full((9, 2), math.nan)}, "target hold NaN"),
        ({"target": torch.zeros(9, 2, dtype=torch.int64)}, "target must be"),
        ({"model": None}, "model of yours"),
        ({"model": nn.Linear(2, 2)}, "features"),
        ({"source": (clouds()[0], torch.arange(120))}, "2 outputs"),
    ],
)
def test_run_refuses(change, words):
    given = {
        "method": "dan", "source": clouds(), "target": clouds(seed=1)[0], "seed": 0,
        "epochs": 2, "progress": False, "model": net(),
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        adapt.run(**(given | change))


def test_run_refuses_other_classes():
    digits = data.load("glyphs", script="digits", per_class=2, size=16)
    letters = data.load("glyphs", script="latin", per_class=2, size=16)
    with pytest.raises(ValueError, match="same classes"):
        adapt.run("dan", digits, letters.sealed(), progress=False)


def test_an_instance_takes_no_settings():
    with pytest.raises(ValueError, match="into the method itself"):
        toy(adapt.METHODS["dan"](), strength=2.0)
