"""From one vector per token to one vector per text."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    r"""Mean over the real tokens of each text; padding does not count.

    .. math:: z_i = \frac{\sum_t m_{it} h_{it}}{\sum_t m_{it}}

    This is how Sentence-BERT pools (Reimers & Gurevych, 2019). The sum is taken in
    float32 at least, so that long texts lose nothing in half precision. What stands
    at padded positions has no influence, not even ``nan``. Chapter 05 asks you to
    write it.

    Args:
        hidden: states of the tokens ``(b, t, d)``, float.
        mask: ``(b, t)``, 1 (or True) for a token, 0 for padding.

    Returns:
        ``(b, d)`` with the dtype of ``hidden``.

    Raises:
        ValueError: shapes or devices do not fit, the mask holds another value than
            0 and 1, or a text has no token.
    """
    _check(hidden, mask)
    real = mask.bool()[:, :, None]  # (b, t, 1)
    total = torch.where(real, hidden, 0)
    wide = torch.promote_types(hidden.dtype, torch.float32)
    total = total.sum(1, dtype=wide)  # (b, d)
    return (total / real.sum(1)).to(hidden.dtype)


def cls_pool(hidden: Tensor, mask: Tensor | None = None) -> Tensor:
    """State of the first token, which BERT's tokenizer always makes ``[CLS]``.

    It holds a summary only if training asked for one: BERT's next-sentence task
    (Devlin et al., 2019) or fine-tuning did; mean-pooled encoders never read it.

    Args:
        hidden: states of the tokens ``(b, t, d)``, float.
        mask: ``(b, t)``; only checked, so that both poolings are called alike.

    Returns:
        ``(b, d)``, a copy.

    Raises:
        ValueError: shapes do not fit, or the first position is padding.
    """
    mask = torch.ones_like(hidden[..., 0]) if mask is None else mask
    _check(hidden, mask)
    if not mask[:, 0].bool().all():
        raise ValueError(
            "mask is 0 at the first position of a text: it is padded on the left, so "
            "[CLS] is not there. Set tokenizer.padding_side = 'right'."
        )
    return hidden[:, 0].clone()


def _check(hidden: Tensor, mask: Tensor) -> None:
    if hidden.ndim != 3 or not hidden.is_floating_point() or 0 in hidden.shape:
        raise ValueError(
            "hidden must be a float tensor (b, t, d) with at least one text, token and "
            f"feature, got {tuple(hidden.shape)} of {hidden.dtype}; pass the encoder's "
            "last_hidden_state."
        )
    if mask.shape != hidden.shape[:2] or mask.device != hidden.device:
        raise ValueError(
            f"mask must be {tuple(hidden.shape[:2])} on {hidden.device}, got "
            f"{tuple(mask.shape)} on {mask.device}; pass the tokenizer's "
            "attention_mask of the same batch."
        )
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError(
            "mask must hold 1 for tokens and 0 for padding and nothing else; did you "
            "pass input_ids?"
        )
    if not mask.bool().any(1).all():
        row = int((~mask.bool().any(1)).nonzero()[0])
        raise ValueError(
            f"mask has no token in text {row}: its mean does not exist. Drop empty "
            "texts before they are batched."
        )
