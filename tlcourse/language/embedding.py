"""Texts to vectors with a frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.evaluation import eval_mode
from tlcourse.language.batching import check_texts, collate
from tlcourse.language.pooling import cls_pool, mean_pool
from tlcourse.runtime import progress_bar

_POOLS = {"mean": mean_pool, "cls": cls_pool}


def embed(
    texts: Sequence[str],
    lm: Any,
    *,
    pool: str = "mean",
    normalize: bool = False,
    batch_size: int = 32,
    max_length: int = 128,
    progress: bool = True,
) -> Tensor:
    """Features of texts from a frozen encoder, in eval mode and without a graph.

    Texts of similar length share a batch, so that little of the work goes into
    padding; rows come back in the order of ``texts``. A text's row does not depend
    on the others beyond rounding.

    Args:
        texts: n >= 1 texts.
        lm: encoder and tokenizer, for example ``models.load("minilm")``; of a
            classifier the body (``lm.model.base_model``) is used.
        pool: "mean" over the real tokens, or "cls".
        normalize: scale every row to length 1, so that a dot product is a cosine.
        batch_size: texts per forward pass.
        max_length: longer texts lose their end; special tokens included.
        progress: show a bar on stdout when it takes longer than 2 s.

    Returns:
        ``(n, d)`` on the model's device. The model keeps its modes.

    Raises:
        ValueError: no texts, one that is not a string, or an unknown pooling.
    """
    check_texts(texts)
    if pool not in _POOLS or batch_size < 1:
        raise ValueError(
            f"pool must be one of {tuple(_POOLS)} and batch_size >= 1, got {pool!r} "
            f"and {batch_size}."
        )
    model, tokenizer = lm.model.base_model, lm.tokenizer
    rows = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    # Longest first: if memory is short, it shows at once.
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    device = next(model.parameters()).device
    parts = []
    bar = progress_bar(len(rows), "embed", "text", progress)
    with torch.no_grad(), eval_mode(model), bar:
        for start in range(0, len(rows), batch_size):
            chosen = [{"input_ids": rows[i]} for i in order[start : start + batch_size]]
            batch = collate(chosen, tokenizer.pad_token_id)
            batch = {name: value.to(device) for name, value in batch.items()}
            hidden = model(**batch).last_hidden_state  # (b, t, d)
            parts.append(_POOLS[pool](hidden, batch["attention_mask"]))
            bar.update(len(chosen))
    z = torch.empty_like(sorted_z := torch.cat(parts))  # (n, d)
    z[torch.tensor(order, device=device)] = sorted_z
    return F.normalize(z, dim=1) if normalize else z
