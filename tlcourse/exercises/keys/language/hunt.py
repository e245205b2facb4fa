"""The bug hunt: what is right, and each of the six bugs alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.exercises.spec import Key, Mutant

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class _Training:
    """A head on a language encoder; each option puts one mistake in."""

    asks_encoder: bool = False
    rate: str = "head"
    pool: str = "real"  # or "all", "padded length", "first"
    loss_twice: bool = False
    mask: bool = True
    eval_mode: bool = True
    trains_encoder: bool = False
    too_early: bool = False

    def __call__(
        self, encoder: nn.Module, head: nn.Module, train: Batch, test: Batch,
        rates: Mapping[str, float], steps: int,
    ) -> Tensor:  # fmt: skip
        encoder.train(not self.eval_mode)
        early = head(self._features(encoder, test)).logits.detach()
        for _ in range(steps):
            output = head(self._features(encoder, train), labels=train["labels"])
            loss = output.loss
            if self.loss_twice:
                loss = loss + F.cross_entropy(output.logits, train["labels"])
            _step(head, loss, rates[self.rate])
            if self.trains_encoder:
                z = self._features(encoder, train)
                _step(encoder, head(z, labels=train["labels"]).loss, rates["full"])
        if self.asks_encoder:
            return encoder(test["input_ids"], test["attention_mask"]).logits
        if self.too_early:
            return early
        return head(self._features(encoder, test)).logits.detach()

    def _features(self, encoder: nn.Module, batch: Batch) -> Tensor:
        ids, mask = batch["input_ids"], batch["attention_mask"]
        hidden = encoder(ids, mask if self.mask else None).last_hidden_state
        real = mask[..., None]
        if self.pool == "all":
            return hidden.mean(1)
        if self.pool == "first":
            return hidden[:, 0]
        if self.pool == "padded length":
            return (hidden * real).sum(1) / hidden.shape[1]
        return (hidden * real).sum(1) / real.sum(1)


def _step(module: nn.Module, loss: Tensor, rate: float) -> None:
    """One step of SGD on the parameters that the loss reaches."""
    params = list(module.parameters())
    for p, g in zip(
        params, torch.autograd.grad(loss, params, allow_unused=True), strict=True
    ):
        p.data -= 0 if g is None else rate * g


bug_hunt = Key(
    reference=_Training(),
    mutants=(
        Mutant(
            "asks_encoder_for_logits",
            _Training(asks_encoder=True),
            "A bare encoder (AutoModel) has no logits: it returns last_hidden_state "
            "and pooler_output. Logits come from the head, on the pooled features.",
        ),
        Mutant(
            "full_model_rate",
            _Training(rate="full"),
            "The head is trained at the rate for the full model, far too small for new "
            "weights: after all steps it has hardly moved. Use rates['head'].",
        ),
        Mutant(
            "padding_in_the_mean",
            _Training(pool="all"),
            "hidden.mean(1) counts padding: the features of a text depend on the "
            "longest text of its batch. Average over positions with mask 1.",
        ),
        Mutant(
            "divided_by_padded_length",
            _Training(pool="padded length"),
            "Padding is out of the sum, but still in the count: you divide by the "
            "width of the batch. Divide by attention_mask.sum(1).",
        ),
        Mutant(
            "first_token_only",
            _Training(pool="first"),
            "You take the first token, [CLS]. The features asked for are the mean over "
            "the real tokens.",
        ),
        Mutant(
            "loss_twice",
            _Training(loss_twice=True),
            "head(z, labels=...) has computed the cross-entropy already; you add it "
            "again, which doubles every step. Use output.loss, or the logits with your "
            "own loss, not both.",
        ),
        Mutant(
            "no_attention_mask",
            _Training(mask=False),
            "The encoder gets no attention mask, so real tokens attend to padding. "
            "Pass the mask to the encoder; pooling with it comes too late.",
        ),
        Mutant(
            "dropout_in_the_encoder",
            _Training(eval_mode=False),
            "The encoder is in train mode: its dropout makes the features of one text "
            "differ from pass to pass. Call encoder.eval().",
        ),
        Mutant(
            "logits_before_training",
            _Training(too_early=True),
            "The test logits are computed before the head is trained. Compute them "
            "after the last step.",
        ),
        Mutant(
            "trains_the_encoder",
            _Training(trains_encoder=True),
            "The encoder's weights move. Here only the head is trained.",
        ),
    ),
)
