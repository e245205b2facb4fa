import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.language import collate, pack_texts, truncate_pair
from tlcourse.language.batching import unpack

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "the",
    "dog",
    "ran",
    "to",
    "its",
    "bed",
    "in",
    "one",
    "small",
    "house",
]


def popped(a, b, max_length, num_special):
    """BERT's own code: one token at a time."""
    a, b = list(a), list(b)
    while len(a) + len(b) > max_length - num_special:
        (a if len(a) > len(b) else b).pop()
    return a, b


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40), st.integers(0, 4))
def test_truncate_pair_is_the_loop(n, m, room, num_special):
    a, b = list(range(n)), list(range(100, 100 + m))
    expected = popped(a, b, room + num_special, num_special)
    assert truncate_pair(a, b, room + num_special, num_special) == expected
    assert a == list(range(n)) and b == list(range(100, 100 + m))


@pytest.mark.parametrize("n, m", [(3, 12), (12, 3), (12, 9), (10, 10), (14, 12)])
@pytest.mark.parametrize("room", [8, 10, 14])
def test_the_tokenizer_cuts_alike(minilm, n, m, room):
    """With an even room; at an odd one libraries differ in who keeps one more."""
    tokenizer = minilm.tokenizer
    a, b = " ".join(WORDS[:n]), " ".join(WORDS[-m:])
    theirs = tokenizer(a, b, truncation="longest_first", max_length=room + 3)
    ids = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in (a, b)]
    assert [len(part) for part in ids] == [n, m]
    first, second = truncate_pair(*ids, room + 3)
    ours = [tokenizer.cls_token_id, *first, tokenizer.sep_token_id]
    assert [*ours, *second, tokenizer.sep_token_id] == theirs["input_ids"]


def test_truncate_pair_returns_new_lists_and_takes_any_sequence():
    a, b = (1, 2), range(3)
    first, second = truncate_pair(a, b, 20)
    assert (first, second) == ([1, 2], [0, 1, 2])
    given_list = [1, 2]
    truncate_pair(given_list, [], 20)[0].append(3)
    assert given_list == [1, 2]


@pytest.mark.parametrize("max_length, num_special", [(3, 3), (0, 0), (5, -1)])
def test_truncate_pair_refuses(max_length, num_special):
    with pytest.raises(ValueError, match="max_length"):
        truncate_pair([1], [2], max_length, num_special)


def test_collate_is_what_the_tokenizer_pads(minilm):
    from transformers import DataCollatorWithPadding

    tokenizer = minilm.tokenizer
    tokens = tokenizer([" ".join(WORDS[:n]) for n in (3, 9, 5)])["input_ids"]
    examples = [
        {"input_ids": ids, "label": y} for ids, y in zip(tokens, (2, 0, 1), strict=True)
    ]
    batch = collate(examples, tokenizer.pad_token_id)
    theirs = DataCollatorWithPadding(tokenizer)([dict(e) for e in examples])
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    for name, value in batch.items():
        assert torch.equal(value, theirs[name]) and value.dtype == torch.int64


def test_a_token_with_the_number_of_padding_is_not_padding():
    batch = collate([{"input_ids": [4, 7]}, {"input_ids": [7, 7, 5]}], pad_id=7)
    assert batch["input_ids"].tolist() == [[4, 7, 7], [7, 7, 5]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert "labels" not in batch


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ([], "at least one text"),
        ([{"input_ids": [1]}, {"input_ids": []}], "empty"),
        ([{"input_ids": [1], "label": 0}, {"input_ids": [1]}], "1 of 2"),
    ],
)
def test_collate_refuses(examples, words):
    with pytest.raises(ValueError, match=words):
        collate(examples)


def test_pack_texts_and_unpack_go_round(minilm):
    texts = [" ".join(WORDS[:n]) for n in (2, 12, 4)]
    packed = pack_texts(texts, minilm.tokenizer)
    assert packed.shape == (3, 2, 14) and packed.dtype == torch.int64
    batch = unpack(packed[[0, 2]])
    theirs = minilm.tokenizer([texts[0], texts[2]], padding=True, return_tensors="pt")
    assert torch.equal(batch["input_ids"], theirs["input_ids"])
    assert torch.equal(batch["attention_mask"], theirs["attention_mask"])
    assert pack_texts(texts, minilm.tokenizer, max_length=6).shape == (3, 2, 6)


def test_pack_texts_refuses(minilm):
    for texts, words in [("one", r"\[text\]"), ([], "empty"), ([1], "int")]:
        with pytest.raises(ValueError, match=words):
            pack_texts(texts, minilm.tokenizer)
    with pytest.raises(ValueError, match="pack_texts"):
        unpack(torch.zeros(2, 3, 4))
