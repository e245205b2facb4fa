"""Small encoders with the parts, names and outputs of Hugging Face's BERT.

Transformers itself takes seconds to import, which no check may.
"""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCAB, WIDTH = 30, 6


class Output:
    """What a model returns; only the fields it has are set."""

    def __init__(self, **fields: Tensor) -> None:
        """Keep the fields as attributes."""
        vars(self).update(fields)


def _config(num_layers: int) -> SimpleNamespace:
    """The two entries of a Hugging Face config that an answer may read."""
    return SimpleNamespace(num_hidden_layers=num_layers, hidden_size=WIDTH)


class Embeddings(nn.Module):
    """Words and positions, normalised, with dropout."""

    def __init__(self) -> None:
        """Up to 64 positions."""
        super().__init__()
        self.word_embeddings = nn.Embedding(VOCAB, WIDTH)
        self.position_embeddings = nn.Embedding(64, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(0.3)

    def forward(self, ids: Tensor) -> Tensor:
        """``(b, t)`` to ``(b, t, d)``."""
        places = self.position_embeddings.weight[: ids.shape[1]]
        return self.dropout(self.LayerNorm(self.word_embeddings(ids) + places))


class Layer(nn.Module):
    """One head of attention, then a linear layer; dropout on the update."""

    def __init__(self) -> None:
        """Two weight matrices and a norm."""
        super().__init__()
        self.attention = nn.Linear(WIDTH, WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(0.3)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """``(b, t, d)`` to the same; no token attends to padding."""
        scores = self.attention(hidden) @ hidden.transpose(1, 2)  # (b, t, t)
        scores = scores.masked_fill(mask[:, None, :] == 0, -1e9)
        update = self.output(scores.softmax(2) @ hidden)
        return self.LayerNorm(hidden + self.dropout(update))


class Stack(nn.Module):
    """The layers, under the name ``layer``."""

    def __init__(self, num_layers: int) -> None:
        """``num_layers`` of them."""
        super().__init__()
        self.layer = nn.ModuleList(Layer() for _ in range(num_layers))


class Pooler(nn.Module):
    """Linear layer and tanh on the first token."""

    def __init__(self) -> None:
        """One matrix."""
        super().__init__()
        self.dense = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(b, t, d)`` to ``(b, d)``."""
        return self.dense(hidden[:, 0]).tanh()


class Encoder(nn.Module):
    """Embeddings, layers, pooler; as in Hugging Face its own ``base_model``."""

    def __init__(self, num_layers: int) -> None:
        """``num_layers`` layers above the embeddings."""
        super().__init__()
        self.embeddings = Embeddings()
        self.encoder = Stack(num_layers)
        self.pooler = Pooler()
        self.config = _config(num_layers)

    @property
    def base_model(self) -> nn.Module:
        """Itself."""
        return self

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        """States of the tokens ``(b, t, d)`` and their pooled form; no logits."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        hidden = self.embeddings(input_ids)
        for layer in self.encoder.layer:
            hidden = layer(hidden, mask)
        return Output(last_hidden_state=hidden, pooler_output=self.pooler(hidden))


class Classifier(nn.Module):
    """A body under a name of its own, and a head; ``base_model`` is the body."""

    def __init__(self, body: str, head: str, num_layers: int = 2) -> None:
        """``head`` is "classifier", or "score" for one of two linear layers."""
        super().__init__()
        self.base_model_prefix = body
        self.config = _config(num_layers)
        self.add_module(body, Encoder(num_layers))
        self.pre_score = nn.Linear(WIDTH, WIDTH) if head == "score" else nn.Identity()
        self.dropout = nn.Dropout(0.5)
        self.head_name = head
        self.add_module(head, nn.Linear(WIDTH, 3))

    @property
    def base_model(self) -> nn.Module:
        """The body."""
        return self.get_submodule(self.base_model_prefix)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Logits ``(b, 3)``."""
        pooled = self.base_model(input_ids, attention_mask).pooler_output
        pooled = self.dropout(F.relu(self.pre_score(pooled)))
        return Output(logits=self.get_submodule(self.head_name)(pooled))


class Head(nn.Module):
    """Linear head that, like Hugging Face models, computes a loss when given labels."""

    def __init__(self, num_classes: int) -> None:
        """One matrix and a bias."""
        super().__init__()
        self.linear = nn.Linear(WIDTH, num_classes)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Any:
        """``.logits`` ``(b, c)``; with labels also ``.loss``, a mean."""
        logits = self.linear(z)
        if labels is None:
            return Output(logits=logits)
        return Output(logits=logits, loss=F.cross_entropy(logits, labels))


class FillIn(nn.Module):
    """An encoder whose output weights are its word embeddings (one tied tensor)."""

    def __init__(self) -> None:
        """Two layers; the tied matrix has two names."""
        super().__init__()
        self.bert = Encoder(2)
        self.config = self.bert.config
        self.decoder = nn.Linear(WIDTH, VOCAB)
        self.decoder.weight = self.bert.embeddings.word_embeddings.weight


def _with_numbered_head() -> nn.Module:
    """The head's own layers have numbers, too: ``classifier.layer.0.weight``."""
    model = Classifier("bert", "classifier", 3)
    layers = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 3))
    model.classifier = nn.Sequential(OrderedDict(layer=layers))
    return model


_KINDS = {
    "numbered head": _with_numbered_head,
    "classifier, 3 layers": lambda: Classifier("bert", "classifier", 3),
    "classifier, 12 layers": lambda: Classifier("bert", "classifier", 12),
    "bare encoder": lambda: Encoder(3),
    "tied": FillIn,
    "bert": lambda: Classifier("bert", "classifier"),
    "two-layer head": lambda: Classifier("backbone", "score"),
}


def build(kind: str, seed: int) -> nn.Module:
    """A network by name, with weights of its own; the global state is kept."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return _with_own_classes(_KINDS[kind]())


def build_pair(num_classes: int, seed: int) -> tuple[nn.Module, nn.Module]:
    """A bare encoder and a head for it."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return _with_own_classes(Encoder(2)), Head(num_classes)


def _with_own_classes(model: nn.Module) -> nn.Module:
    """The same model; an answer that patches a class of it reaches no other model."""
    own: dict[type, type] = {}
    for module in model.modules():
        kind = type(module)
        if kind.__module__ == __name__:
            module.__class__ = own.setdefault(kind, type(kind.__name__, (kind,), {}))
    return model
