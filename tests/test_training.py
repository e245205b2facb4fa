"""The training loop against hand-written loops, and its resumption after a kill."""

import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tlcourse import training


def blobs(n=60, d=4, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    centres = torch.randn(classes, d, generator=generator)
    return centres[y] + 0.3 * torch.randn(n, d, generator=generator), y


def net(dropout=0.0, norm=False, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)]
    if norm:
        layers.insert(1, nn.BatchNorm1d(8))
    return nn.Sequential(*layers)


def same_state(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def quiet(model, data, **options):
    options = {"epochs": 3, "batch_size": 16, "progress": False} | options
    return training.fit(model, data, **options)


# --- evaluate and predict


@pytest.mark.parametrize("batch_size", [1, 7, 60, 500])
def test_evaluate_is_the_mean_over_samples(batch_size):
    x, y = blobs()
    model = net(norm=True).eval()
    with torch.no_grad():
        losses = [F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]) for i in range(60)]
        hits = [int(model(x[i : i + 1]).argmax()) == int(y[i]) for i in range(60)]
    result = training.evaluate(model, (x, y), batch_size=batch_size)
    assert result.loss == pytest.approx(sum(map(float, losses)) / 60, rel=1e-5)
    assert (result.accuracy, result.n) == (pytest.approx(sum(hits) / 60), 60)


def test_evaluate_runs_in_eval_mode_and_gives_every_mode_back():
    model = net(dropout=0.9, norm=True).train()
    model[1].eval()
    before = {name: m.training for name, m in model.named_modules()}
    running = model[1].running_mean.clone()
    first, second = (training.evaluate(model, blobs()) for _ in range(2))
    assert first == second
    assert {name: m.training for name, m in model.named_modules()} == before
    assert torch.equal(model[1].running_mean, running)


def test_modes_come_back_after_an_error():
    model = net().train()
    with pytest.raises(RuntimeError):
        training.predict(model, torch.zeros(3, 5))
    assert all(m.training for m in model.modules())


def test_regression_has_no_accuracy():
    x, _ = blobs()
    result = training.evaluate(nn.Linear(4, 1), (x, x.sum(1, True)), loss=F.mse_loss)
    assert math.isnan(result.accuracy) and result.loss > 0


def test_predict_equals_the_model_and_keeps_no_graph():
    x, y = blobs()
    model = net().eval()
    out = training.predict(model, (x, y), batch_size=7)
    torch.testing.assert_close(out, model(x).detach())
    assert not out.requires_grad


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((torch.zeros(0, 4), torch.zeros(0).long()), "is empty"),
        ((torch.zeros(3, 4), torch.zeros(2).long()), "3 inputs but 2 labels"),
        ((torch.full((3, 4), math.nan), torch.zeros(3).long()), "NaN"),
        ((torch.zeros(3, 4), torch.zeros(3).int()), "int64 or float"),
        ((torch.zeros(3, 4), [0, 1, 2]), "int64 or float"),
        ((["a"] * 3, torch.zeros(3).long()), "in a tensor"),
        ((torch.zeros(3, 4), torch.tensor([0, 1, 3])), "labels run from 0 to 3"),
        (torch.zeros(3, 4), "has no labels"),
    ],
)
def test_bad_data_is_refused_by_both(data, message):
    with pytest.raises(ValueError, match=message):
        training.evaluate(net(), data)
    with pytest.raises(ValueError, match=message):
        quiet(net(), data)


def test_sealed_labels_stay_sealed():
    from tlcourse.data import Sealed, SealedError

    x, y = blobs()
    with pytest.raises(SealedError):
        quiet(net(), (x, Sealed(y)))
    with pytest.raises(SealedError):
        training.evaluate(net(), (x, Sealed(y)))
    assert training.predict(net(), (x, Sealed(y))).shape == (60, 3)


# --- fit


def test_one_full_batch_step_equals_a_hand_written_step():
    x, y = blobs()
    ours, theirs = net(), net()
    quiet(ours, (x, y), epochs=1, batch_size=60, lr=0.01, weight_decay=0.1)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
    F.cross_entropy(theirs(x), y).backward()
    optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_do_not_accumulate_between_steps():
    x, y = blobs()
    ours, theirs = net(), net()
    sgd = torch.optim.SGD(ours.parameters(), lr=0.1)
    quiet(ours, (x, y), epochs=3, batch_size=60, optimizer=sgd)
    for _ in range(3):
        grads = torch.autograd.grad(F.cross_entropy(theirs(x), y), theirs.parameters())
        with torch.no_grad():
            for p, g in zip(theirs.parameters(), grads, strict=True):
                p -= 0.1 * g
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_training_loss_is_the_mean_over_samples():
    x, y = blobs(n=50)  # 4 batches of 12 or 13
    model = net()
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    history = quiet(model, (x, y), epochs=1, batch_size=16, optimizer=frozen)
    expected = F.cross_entropy(model(x), y).item()
    assert history.train_loss[0] == pytest.approx(expected, rel=1e-5)


