import math

import pytest
import torch

from tlcourse.language import mask_tokens, special_mask

MASK, VOCAB = 3, 1000


def inputs(b=200, t=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCAB, (b, t), generator=generator)
    special = torch.zeros(b, t, dtype=torch.bool)
    special[:, [0, 40]], special[:, 41:] = True, True
    ids[:, 0], ids[:, 40], ids[:, 41:] = 1, 2, 0
    return ids, special


def shares(ids, special, masked, labels):
    """Chosen of all ordinary tokens, then masked, kept and other of the chosen."""
    chosen = labels != -100
    now, before = masked[chosen], ids[chosen]
    return [
        chosen.sum() / (~special).sum(),
        (now == MASK).double().mean(),
        (now == before).double().mean(),
        ((now != MASK) & (now != before)).double().mean(),
    ], int(chosen.sum())


def test_shares_are_those_of_the_paper():
    ids, special = inputs()
    masked, labels = mask_tokens(ids, special, MASK, VOCAB)
    found, n = shares(ids, special, masked, labels)
    for share, p, count in zip(
        found, [0.15, 0.8, 0.1, 0.1], [(~special).sum(), n, n, n], strict=True
    ):
        assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / count) + 1 / VOCAB


def test_same_shares_as_transformers(minilm):
    """Two independent draws: shares differ by sampling error alone."""
    from transformers import DataCollatorForLanguageModeling

    tokenizer = minilm.tokenizer
    texts = ["the quick brown fox jumps over the lazy dog " * 8] * 150
    tokens = tokenizer(texts, return_special_tokens_mask=True)
    collator = DataCollatorForLanguageModeling(tokenizer)
    theirs = collator([{k: v[i] for k, v in tokens.items()} for i in range(len(texts))])
    ids = torch.tensor(tokens["input_ids"])
    special = special_mask(ids, tokenizer)
    assert torch.equal(special, torch.tensor(tokens["special_tokens_mask"]).bool())
    ours = mask_tokens(ids, special, tokenizer.mask_token_id, len(tokenizer))
    theirs = theirs["input_ids"], theirs["labels"]
    found = []
    for masked, labels in (ours, theirs):
        chosen = labels != -100
        now, before = masked[chosen], ids[chosen]
        fractions = chosen.double(), now == 103, now == before
        found.append([f.double().mean().item() for f in fractions])
    n = 0.15 * ids.numel()
    expected, counts = (0.15, 0.8, 0.1), (ids.numel(), n, n)
    for a, b, p, count in zip(*found, expected, counts, strict=True):
        assert abs(a - b) < 5 * math.sqrt(2 * p * (1 - p) / count)


def test_specials_and_inputs_stay_and_labels_are_the_originals():
    ids, special = inputs()
    before = ids.clone()
    masked, labels = mask_tokens(ids, special, MASK, VOCAB, probability=1.0)
    assert torch.equal(ids, before)
    assert torch.equal(masked[special], ids[special])
    assert torch.equal(labels, torch.where(special, -100, ids))
    assert masked.min() >= 0 and masked.max() < VOCAB


def test_untouched_where_nothing_was_chosen():
    ids, special = inputs()
    masked, labels = mask_tokens(ids, special, MASK, VOCAB)
    assert torch.equal(masked[labels == -100], ids[labels == -100])


def test_random_tokens_cover_the_vocabulary_evenly():
    ids = torch.full((2000, 100), 7)
    none = torch.zeros(2000, 100, dtype=torch.bool)
    masked, _ = mask_tokens(ids, none, 0, 10, probability=1.0)
    counts = masked.flatten().bincount(minlength=10)[[1, 2, 3, 4, 5, 6, 8, 9]]
    expected = 0.1 * ids.numel() / 10
    assert ((counts - expected).abs() < 5 * math.sqrt(expected)).all()


def test_the_generator_decides():
    ids, special = inputs()
    first, again, other = (
        mask_tokens(
            ids, special, MASK, VOCAB, generator=torch.Generator().manual_seed(s)
        )[0]
        for s in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ids": torch.rand(2, 3)}, "int64"),
        ({"ids": torch.zeros(2, 0, dtype=torch.int64)}, "non-empty"),
        ({"special": torch.zeros(2, 3)}, "special_mask"),
        ({"special": torch.zeros(2, 4).bool()}, "bool tensor"),
        ({"probability": 0.0}, "probability"),
        ({"probability": 1.5}, "probability"),
        ({"mask_id": 12}, "mask_id"),
        ({"vocab_size": 4}, "vocab_size"),
    ],
)
def test_refusals(change, words):
    given = {
        "ids": torch.tensor([[1, 5, 2], [1, 9, 2]]),
        "special": torch.zeros(2, 3).bool(),
        "mask_id": 3,
        "vocab_size": 12,
    }
    with pytest.raises(ValueError, match=words):
        mask_tokens(**given | change)
