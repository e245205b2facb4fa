"""Transfer in language: pooling, masking, batches, learning rates, classifiers."""

from __future__ import annotations

from tlcourse.language.batching import collate, pack_texts, truncate_pair
from tlcourse.language.classifying import (
    TextClassifier,
    freeze_all_but_head,
    llrd_groups,
)
from tlcourse.language.embedding import embed
from tlcourse.language.masking import mask_tokens, special_mask
from tlcourse.language.pooling import cls_pool, mean_pool
from tlcourse.language.pretraining import MaskedLanguageModel, train_masked

__all__ = [
    "MaskedLanguageModel",
    "TextClassifier",
    "cls_pool",
    "collate",
    "embed",
    "freeze_all_but_head",
    "llrd_groups",
    "mask_tokens",
    "mean_pool",
    "pack_texts",
    "special_mask",
    "train_masked",
    "truncate_pair",
]
