import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tlcourse import training
from tlcourse.features import unfreeze
from tlcourse.language import (
    TextClassifier,
    freeze_all_but_head,
    llrd_groups,
    mean_pool,
    pack_texts,
)


def test_logits_are_pooled_features_through_the_head(tiny_bert, packed):
    model = TextClassifier(tiny_bert, 4).eval()
    ids, mask = packed.unbind(1)
    hidden = tiny_bert(input_ids=ids, attention_mask=mask).last_hidden_state
    expected = model.classifier(mean_pool(hidden, mask))
    torch.testing.assert_close(model(packed), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_a_text_does_not_see_its_neighbours(tiny_bert, packed, pool):
    model = TextClassifier(tiny_bert, 4, pool).eval()
    alone = torch.cat([model(row[None]) for row in packed])
    torch.testing.assert_close(model(packed), alone, rtol=1e-4, atol=1e-5)


def test_fit_evaluate_and_predict_take_it(tiny_bert, packed):
    model, y = TextClassifier(tiny_bert, 3), torch.tensor([0, 1, 2, 0, 1])
    before = training.evaluate(model, (packed, y)).loss
    groups = llrd_groups(model, 5e-3)
    training.fit(
        model,
        (packed, y),
        epochs=8,
        optimizer=torch.optim.AdamW(groups),
        batch_size=3,
        progress=False,
    )
    after = training.evaluate(model, (packed, y))
    assert after.loss < before and after.accuracy > 0.5
    assert training.predict(model, packed).shape == (5, 3)


@pytest.mark.parametrize("make", ["ours", "theirs"])
def test_only_the_head_moves_and_the_body_never_drops(
    make, tiny_bert, tiny_classifier, packed
):
    model = TextClassifier(tiny_bert, 4) if make == "ours" else tiny_classifier
    assert freeze_all_but_head(model) is model
    model.train()
    assert not any(m.training for m in model.base_model.modules())
    assert model.dropout.training and model.classifier.training
    before = copy.deepcopy(model.state_dict())
    learning = [p for p in model.parameters() if p.requires_grad]
    assert sum(p.numel() for p in learning) == 16 * 4 + 4
    ids, mask = packed.unbind(1)
    for _ in range(2):
        out = model(packed) if make == "ours" else model(ids, mask).logits
        loss = F.cross_entropy(out, torch.tensor([0, 1, 2, 3, 0]))
        for p, g in zip(learning, torch.autograd.grad(loss, learning), strict=True):
            p.data -= 0.1 * g
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"classifier.weight", "classifier.bias"}
    first, second = (model.base_model(ids, mask).last_hidden_state for _ in range(2))
    assert torch.equal(first, second)
    model.eval()
    assert not model.dropout.training


def test_a_head_that_was_frozen_learns_and_unfreeze_undoes_all(tiny_classifier):
    model = freeze_all_but_head(tiny_classifier.requires_grad_(False))
    assert model.classifier.weight.requires_grad
    unfreeze(model).train()
    assert model.base_model.encoder.layer[0].attention.self.dropout.training


def test_freeze_all_but_head_refuses_a_bare_encoder(tiny_bert):
    for model in (tiny_bert, nn.Linear(2, 2)):
        with pytest.raises(ValueError, match="TextClassifier"):
            freeze_all_but_head(model)


@pytest.mark.parametrize("make", ["ours", "theirs"])
def test_llrd_gives_every_parameter_one_rate(make, tiny_bert, tiny_classifier):
    model = TextClassifier(tiny_bert, 4) if make == "ours" else tiny_classifier
    groups = llrd_groups(model, 1e-3, 0.5)
    given = [id(p) for g in groups for p in g["params"]]
    assert sorted(given) == sorted(id(p) for p in model.parameters())
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    for name, p in model.named_parameters():
        power = next((3 - i for i in range(3) if f"layer.{i}." in name), 0)
        power = 4 if "embeddings." in name else power
        assert rate[id(p)] == pytest.approx(1e-3 * 0.5**power), name
    names = [g["name"] for g in groups]
    assert names == ["embeddings", "layer 0", "layer 1", "layer 2", "head"]
    torch.optim.AdamW(groups)


def test_llrd_with_lora_counts_all_layers_and_leaves_frozen_ones_out(tiny_classifier):
    from tlcourse.models import add_lora

    model = tiny_classifier.requires_grad_(False)
    model.classifier.requires_grad_(True)
    add_lora(model, ["bert.encoder.layer.1.attention.self.query"], 2, 4)
    groups = llrd_groups(model, 1e-3, 0.5, head_lr=0.1)
    rates = [(g["name"], g["lr"], len(g["params"])) for g in groups]
    assert rates == [("layer 1", 1e-3 * 0.5**2, 2), ("head", 0.1, 2)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lr": 0.0}, "lr must be"),
        ({"head_lr": -1.0}, "head_lr"),
        ({"decay": 1.2}, "decay"),
        ({"decay": 0.0}, "decay"),
        ({"model": nn.Linear(2, 2)}, "BERT-like"),
    ],
)
def test_llrd_refuses(change, words, tiny_classifier):
    with pytest.raises(ValueError, match=words):
        llrd_groups(**{"model": tiny_classifier, "lr": 1e-3} | change)
    with pytest.raises(ValueError, match="nothing to train"):
        llrd_groups(tiny_classifier.requires_grad_(False), 1e-3)


@pytest.mark.parametrize(
    "bad", [{"num_classes": 1}, {"pool": "max"}, {"dropout": 1.0}, {"encoder": "bert"}]
)
def test_text_classifier_refuses(bad, tiny_bert):
    with pytest.raises(ValueError, match="encoder must be|num_classes must be"):
        TextClassifier(**{"encoder": tiny_bert, "num_classes": 3} | bad)


def test_our_lora_is_peft_on_minilm(minilm):
    """Same trainable parameters, same logits, before and after the merge."""
    from peft import LoraConfig, get_peft_model

    from tlcourse.models import LoRALinear, add_lora, merge_lora

    theirs = TextClassifier(copy.deepcopy(minilm.model), 3).eval()
    ours = copy.deepcopy(theirs)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"])
    theirs = get_peft_model(theirs, config).eval()
    ours.requires_grad_(False)
    names = [n for n, _ in ours.named_modules() if n.endswith(("query", "value"))]
    add_lora(ours, names, rank=4, alpha=8)
    for name, layer in ours.named_modules():
        if isinstance(layer, LoRALinear):
            peer = theirs.base_model.model.get_submodule(name)
            nn.init.normal_(peer.lora_B["default"].weight, std=0.1)
            layer.lora_a.data = peer.lora_A["default"].weight.data.clone()
            layer.lora_b.data = peer.lora_B["default"].weight.data.clone()
    assert _num_learning(ours) == _num_learning(theirs)
    x = pack_texts(["a short text", "another text, a little longer"], minilm.tokenizer)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(merge_lora(ours)(x), expected, rtol=0, atol=1e-5)
        merged = theirs.merge_and_unload()(x)
    torch.testing.assert_close(ours(x).detach(), merged, rtol=0, atol=1e-5)


def _num_learning(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
