"""Batches: what is right, and paddings that are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tlcourse import language
from tlcourse.exercises.spec import Key, Mutant


@dataclass(frozen=True)
class _Batch:
    """A right collation, but for one point."""

    width: str = "longest"  # or "shortest", or "fixed"
    pad_zero: bool = False
    left: bool = False
    mask: str = "lengths"  # or "ids", "ones", "inverted"
    in_order: bool = True
    in_place: bool = False
    label_name: str = "labels"
    label_dtype: torch.dtype = torch.int64
    always_labels: bool = False
    zero_is_none: bool = False

    def __call__(
        self, examples: Sequence[Mapping[str, Any]], pad_id: int
    ) -> dict[str, Tensor]:
        pad = 0 if self.pad_zero else pad_id
        rows = [list(e["input_ids"]) for e in examples]
        if not self.in_order:
            rows.sort(key=len)
        lengths = [len(row) for row in rows]
        t = {"fixed": 64, "shortest": min(lengths)}.get(self.width, max(lengths))
        ids, mask = [], []
        for row in rows:
            row, gap = row[:t], max(0, t - len(row))
            ones, zeros = [1] * len(row), [0] * gap
            ids.append([pad] * gap + row if self.left else row + [pad] * gap)
            mask.append(zeros + ones if self.left else ones + zeros)
        if self.in_place:
            for example, row in zip(examples, ids, strict=True):
                example["input_ids"][:] = row
        batch = {"input_ids": torch.tensor(ids)}
        batch["attention_mask"] = self._mask(
            torch.tensor(mask), batch["input_ids"], pad
        )
        labelled = "label" in examples[0]
        if self.zero_is_none:
            labelled = bool(examples[0].get("label"))
        if self.always_labels or labelled:
            labels = [e.get("label", 0) for e in examples]
            batch[self.label_name] = torch.tensor(labels, dtype=self.label_dtype)
        return batch

    def _mask(self, mask: Tensor, ids: Tensor, pad: int) -> Tensor:
        if self.mask == "ids":
            return (ids != pad).long()
        return {"ones": torch.ones_like(mask), "inverted": 1 - mask}.get(
            self.mask, mask
        )


collate = Key(
    reference=language.collate,
    mutants=(
        Mutant(
            "fixed_width",
            _Batch(width="fixed"),
            "Every batch is padded to one fixed width: short texts then cost as much "
            "as the longest. Pad to the longest text of this batch.",
        ),
        Mutant(
            "shortest",
            _Batch(width="shortest"),
            "All texts are cut to the shortest one of the batch, and words are lost. "
            "Pad to the longest.",
        ),
        Mutant(
            "pads_with_zero",
            _Batch(pad_zero=True),
            "Padding is always 0, but each tokenizer has its own number for it: 0 may "
            "be a word. Use pad_id.",
        ),
        Mutant(
            "left_padding",
            _Batch(left=True),
            "Padding stands on the left, so that [CLS] is no longer the first token. "
            "Here it stands on the right, as BERT has learned it.",
        ),
        Mutant(
            "mask_from_ids",
            _Batch(mask="ids"),
            "The mask is ids != pad_id, which also hides real tokens that have this "
            "number (several tokenizers pad with [EOS]). Build it from the lengths.",
        ),
        Mutant(
            "mask_of_ones",
            _Batch(mask="ones"),
            "The mask is 1 everywhere: the encoder attends to padding. It is 1 for the "
            "n tokens of a text and 0 after them.",
        ),
        Mutant(
            "mask_inverted",
            _Batch(mask="inverted"),
            "The mask is 1 at the padding. Hugging Face's attention_mask is 1 for "
            "tokens (torch's own key_padding_mask is the other way round).",
        ),
        Mutant(
            "sorted_texts",
            _Batch(in_order=False),
            "The texts are sorted by length and the labels are not: row i has another "
            "text's label. Keep the order.",
        ),
        Mutant(
            "in_place",
            _Batch(in_place=True),
            "The examples themselves are padded: in the next epoch padding counts as "
            "text. Write new lists.",
        ),
        Mutant(
            "label_singular",
            _Batch(label_name="label"),
            "The batch calls them `label`; Hugging Face models look for `labels` and "
            "would compute no loss.",
        ),
        Mutant(
            "float_labels",
            _Batch(label_dtype=torch.float32),
            "Labels are floats: cross-entropy wants class numbers in int64, and "
            "Hugging Face models would take floats for several labels per text.",
        ),
        Mutant(
            "zero_is_no_label",
            _Batch(zero_is_none=True),
            "Class 0 counts as no label: `if example.get('label')` is false for 0. Ask "
            "whether 'label' is in the example.",
        ),
        Mutant(
            "invents_labels",
            _Batch(always_labels=True),
            "Examples without a label got class 0: test texts would count as class 0. "
            "Leave `labels` out of the batch.",
        ),
    ),
)
