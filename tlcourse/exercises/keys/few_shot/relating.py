"""A relation head: a right one, and the usual mistakes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tlcourse.exercises.keys.few_shot.relating_properties import PROPERTIES
from tlcourse.exercises.spec import Key, Mutant


class _Head(nn.Module):
    """A right one; each option holds one mistake."""

    mistake = ""

    def __init__(self, feature_dim: int, hidden: int = 64) -> None:
        super().__init__()
        width = feature_dim if self.mistake in ("gap only", "query only") else None
        if self.mistake == "fixed width":
            hidden = 64
        layers = [nn.Linear(width or 2 * feature_dim, hidden), nn.ReLU()]
        if self.mistake == "linear":
            layers[1] = nn.Identity()
        if self.mistake == "tanh":
            layers[1] = nn.Tanh()
        layers.append(nn.Linear(hidden, 1))
        hide = self.mistake == "unregistered"
        self.layers = layers if hide else nn.ModuleList(layers)

    def pairs(self, q: Tensor, p: Tensor) -> Tensor:
        m, n = len(q), len(p)
        if self.mistake == "mixed up":
            return torch.cat([p.repeat(m, 1), q.repeat(n, 1)], 1).view(m, n, -1)
        shape = m, n, q.shape[1]
        queries, classes = q[:, None].expand(shape), p[None].expand(shape)
        if self.mistake == "gap only":
            return queries - classes
        if self.mistake == "query only":
            return queries
        return torch.cat([classes, queries], 2)

    def forward(self, query_z: Tensor, prototypes: Tensor) -> Tensor:
        if self.mistake == "detached":
            query_z, prototypes = query_z.detach(), prototypes.detach()
        if self.mistake == "fresh":
            self.__init__(query_z.shape[1], self.layers[0].out_features)
        z = self.pairs(query_z, prototypes)
        for layer in self.layers:
            z = layer(z)
        if self.mistake == "squeezed":
            return z.squeeze().sigmoid()
        z = z.squeeze(2)
        if self.mistake == "no sigmoid":
            return z
        if self.mistake == "softmax":
            return z.softmax(1)
        return z.sigmoid().T if self.mistake == "transposed" else z.sigmoid()


def _with(name: str) -> type[_Head]:
    return type("RelationHead", (_Head,), {"mistake": name, "__module__": __name__})


relation_head = Key(
    reference=_Head,
    properties=PROPERTIES,
    mutants=(
        Mutant(
            "no_sigmoid",
            _with("no sigmoid"),
            "The scores are any numbers. A relation score lies between 0 and 1: end "
            "with a sigmoid.",
        ),
        Mutant(
            "softmax_over_classes",
            _with("softmax"),
            "A softmax over the classes makes them compete. Every pair is scored by "
            "itself, with a sigmoid.",
        ),
        Mutant(
            "pairs_mixed_up",
            _with("mixed up"),
            "Rows and pairs do not belong together: q.repeat and p.repeat run through "
            "their rows in step. Repeat each query N times in a row "
            "(repeat_interleave), or expand both to (m, N, d).",
        ),
        Mutant(
            "gap_only",
            _with("gap only"),
            "The network sees the difference of query and class only, so it can learn "
            "a distance and no other likeness. Join both: 2d numbers a pair.",
        ),
        Mutant(
            "query_only",
            _with("query only"),
            "The class features never reach the network, so all classes get the same "
            "score. Join both: 2d numbers a pair.",
        ),
        Mutant(
            "no_hidden_layer",
            _with("linear"),
            "Without a nonlinearity two linear layers are one, and the score is a sum "
            "of a part of the query and a part of the class. Put a ReLU between them.",
        ),
        Mutant(
            "tanh",
            _with("tanh"),
            "Before the sigmoid the score bends everywhere, as under a tanh or another "
            "smooth function. The formula has a ReLU.",
        ),
        Mutant(
            "width_ignored",
            _with("fixed width"),
            "The number of weights is another: is `hidden` used? Build "
            "nn.Linear(2 * feature_dim, hidden) and nn.Linear(hidden, 1), both with "
            "bias.",
        ),
        Mutant(
            "layers_in_a_list",
            _with("unregistered"),
            "The layers stand in a plain list, which an nn.Module does not look into: "
            "parameters() is empty and nothing trains. Use nn.Sequential.",
        ),
        Mutant(
            "layers_made_in_forward",
            _with("fresh"),
            "Every call makes new random layers, so that nothing is ever learnt. Make "
            "them once, in __init__.",
        ),
        Mutant(
            "features_detached",
            _with("detached"),
            "No gradient passes to the features, so the backbone does not learn. Drop "
            "detach().",
        ),
        Mutant(
            "squeezed_too_far",
            _with("squeezed"),
            "squeeze() without a number also drops m = 1 and N = 1. Drop the last "
            "dimension only: squeeze(-1).",
        ),
        Mutant(
            "transposed",
            _with("transposed"),
            "The scores have the shape (N, m). Row i is query i, column k is class k.",
        ),
    ),
)