def test_every_sample_is_seen_once_in_batches_of_nearly_one_size():
    seen = []

    def note(x, generator):
        seen.append(x[:, 0].tolist())
        return x

    x = torch.arange(50.0)[:, None].repeat(1, 4)
    quiet(net(), (x, torch.zeros(50).long()), epochs=1, batch_size=16, augment=note)
    assert sorted(sum(seen, [])) == list(range(50))
    assert sum(seen, []) != list(range(50))
    assert {len(batch) for batch in seen} == {12, 13}


def test_every_epoch_has_its_own_order():
    seen = []

    def note(x, generator):
        seen.append(x[:, 0].tolist())
        return x

    x = torch.arange(50.0)[:, None].repeat(1, 4)
    quiet(net(), (x, torch.zeros(50).long()), epochs=2, batch_size=50, augment=note)
    assert sorted(seen[0]) == sorted(seen[1]) and seen[0] != seen[1]


def test_a_model_given_in_eval_mode_is_trained_in_train_mode():
    modes = []
    model = net().eval()
    model[0].register_forward_hook(lambda m, args, out: modes.append(m.training))
    quiet(model, blobs(), epochs=2, batch_size=60, validation=blobs(n=9))
    assert modes == [True, False, True, False]


def test_a_validation_loss_that_is_not_finite_is_named():
    x, y = blobs()
    extreme = (x * 1e38, y)
    with pytest.raises(ValueError, match="validation loss became"):
        quiet(net(), (x, y), validation=extreme)


def test_frozen_parameters_stay_and_frozen_batchnorm_still_drifts():
    model = net(norm=True)
    for layer in model[:2]:
        layer.requires_grad_(False)
    weight, mean = model[0].weight.clone(), model[1].running_mean.clone()
    head = model[-1].weight.clone()
    quiet(model, blobs(), weight_decay=0.5)
    assert torch.equal(model[0].weight, weight)
    assert not torch.equal(model[1].running_mean, mean)  # fit calls model.train()
    assert not torch.equal(model[-1].weight, head)


