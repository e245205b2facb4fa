import copy

import pytest
import torch
import torch.nn.functional as F

from tlcourse.language import MaskedLanguageModel, embed, train_masked

TEXTS = [
    "A cat sits on the mat.",
    "Stocks fell.",
    "A kitten rests on a rug, and it seems to sleep there all day long.",
]


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_padded_and_alone_are_the_same(minilm, pool):
    together = embed(TEXTS, minilm, pool=pool)
    alone = torch.cat([embed([t], minilm, pool=pool) for t in TEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_rows_keep_the_order_of_the_texts_and_the_plain_formula(minilm):
    z = embed(TEXTS, minilm, batch_size=2)
    for row, text in zip(z, TEXTS, strict=True):
        tokens = minilm.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = minilm.model(**tokens).last_hidden_state[0]
        torch.testing.assert_close(row, states.mean(0), rtol=1e-4, atol=1e-5)


def test_meaning_is_near(minilm):
    z = embed(TEXTS, minilm, normalize=True)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3))
    similarity = z @ z.T
    assert similarity[0, 2] > 0.4 > 0.2 > similarity[0, 1]


def test_modes_stay_and_no_graph_is_kept(minilm):
    minilm.model.train()
    minilm.model.pooler.eval()
    modes = [m.training for m in minilm.model.modules()]
    first, second = embed(TEXTS, minilm), embed(TEXTS, minilm)
    assert [m.training for m in minilm.model.modules()] == modes
    minilm.model.eval()
    assert torch.equal(first, second) and not first.requires_grad


@pytest.mark.parametrize(
    ("texts", "options", "words"),
    [
        ([], {}, "empty"),
        ("text", {}, "list of strings"),
        ([None], {}, "NoneType"),
        (TEXTS, {"pool": "max"}, "pool"),
        (TEXTS, {"batch_size": 0}, "batch_size"),
    ],
)
def test_embed_refuses(minilm, texts, options, words):
    with pytest.raises(ValueError, match=words):
        embed(texts, minilm, **options)


def test_masked_loss_is_the_cross_entropy_over_the_whole_batch(tiny_bert, packed):
    model = MaskedLanguageModel(tiny_bert).eval()
    torch.nn.init.normal_(model.bias)
    ids, mask = packed.unbind(1)
    labels = torch.full_like(ids, -100)
    labels[0, 1], labels[3, 2], labels[3, 5] = 7, 0, 49
    hidden = tiny_bert(input_ids=ids, attention_mask=mask).last_hidden_state
    words = tiny_bert.embeddings.word_embeddings.weight
    logits = model.transform(hidden) @ words.T + model.bias  # (b, t, v)
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(model(ids, mask, labels), expected)
    with pytest.raises(ValueError, match="no chosen token"):
        model(ids, mask, torch.full_like(ids, -100))


def test_train_masked_learns_moves_the_encoder_and_repeats_itself(minilm, tiny_config):
    from transformers import BertModel

    from tlcourse.models import LanguageModel

    tiny_config.vocab_size = len(minilm.tokenizer)
    lm = LanguageModel(BertModel(tiny_config).eval(), minilm.tokenizer)
    twin = copy.deepcopy(lm.model)
    texts = ["the cat sat on the mat and the dog sat on the cat"] * 64
    options = {"epochs": 8, "lr": 1e-2, "head_lr": 1e-2, "batch_size": 16}
    state = torch.get_rng_state()
    losses = train_masked(texts, lm, progress=False, **options)
    assert torch.equal(state, torch.get_rng_state())
    assert len(losses) == 32 and sum(losses[-4:]) < 0.7 * sum(losses[:4])
    assert not lm.model.training
    words = lm.model.embeddings.word_embeddings.weight
    assert not torch.equal(words, twin.embeddings.word_embeddings.weight)
    again = train_masked(
        texts, LanguageModel(twin, minilm.tokenizer), progress=False, **options
    )
    assert again == losses


def test_train_masked_refuses(minilm):
    with pytest.raises(ValueError, match="epochs"):
        train_masked(TEXTS, minilm, epochs=0)
