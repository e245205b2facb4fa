"""BERT's fill-in task: which tokens to hide, and what to put in their place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

IGNORED = -100  # the label that cross_entropy leaves out by default


def mask_tokens(
    ids: Tensor,
    special: Tensor,
    mask_id: int,
    vocab_size: int,
    probability: float = 0.15,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Hide tokens for masked language modelling (Devlin et al., 2019, section 3.1).

    Each position that is not special is chosen by itself with ``probability``. A
    chosen token becomes ``[MASK]`` in 80 % of cases, a token drawn uniformly from
    the whole vocabulary in 10 %, and stays as it is in 10 %, because texts that the
    model reads later hold no ``[MASK]``. Chapter 05 asks you to write it.

    Args:
        ids: token numbers ``(b, t)`` int64; not changed.
        special: ``(b, t)`` bool, True where nothing may be chosen: ``[CLS]``,
            ``[SEP]`` and padding; see :func:`special_mask`.
        mask_id: number of ``[MASK]``.
        vocab_size: random tokens lie in ``[0, vocab_size)``.
        probability: in (0, 1].
        generator: source of randomness; the global one if None.

    Returns:
        ``inputs`` and ``labels``, both ``(b, t)`` int64. Labels hold the original
        token where one was chosen and -100 elsewhere. In a small batch it may happen
        that none is chosen; the mean cross-entropy is then ``nan``.

    Raises:
        ValueError: shapes, dtypes, devices or numbers do not fit.
    """
    _check(ids, special, mask_id, vocab_size, probability)
    where = ids.device if generator is None else generator.device
    draws = torch.rand((2, *ids.shape), generator=generator, device=where)
    choice, fate = draws.to(ids.device)
    words = torch.randint(vocab_size, ids.shape, generator=generator, device=where)
    chosen = (choice < probability) & ~special
    labels = torch.where(chosen, ids, IGNORED)
    inputs = torch.where(chosen & (fate < 0.8), mask_id, ids)
    replaced = chosen & (fate >= 0.8) & (fate < 0.9)
    return torch.where(replaced, words.to(ids.device), inputs), labels


def special_mask(ids: Tensor, tokenizer: Any) -> Tensor:
    """Where ``ids`` ``(b, t)`` hold special tokens of the tokenizer, padding too.

    Returns:
        ``(b, t)`` bool, as :func:`mask_tokens` wants it.
    """
    return torch.isin(ids, torch.tensor(tokenizer.all_special_ids, device=ids.device))


def _check(
    ids: Tensor, special: Tensor, mask_id: int, vocab_size: int, probability: float
) -> None:
    if ids.dtype != torch.int64 or ids.numel() == 0:
        raise ValueError(
            f"ids must be a non-empty int64 tensor, got {tuple(ids.shape)} of "
            f"{ids.dtype}; pass the tokenizer's input_ids."
        )
    if (special.shape, special.dtype) != (ids.shape, torch.bool):
        raise ValueError(
            f"special must be a bool tensor {tuple(ids.shape)}, got "
            f"{tuple(special.shape)} of {special.dtype}; use special_mask(ids, "
            "tokenizer)."
        )
    if special.device != ids.device:
        raise ValueError(f"special is on {special.device}, ids on {ids.device}.")
    if not 0 < probability <= 1:
        raise ValueError(f"probability must lie in (0, 1], got {probability}; try .15.")
    if not 0 <= mask_id < vocab_size or int(ids.max()) >= vocab_size or ids.min() < 0:
        raise ValueError(
            f"mask_id ({mask_id}) and ids ({int(ids.min())} to {int(ids.max())}) must "
            f"lie in [0, vocab_size = {vocab_size}); pass len(tokenizer)."
        )
