"""Domain-adaptive pretraining: BERT's fill-in task on texts without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.language.batching import pack_texts, unpack
from tlcourse.language.masking import IGNORED, mask_tokens, special_mask
from tlcourse.runtime import progress_bar


class MaskedLanguageModel(nn.Module):
    r"""An encoder with BERT's fill-in head, whose output weights are the embeddings.

    .. math:: \text{logits}_t = E\,\text{LN}(\text{GELU}(W h_t + a)) + b

    with the word embeddings E ``(v, d)`` of the encoder itself (Devlin et al., 2019,
    and their code). W starts as the identity. Logits are computed at the chosen
    positions only: the vocabulary makes them the dearest part.

    Attributes:
        encoder: kept, not copied: what it learns here, it keeps.
        transform: linear, GELU, LayerNorm, ``(d,)`` to ``(d,)``.
        bias: ``(v,)``.
    """

    def __init__(self, encoder: nn.Module) -> None:
        """Put a fresh head on ``encoder``, a Transformers encoder such as BERT."""
        super().__init__()
        words = encoder.get_input_embeddings().weight  # (v, d)
        v, d = words.shape
        self.encoder = encoder
        self.transform = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.LayerNorm(d))
        nn.init.eye_(self.transform[0].weight)
        nn.init.zeros_(self.transform[0].bias)
        self.bias = nn.Parameter(torch.zeros(v))
        self.to(words.device)

    @property
    def base_model(self) -> nn.Module:
        """The body."""
        return self.encoder

    def forward(self, inputs: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the chosen tokens, a scalar.

        Args:
            inputs: token numbers ``(b, t)`` int64, some of them hidden.
            mask: attention mask ``(b, t)``.
            labels: the original tokens where chosen, -100 elsewhere, ``(b, t)``.

        Raises:
            ValueError: no token was chosen.
        """
        chosen = labels != IGNORED
        if not chosen.any():
            raise ValueError(
                "labels hold no chosen token, so the mean loss does not exist; use "
                "larger batches or a higher probability."
            )
        hidden = self.encoder(input_ids=inputs, attention_mask=mask).last_hidden_state
        hidden = self.transform(hidden[chosen])  # (chosen, d)
        words = self.encoder.get_input_embeddings().weight
        return F.cross_entropy(F.linear(hidden, words, self.bias), labels[chosen])


def train_masked(
    texts: Sequence[str],
    lm: Any,
    *,
    epochs: int = 1,
    lr: float = 1e-4,
    head_lr: float = 1e-3,
    batch_size: int = 32,
    probability: float = 0.15,
    max_length: int = 128,
    seed: int = 0,
    progress: bool = True,
) -> list[float]:
    """Adapt an encoder to a domain by filling in hidden words of its texts, in place.

    Domain-adaptive pretraining (Gururangan et al., 2020): labels are not needed, so
    the texts may be those of the target. Every epoch hides other tokens. The
    caller's random state is not changed.

    Args:
        texts: n texts of the domain.
        lm: encoder and tokenizer; the encoder is changed and left in eval mode.
        epochs: passes over the texts.
        lr: AdamW's rate for the encoder.
        head_lr: the rate for the fresh head.
        batch_size: texts per step.
        probability: share of tokens that are chosen.
        max_length: longer texts lose their end.
        seed: decides order, hidden tokens and dropout.
        progress: show a bar on stdout when it takes longer than 2 s.

    Returns:
        The loss of every step.

    Raises:
        ValueError: no texts, or a number out of range.
    """
    if epochs < 1 or batch_size < 1:
        raise ValueError(
            f"epochs and batch_size must be >= 1, got {epochs} and {batch_size}."
        )
    packed = pack_texts(texts, lm.tokenizer, max_length)
    device = next(lm.model.parameters()).device
    losses = []
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = MaskedLanguageModel(lm.model.base_model).train()
        optimizer = _optimizer(model, lr, head_lr)
        steps = math.ceil(len(packed) / batch_size)
        with progress_bar(epochs * steps, "masked words", "step", progress) as bar:
            for _ in range(epochs):
                for index in torch.randperm(len(packed)).tensor_split(steps):
                    inputs, mask, labels = _hide(packed[index], lm, probability)
                    loss = model(inputs.to(device), mask.to(device), labels.to(device))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.item())
                    bar.update()
    lm.model.eval()
    return losses


def _hide(packed: Tensor, lm: Any, probability: float) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, attention mask and labels of one batch."""
    batch = unpack(packed)
    ids, tokenizer = batch["input_ids"], lm.tokenizer
    special = special_mask(ids, tokenizer)
    mask_id, size = tokenizer.mask_token_id, len(tokenizer)
    inputs, labels = mask_tokens(ids, special, mask_id, size, probability)
    return inputs, batch["attention_mask"], labels


def _optimizer(
    model: MaskedLanguageModel, lr: float, head_lr: float
) -> torch.optim.Optimizer:
    body = [p for p in model.encoder.parameters() if p.requires_grad]
    head = [*model.transform.parameters(), model.bias]
    groups = [{"params": body, "lr": lr}, {"params": head, "lr": head_lr}]
    return torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=0.01)
