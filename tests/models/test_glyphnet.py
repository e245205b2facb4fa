"""glyphnet: the shipped file, its checks, and the command that rebuilds it."""

import re
from pathlib import Path

import pytest
import torch

from tlcourse import data, metrics, models, training
from tlcourse.models import glyphnet
from tlcourse.models.glyphnet_pretraining import SEEN, UNSEEN, pretrain

CARD = Path(__file__).parents[2] / "docs" / "model_cards" / "glyphnet.md"


@pytest.fixture
def copied(tmp_path, monkeypatch):
    file = tmp_path / "glyphnet.safetensors"
    for suffix in ("", ".sha256"):
        source = glyphnet.WEIGHTS.with_name(glyphnet.WEIGHTS.name + suffix)
        file.with_name(file.name + suffix).write_bytes(source.read_bytes())
    monkeypatch.setattr(glyphnet, "WEIGHTS", file)
    return file


def test_the_shipped_file_is_small():
    assert glyphnet.WEIGHTS.stat().st_size <= 1_000_000


def test_glyphnet_reads_letters_it_has_not_seen_drawn_so():
    latin = data.load("glyphs", script="latin", face="all", per_class=5, seed=77)
    classes = models.glyphnet_classes()
    columns = [classes.index(f"latin lower {letter}") for letter in latin.classes]
    logits = training.predict(models.load("glyphnet"), latin)
    assert metrics.accuracy(logits[:, columns], latin.y) > 0.95


def test_random_weights_do_not_read():
    latin = data.load("glyphs", script="latin", per_class=5)
    model = models.load("glyphnet", weights=None, num_classes=26)
    assert training.evaluate(model, latin).accuracy < 0.2


def test_num_classes_gives_a_fresh_head_on_the_same_body():
    whole, cut = models.load("glyphnet"), models.load("glyphnet", num_classes=24)
    assert cut.head.out_features == 24 and not cut.training
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(whole.features(x), cut.features(x))


def test_the_classes_are_those_of_the_seen_scripts_only():
    classes = models.glyphnet_classes()
    letters = {name.split()[-1] for name in classes}
    assert (
        len(classes) == len(set(classes)) == models.load("glyphnet").head.out_features
    )
    for script in UNSEEN:
        assert not letters & set(
            data.load("glyphs", script=script, per_class=1).classes
        )
    assert {name.split()[0] for name in classes} == {script for script, _ in SEEN}


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match="'glyphs' or None"):
        models.load("glyphnet", weights="imagenet")


@pytest.mark.parametrize("position", [0, 5_000, -1])
def test_a_damaged_file_is_named(copied, position):
    content = bytearray(copied.read_bytes())
    content[position] ^= 1
    copied.write_bytes(content)
    with pytest.raises(ValueError, match="glyphnet.safetensors is damaged.*pretrain"):
        models.load("glyphnet")


@pytest.mark.parametrize("suffix", ["", ".sha256"])
def test_a_missing_file_is_named(copied, suffix):
    copied.with_name(copied.name + suffix).unlink()
    with pytest.raises(models.ModelMissing, match="tlcourse data pretrain glyphnet"):
        models.load("glyphnet")


def test_weights_survive_storage(tmp_path):
    model = models.small_resnet(3)
    for buffer in (model.stem[1].running_var, model.stem[1].running_mean):
        buffer.fill_(1e-7)  # below what float16 resolves
    glyphnet.write_weights(tmp_path / "w.safetensors", model, {"key": "ä"})
    state, metadata = glyphnet.read_weights(tmp_path / "w.safetensors")
    assert metadata == {"key": "ä"}
    for name, value in model.state_dict().items():
        assert state[name].dtype == value.dtype
        torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-7)
    assert torch.equal(state["stem.1.running_var"], model.stem[1].running_var)


def test_pretraining_is_deterministic_and_quiet(tmp_path, capfd):
    files = []
    for name in ("a", "b"):
        torch.manual_seed(len(files))
        out = tmp_path / name / "w.safetensors"
        files.append(pretrain(out, seed=3, progress=False, per_class=1))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_pretraining_writes_a_card_with_a_row_per_script(tmp_path, capsys):
    card = tmp_path / "card.md"
    pretrain(tmp_path / "w.safetensors", card=card, per_class=1)
    rows = re.findall(r"^\| (\w[\w ]*) \| \d+ \|", card.read_text(), re.M)
    assert len(rows) == len(SEEN) + len(UNSEEN)
    assert "epoch 8 of 8" in capsys.readouterr().out


def test_the_card_in_the_docs_belongs_to_the_shipped_file():
    text = CARD.read_text(encoding="utf-8")
    _, metadata = glyphnet.read_weights(glyphnet.WEIGHTS)
    assert metadata["architecture"] in text
    parameters = sum(p.numel() for p in models.load("glyphnet").parameters())
    assert f"{parameters:,} parameters" in text
    latin = data.load("glyphs", script="latin", face="all", per_class=44, seed=900)
    classes = models.glyphnet_classes()
    columns = [classes.index(f"latin lower {letter}") for letter in latin.classes]
    logits = training.predict(models.load("glyphnet"), latin)[:, columns]
    assert f"| latin lower | 26 | {metrics.accuracy(logits, latin.y):.3f} |" in text