def test_fit_leaves_eval_mode_and_the_callers_random_state():
    model = net(dropout=0.5)
    state = torch.get_rng_state()
    quiet(model, blobs())
    assert not any(m.training for m in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_alone_decides():
    models = [net(dropout=0.5) for _ in range(3)]
    for model, seed, noise in zip(models, [1, 1, 2], [0, 99, 0], strict=True):
        torch.manual_seed(noise)
        quiet(model, blobs(), seed=seed)
    assert same_state(models[0], models[1])
    assert not same_state(models[0], models[2])


def test_fit_learns_separable_classes():
    model = net()
    history = quiet(model, blobs(), epochs=60, lr=0.02)
    assert training.evaluate(model, blobs()).accuracy > 0.9
    assert history.train_loss[-1] < history.train_loss[0]


def test_history_matches_an_evaluation_after_the_last_epoch():
    model, validation = net(), blobs(seed=1)
    history = quiet(model, blobs(), validation=validation)
    result = training.evaluate(model, validation)
    assert len(history.val_loss) == 3 and not history.stopped_early
    assert (history.val_loss[-1], history.val_accuracy[-1]) == result[:2]


def overfitting():
    """Validation labels that contradict training: the loss rises from the start."""
    x, y = blobs()
    return {"validation": (x, (y + 1) % 3), "lr": 0.05}


def test_patience_stops_and_brings_the_best_weights_back():
    model, one_epoch = net(), net()
    history = quiet(model, blobs(), epochs=30, patience=2, **overfitting())
    assert history.stopped_early
    assert len(history.val_loss) == history.best_epoch + 3 < 30
    assert history.val_loss[history.best_epoch] == min(history.val_loss)
    quiet(one_epoch, blobs(), epochs=history.best_epoch + 1, lr=0.05)
    assert same_state(model, one_epoch)


def test_without_patience_the_last_weights_stay():
    model, plain = net(), net()
    history = quiet(model, blobs(), **overfitting())
    quiet(plain, blobs(), lr=0.05)
    assert history.best_epoch == 0
    assert same_state(model, plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be"),
        ({"batch_size": 2.5}, "batch_size must be"),
        ({"seed": -1}, "seed must be"),
        ({"patience": 0, "validation": blobs()}, "patience must be"),
        ({"patience": 3}, "patience needs a validation set"),
        ({"loss": lambda z, y: F.cross_entropy(z, y, reduction="none")}, "one number"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        quiet(net(), blobs(), **options)


def test_a_model_with_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="nothing to train"):
        quiet(net().requires_grad_(False), blobs())


def test_divergence_is_named():
    sgd_model = net()
    optimizer = torch.optim.SGD(sgd_model.parameters(), lr=1e30)
    with pytest.raises(ValueError, match="in epoch [01]; use a smaller lr"):
        quiet(sgd_model, blobs(), optimizer=optimizer)


def test_a_short_run_writes_nothing(capfd):
    quiet(net(), blobs(), progress=True)
    assert capfd.readouterr() == ("", "")


def test_a_long_run_shows_its_bar_on_stdout_and_wipes_it(capfd):
    def slow(x, generator):
        time.sleep(0.55)
        return x

    quiet(net(), blobs(), epochs=5, batch_size=60, progress=True, augment=slow)
    out, err = capfd.readouterr()
    assert "epoch" in out and out.rsplit("\r", 2)[-2].strip() == "" and err == ""


# --- checkpoints

SETTINGS = {"epochs": 6, "patience": 4, "seed": 3}


def reference():
    model = net(dropout=0.3, norm=True)
    history = quiet(model, blobs(), validation=blobs(seed=1), **SETTINGS)
    return model, history


def resumed(path, **changes):
    model = net(dropout=0.3, norm=True, seed=8)  # other weights: the file's count
    options = SETTINGS | {"validation": blobs(seed=1)} | changes
    return model, quiet(model, blobs(), checkpoint=path, **options)


KILLED = """
import os, signal
import test_training as t
epochs = []
def die_in_third_epoch(x, generator):
    epochs.append(len(epochs) // 4)
    if epochs[-1] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x
model = t.net(dropout=0.3, norm=True)
t.quiet(model, t.blobs(), validation=t.blobs(seed=1), checkpoint={path!r},
        augment=die_in_third_epoch, **t.SETTINGS)
"""


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    path = tmp_path / "run.pt"
    here = os.path.dirname(__file__)
    paths = [here, os.path.dirname(here)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    code = KILLED.format(path=str(path))
    result = subprocess.run([sys.executable, "-c", code], env=environment)
    assert result.returncode == -signal.SIGKILL
    assert torch.load(path, weights_only=True)["epoch"] == 2
    model, history = resumed(path)
    expected_model, expected_history = reference()
    assert history == expected_history
    assert same_state(model, expected_model)
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


def test_a_finished_run_is_read_back_and_can_be_made_longer(tmp_path):
    path = tmp_path / "deep" / "run.pt"
    resumed(path, epochs=2)
    first = path.read_bytes()
    again, history = resumed(path, epochs=2)
    assert path.read_bytes() == first and len(history.train_loss) == 2
    longer, history = resumed(path)
    straight = net(dropout=0.3, norm=True, seed=8)
    expected = quiet(straight, blobs(), validation=blobs(seed=1), **SETTINGS)
    assert history == expected
    assert same_state(longer, straight)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    resumed(path, epochs=1)
    before = path.read_bytes()

    def full_disk(*args):
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        resumed(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", "half", "foreign"])
def test_a_damaged_checkpoint_is_named_and_kept(tmp_path, damage):
    path = tmp_path / "run.pt"
    if damage == "foreign":
        torch.save({"weights": torch.zeros(2)}, path)
    else:
        resumed(path, epochs=1)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="run.pt.*It was kept"):
        resumed(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 4}, "seed was 3, now 4"),
        ({"batch_size": 8}, "batch_size was 16, now 8"),
        ({"lr": 0.5}, "other optimizer settings"),
        ({"loss": F.multi_margin_loss}, "loss was 'cross_entropy'"),
        ({"validation": blobs(seed=2)}, "other validation data"),
        ({"epochs": 1}, "2 epochs, more than the 1 asked for"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_kept(tmp_path, changes, message):
    path = tmp_path / "run.pt"
    resumed(path, epochs=2)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        resumed(path, **changes)
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    resumed(path, epochs=1)
    with pytest.raises(ValueError, match="other model"):
        quiet(
            net(dropout=0.3),
            blobs(),
            validation=blobs(seed=1),
            checkpoint=path,
            **SETTINGS,
        )


def test_a_folder_that_cannot_hold_a_checkpoint_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        quiet(net(), blobs(), checkpoint=tmp_path / "file" / "run.pt")
