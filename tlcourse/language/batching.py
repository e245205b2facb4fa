"""From texts of unequal length to rectangular batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def truncate_pair(
    a: Sequence[int], b: Sequence[int], max_length: int, num_special: int = 3
) -> tuple[list[int], list[int]]:
    """Shorten a pair of texts, the longer one first, until it fits.

    As BERT's own code did (Devlin et al., 2019): while the pair is too long, the
    longer text loses its last token; of two equally long ones, ``b`` does. A short
    question thus survives beside a long paragraph. Chapter 05 asks you to write it.

    Args:
        a: token numbers of the first text, without special tokens; not changed.
        b: those of the second text; may be empty.
        max_length: largest length of the whole sequence, special tokens included.
        num_special: how many special tokens will be added: 3 for
            ``[CLS] a [SEP] b [SEP]``.

    Returns:
        The two shortened lists, new ones.

    Raises:
        ValueError: ``num_special < 0``, or no room for any token.
    """
    room = max_length - num_special
    if num_special < 0 or room < 1:
        raise ValueError(
            f"max_length must be larger than num_special, got {max_length} and "
            f"{num_special}: no token of the texts would be left."
        )
    n, m = len(a), len(b)
    if n + m > room:
        if n > m:  # b keeps all it has, unless that is more than its half
            m = min(m, room // 2)
            n = room - m
        else:
            n = min(n, room - room // 2)
            m = room - n
    return list(a[:n]), list(b[:m])


def collate(
    examples: Sequence[Mapping[str, Any]], pad_id: int = 0
) -> dict[str, Tensor]:
    """Stack tokenised texts: pad to the longest of this batch, not of the data set.

    Chapter 05 asks you to write it. It does what Transformers'
    ``DataCollatorWithPadding`` does for one text per example.

    Args:
        examples: each holds ``input_ids``, a list of token numbers, and, in all or
            in none of them, ``label``, a class number.
        pad_id: number of ``[PAD]``; the tokenizer's ``pad_token_id``.

    Returns:
        ``input_ids`` and ``attention_mask`` ``(b, t)`` int64, the mask 1 for tokens
        and 0 for padding on the right; ``labels`` ``(b,)`` int64 if there are any.

    Raises:
        ValueError: no examples, an empty text, or labels for only a part.
    """
    lengths = [len(example["input_ids"]) for example in examples]
    if not lengths or min(lengths) == 0:
        raise ValueError(
            "examples must hold at least one text, and each at least one token, got "
            f"lengths {lengths}; drop empty texts."
        )
    labelled = ["label" in example for example in examples]
    if any(labelled) and not all(labelled):
        raise ValueError(
            f"examples must all have a 'label' or none, got {sum(labelled)} of "
            f"{len(labelled)}."
        )
    ids = torch.full((len(lengths), max(lengths)), pad_id)
    for row, example, n in zip(ids, examples, lengths, strict=True):
        row[:n] = torch.as_tensor(example["input_ids"])
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    batch = {"input_ids": ids, "attention_mask": mask.long()}
    if all(labelled):
        batch["labels"] = torch.tensor([int(example["label"]) for example in examples])
    return batch


def pack_texts(texts: Sequence[str], tokenizer: Any, max_length: int = 128) -> Tensor:
    """Tokenise a data set once into one tensor, as :func:`training.fit` takes it.

    ``packed[:, 0]`` are the token numbers, ``packed[:, 1]`` the attention mask,
    padded to the longest text. :class:`TextClassifier` cuts every batch back to its
    own longest text, so this padding costs no time.

    Args:
        texts: n texts.
        tokenizer: of the encoder that will read them.
        max_length: longer texts lose their end; special tokens included.

    Returns:
        ``(n, 2, t)`` int64.

    Raises:
        ValueError: no texts, or one that is not a string.
    """
    check_texts(texts)
    tokens = tokenizer(list(texts), truncation=True, max_length=max_length)
    examples = [{"input_ids": ids} for ids in tokens["input_ids"]]
    batch = collate(examples, tokenizer.pad_token_id)
    return torch.stack([batch["input_ids"], batch["attention_mask"]], dim=1)


def unpack(packed: Tensor) -> dict[str, Tensor]:
    """What an encoder takes, from ``(b, 2, t)``: cut to the batch's longest text.

    Raises:
        ValueError: not a tensor that :func:`pack_texts` made.
    """
    if packed.ndim != 3 or packed.shape[1] != 2 or packed.is_floating_point():
        raise ValueError(
            f"packed must be int64 (b, 2, t), got {tuple(packed.shape)} of "
            f"{packed.dtype}; make it by pack_texts(texts, tokenizer)."
        )
    ids, mask = packed.unbind(1)  # (b, t), (b, t)
    longest = int(mask.sum(1).max())
    return {"input_ids": ids[:, :longest], "attention_mask": mask[:, :longest]}


def check_texts(texts: Sequence[str]) -> None:
    """At least one text, and strings only.

    Raises:
        ValueError: otherwise; a single string is one text forgotten in brackets.
    """
    if isinstance(texts, str):
        raise ValueError("texts must be a list of strings; write [text] for one text.")
    if len(texts) == 0:
        raise ValueError("texts is empty; it needs at least one text.")
    wrong = [type(text).__name__ for text in texts if not isinstance(text, str)]
    if wrong:
        raise ValueError(f"texts must hold strings, got a {wrong[0]}.")
