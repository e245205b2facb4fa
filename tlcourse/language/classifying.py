"""A classifier on a language encoder: its parts, what freezes, what learns how fast."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from tlcourse.features import freeze
from tlcourse.language.batching import unpack
from tlcourse.language.pooling import cls_pool, mean_pool

_LAYER = re.compile(r"(?:encoder|transformer)\.layer\.(\d+)\.")
_POOLS = {"mean": mean_pool, "cls": cls_pool}


class TextClassifier(nn.Module):
    """Encoder, pooling, dropout and one linear layer, for packed texts.

    Takes what :func:`pack_texts` makes, so that ``training.fit``, ``evaluate`` and
    ``predict`` work unchanged. As in a Hugging Face model, the body is
    ``base_model`` and everything else is the head.

    Attributes:
        encoder: the body, for example ``models.load("minilm").model``.
        dropout: on the pooled features ``(b, d)``, in train mode only.
        classifier: linear, ``(b, d)`` to ``(b, c)``.
    """

    def __init__(
        self,
        encoder: nn.Module,
        num_classes: int,
        pool: str = "mean",
        dropout: float = 0.1,
    ) -> None:
        """Put a fresh head on ``encoder``, which is kept, not copied.

        Args:
            encoder: gives ``last_hidden_state`` ``(b, t, d)``; its ``config`` says d.
            num_classes: c, at least 2.
            pool: "mean" or "cls".
            dropout: probability in [0, 1).

        Raises:
            ValueError: a value out of range, or a model that is not a bare encoder.
        """
        super().__init__()
        if num_classes < 2 or pool not in _POOLS or not 0 <= dropout < 1:
            raise ValueError(
                f"num_classes must be >= 2, pool one of {tuple(_POOLS)}, dropout in "
                f"[0, 1), got {num_classes}, {pool!r}, {dropout}."
            )
        if not hasattr(getattr(encoder, "config", None), "hidden_size"):
            raise ValueError(
                "encoder must be a Transformers encoder with config.hidden_size, got "
                f"{type(encoder).__name__}; pass models.load('minilm').model."
            )
        self.encoder, self.pool = encoder, pool
        self.dropout = nn.Dropout(dropout)
        weight = next(encoder.parameters())
        self.classifier = nn.Linear(
            encoder.config.hidden_size,
            num_classes,
            device=weight.device,
            dtype=weight.dtype,
        )

    @property
    def base_model(self) -> nn.Module:
        """The body."""
        return self.encoder

    def features(self, packed: Tensor) -> Tensor:
        """Pooled features ``(b, d)`` of packed texts ``(b, 2, t)``."""
        batch = unpack(packed)
        hidden = self.encoder(**batch).last_hidden_state  # (b, t, d)
        return _POOLS[self.pool](hidden, batch["attention_mask"])

    def forward(self, packed: Tensor) -> Tensor:
        """Logits ``(b, c)`` of packed texts ``(b, 2, t)``."""
        return self.classifier(self.dropout(self.features(packed)))


def freeze_all_but_head(model: nn.Module) -> nn.Module:
    """Freeze the body of a classifier for good; all of its head learns.

    The body is ``model.base_model``, as in every Hugging Face model; the head is
    everything else. The body's parameters ask for no gradient and its modules stay
    in eval mode whatever ``model.train()`` says: its dropout never drops, so the
    frozen features of a text are always the same. The head's own parameters ask for
    a gradient and its modules follow ``train()``. A weight that the head shares with
    the body stays frozen. Chapter 05 asks you to write it;
    :func:`tlcourse.features.unfreeze` undoes it.

    Args:
        model: changed in place.

    Returns:
        The same model.

    Raises:
        ValueError: no ``base_model``, or nothing outside it (a bare encoder).
    """
    body: Any = getattr(model, "base_model", None)
    if not isinstance(body, nn.Module) or body is model:
        raise ValueError(
            "model must have a body (base_model) and a head, got "
            f"{type(model).__name__}, a bare encoder or no Hugging Face model; load it "
            "with num_classes=... or wrap it in TextClassifier."
        )
    inside = set(body.parameters())
    head = [p for p in model.parameters() if p not in inside]
    if not head:
        raise ValueError(f"{type(model).__name__} has no parameter outside its body.")
    freeze(body)
    for parameter in head:
        parameter.requires_grad_(True)
    return model


def llrd_groups(
    model: nn.Module, lr: float, decay: float = 0.9, *, head_lr: float | None = None
) -> list[dict[str, Any]]:
    r"""Parameter groups whose learning rate falls from the head to the embeddings.

    Layer-wise learning-rate decay (Howard & Ruder, 2018; for BERT Sun et al., 2019):
    with L layers, numbered from 0 at the bottom,

    .. math:: \eta_{head} = \eta,\quad \eta_i = \eta\,\xi^{L - i},\quad
        \eta_{embeddings} = \eta\,\xi^{L + 1}

    so the top layer gets :math:`\eta\xi`. A parameter belongs to layer i when its
    name holds ``encoder.layer.i.``, as in BERT's
    ``encoder.layer.3.output.dense.weight``; to the embeddings when it holds
    ``embeddings.``; to the head otherwise (pooler and classifier). Chapter 05 asks
    you to write it.

    Args:
        model: an encoder or a classifier on one.
        lr: :math:`\eta > 0`, the largest rate.
        decay: :math:`\xi` in (0, 1]; 1 gives every group the same rate.
        head_lr: another rate for the head alone; a fresh head often needs more.

    Returns:
        Groups for an optimiser, each with ``params``, ``lr`` and ``name``, from the
        embeddings up. Parameters that ask for no gradient are left out, shared ones
        appear once, empty groups not at all.

    Raises:
        ValueError: rates out of range, no numbered layers, or nothing to train.
    """
    for name, rate in (("lr", lr), ("head_lr", lr if head_lr is None else head_lr)):
        if not rate > 0:
            raise ValueError(f"{name} must be > 0, got {rate}; try 2e-5 to 1e-3.")
    if not 0 < decay <= 1:
        raise ValueError(f"decay must lie in (0, 1], got {decay}; try 0.9.")
    depths = {name: _depth(name) for name, _ in model.named_parameters()}
    layers = [d for d in depths.values() if isinstance(d, int) and d >= 0]
    if not layers:
        raise ValueError(
            "model has no parameter named 'encoder.layer.0.': layer-wise rates need "
            "a BERT-like encoder."
        )
    top = max(layers) + 1
    groups = {
        depth: {
            "params": [],
            "lr": lr * decay ** (top - depth),
            "name": "embeddings" if depth < 0 else f"layer {depth}",
        }
        for depth in range(-1, top)
    }
    groups[top] = {"params": [], "lr": lr if head_lr is None else head_lr}
    groups[top]["name"] = "head"
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            depth = depths[name]
            groups[top if depth is None else depth]["params"].append(parameter)
    found = [group for group in groups.values() if group["params"]]
    if not found:
        raise ValueError("nothing to train: no parameter asks for a gradient.")
    return found


def _depth(name: str) -> int | None:
    """-1 for embeddings, the number of the layer, None for the head."""
    layer = _LAYER.search(name)
    if layer:
        return int(layer[1])
    return -1 if "embeddings." in name else None
