"""Pooling: what is right, and means of something else."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse import language
from tlcourse.exercises.spec import Key, Mutant


def _counts(mask: Tensor) -> Tensor:
    """Tokens of each text ``(b, 1)``, none of them 0."""
    counts = mask.bool().sum(1, keepdim=True)
    if (counts == 0).any():
        raise ValueError("a text without tokens")
    return counts


def _sum(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask.to(hidden.dtype)[..., None]).sum(1)


def _padding_counted(hidden: Tensor, mask: Tensor) -> Tensor:
    _counts(mask)
    return hidden.mean(1)


def _divided_by_t(hidden: Tensor, mask: Tensor) -> Tensor:
    _counts(mask)
    return _sum(hidden, mask) / hidden.shape[1]


def _not_divided(hidden: Tensor, mask: Tensor) -> Tensor:
    _counts(mask)
    return _sum(hidden, mask)


def _whole_batch(hidden: Tensor, mask: Tensor) -> Tensor:
    return _sum(hidden, mask) / _counts(mask).sum()


def _first_token(hidden: Tensor, mask: Tensor) -> Tensor:
    _counts(mask)
    return hidden[:, 0]


def _first_n(hidden: Tensor, mask: Tensor) -> Tensor:
    counts = _counts(mask).flatten().tolist()
    return torch.stack([h[:n].mean(0) for h, n in zip(hidden, counts, strict=True)])


def _in_float32(hidden: Tensor, mask: Tensor) -> Tensor:
    m = mask.float()[..., None]
    return (hidden * m).sum(1) / _counts(mask)


def _mask_decides(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask[..., None]).sum(1) / _counts(mask)


def _in_place(hidden: Tensor, mask: Tensor) -> Tensor:
    counts = _counts(mask)
    if hidden.requires_grad:
        return _sum(hidden, mask) / counts
    hidden *= mask.to(hidden.dtype)[..., None]
    return hidden.sum(1) / counts


def _detached(hidden: Tensor, mask: Tensor) -> Tensor:
    return language.mean_pool(hidden, mask).detach()


def _unchecked(hidden: Tensor, mask: Tensor) -> Tensor:
    return _sum(hidden, mask) / mask.bool().sum(1, keepdim=True)


def _clamped(hidden: Tensor, mask: Tensor) -> Tensor:
    return _sum(hidden, mask) / mask.bool().sum(1, keepdim=True).clamp(min=1)


mean_pool = Key(
    reference=language.mean_pool,
    mutants=(
        Mutant(
            "padding_counted",
            _padding_counted,
            "hidden.mean(1) counts padding as if it were text: the vector of a short "
            "text changes with its neighbours in the batch. Use the mask.",
        ),
        Mutant(
            "divided_by_t",
            _divided_by_t,
            "Padding is left out of the sum, but you divide by the length of the "
            "padded batch. Divide by the number of real tokens of each text.",
        ),
        Mutant(
            "not_divided",
            _not_divided,
            "This is the sum over the tokens: long texts get long vectors. Divide by "
            "the number of tokens of each text.",
        ),
        Mutant(
            "whole_batch",
            _whole_batch,
            "You divide by the number of tokens in the whole batch. Keep the text's "
            "dimension: mask.sum(dim=1), not mask.sum().",
        ),
        Mutant(
            "first_token",
            _first_token,
            "This is the first token alone, [CLS] pooling. The mean is over all tokens "
            "with mask 1.",
        ),
        Mutant(
            "first_n",
            _first_n,
            "You average the first n positions, which is right only when padding is on "
            "the right. Some tokenizers pad on the left: ask the mask where the tokens "
            "are.",
        ),
        Mutant(
            "in_float32",
            _in_float32,
            "mask.float() is float32, and float16 states times float32 are float32: "
            "the result has another dtype than hidden. Use mask.to(hidden.dtype).",
        ),
        Mutant(
            "mask_decides_dtype",
            _mask_decides,
            "The dtype of the mask decides that of the result: a float64 mask makes "
            "float32 states float64. Use mask.to(hidden.dtype).",
        ),
        Mutant(
            "in_place",
            _in_place,
            "`hidden *= mask` overwrites the caller's states: the next reader of "
            "`hidden` finds zeros. Write a new tensor, hidden * mask.",
        ),
        Mutant(
            "detached",
            _detached,
            "The result is cut off from its graph, so an encoder could never be "
            "fine-tuned through it. No detach(), .data or no_grad() here.",
        ),
        Mutant(
            "unchecked",
            _unchecked,
            "A text without tokens gives 0 / 0 = nan, which shows up much later. Raise "
            "a ValueError.",
        ),
        Mutant(
            "clamped",
            _clamped,
            "A text without tokens silently becomes the vector 0, as `clamp(min=...)` "
            "in many recipes does: it is then as near to everything as to nothing. "
            "Raise a ValueError.",
        ),
    ),
)
