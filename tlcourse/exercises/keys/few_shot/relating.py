"""A relation head: what is true of every right one, and the usual mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse.exercises.probes.few_shot.relating import LEARNS, PAIRS, SCORES
from tlcourse.exercises.spec import Case, Key, Mutant, Property

_LEAST = 1e-5  # a change of a score that is no rounding


class _Head(nn.Module):
    """A right one; each option holds one mistake."""

    mistake = ""

    def __init__(self, feature_dim: int, hidden: int = 64) -> None:
        super().__init__()
        width = feature_dim if self.mistake in ("gap only", "query only") else None
        layers = [nn.Linear(width or 2 * feature_dim, hidden), nn.ReLU()]
        if self.mistake == "linear":
            layers[1] = nn.Identity()
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


def _shape(seen: Mapping[str, Any], case: Case) -> bool:
    shape = len(case.inputs["query_z"]), len(case.inputs["prototypes"])
    return seen["scores"].shape == shape and seen["scores"].dtype == np.float32


def _in_range(seen: Mapping[str, Any], case: Case) -> bool:
    return bool((seen["scores"] >= 0).all() and (seen["scores"] <= 1).all())


def _alone(seen: Mapping[str, Any], case: Case) -> bool:
    return np.allclose(seen["scores"].ravel(), seen["alone"], rtol=1e-3, atol=1e-5)


def _no_contest(seen: Mapping[str, Any], case: Case) -> bool:
    return not np.allclose(seen["scores"].sum(1), 1, rtol=0, atol=1e-4)


def _changes(name: str, what: str, message: str) -> Property:
    return Property(what, lambda seen, case: seen[name] > _LEAST, message, PAIRS)


_PROPERTIES = (
    Property(
        "module",
        lambda seen, case: seen["module"],
        "RelationHead is to be a subclass of nn.Module.",
    ),
    Property("shape", _shape, "The scores are float32 of shape (m, N), always."),
    Property("range", _in_range, "A score lies between 0 and 1.", SCORES),
    Property(
        "again",
        lambda seen, case: seen["again"],
        "The same inputs give other scores in the next call.",
    ),
    Property(
        "alone",
        _alone,
        "The score of query i and class k differs from what the head gives when it "
        "sees only these two.",
        PAIRS,
    ),
    Property(
        "no contest",
        _no_contest,
        "The scores of a query sum to 1: classes compete. A relation score is for each "
        "pair by itself.",
        PAIRS,
    ),
    _changes("query matters", "query matters", "The query has no influence."),
    _changes("class matters", "class matters", "The class has no influence."),
    _changes(
        "gap alone",
        "pair matters",
        "The score depends on the difference only; it gets the pair.",
    ),
    Property(
        "gradients",
        lambda seen, case: min(seen["gradients"]) > 0,
        "No gradient reaches query and class features through the score.",
        PAIRS,
    ),
    Property(
        "trainable",
        lambda seen, case: seen["weights"] > 0 and seen["moved"],
        "head.parameters() gives nothing that a training step moves.",
        LEARNS,
    ),
    Property(
        "learns",
        lambda seen, case: seen["last loss"] < 0.6 * seen["baseline"],
        "Trained on 'same sign or not' it stays near the best constant score.",
        LEARNS,
    ),
)

relation_head = Key(
    reference=_Head,
    properties=_PROPERTIES,
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
