"""Few-shot heads under one call, to be trained and compared by the same code.

Every head is ``head(query_z, support_z, support_y, num_ways)`` and gives scores
``(..., m, N)``, the largest of which decides; ``head.loss(scores, targets)`` is what
its paper trains. Leading dimensions count episodes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.features import ridge_probe
from tlcourse.meta.inputs import check_alike, check_features
from tlcourse.meta.matching import matching_probabilities
from tlcourse.meta.prototypes import class_prototypes, proto_logits
from tlcourse.meta.relation import RelationHead, RelationMapHead, relation_loss


class FewShotHead(nn.Module):
    """Base of the heads: cross-entropy over the classes of an episode."""

    def forward(
        self, query_z: Tensor, support_z: Tensor, support_y: Tensor, num_ways: int
    ) -> Tensor:
        """Scores ``(..., m, N)``.

        Args:
            query_z: features ``(..., m, d)``.
            support_z: features ``(..., n, d)``.
            support_y: classes ``(..., n)`` int64, 0 to N - 1.
            num_ways: N.
        """
        raise NotImplementedError

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of scores ``(..., m, N)`` for classes ``(..., m)``."""
        return F.cross_entropy(scores.flatten(0, -2), targets.flatten())


class Prototypical(FewShotHead):
    """Snell, Swersky and Zemel (2017): minus the squared distance to class means."""

    def forward(
        self, query_z: Tensor, support_z: Tensor, support_y: Tensor, num_ways: int
    ) -> Tensor:
        """Logits ``(..., m, N)``."""
        return proto_logits(query_z, class_prototypes(support_z, support_y, num_ways))


class Matching(FewShotHead):
    """Vinyals et al. (2016): cosine attention over the support samples.

    Args:
        temperature: of the attention, > 0; the paper has 1.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        """Keep the temperature."""
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be > 0, got {temperature!r}; try 1.0.")
        self.temperature = temperature

    def forward(
        self, query_z: Tensor, support_z: Tensor, support_y: Tensor, num_ways: int
    ) -> Tensor:
        """Log-probabilities ``(..., m, N)``, finite also where a float reads 0."""
        probabilities = matching_probabilities(
            query_z, support_z, support_y, num_ways, self.temperature
        )
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


class Relation(FewShotHead):
    """Sung et al. (2018): a small network scores query and class; squared error.

    A class is the mean of its support features.

    Args:
        feature_dim: d of feature vectors, or c of maps ``(c, h, w)``.
        hidden: width of the small network.
        maps: whether the features are maps ``(..., n, c, h, w)``.
    """

    def __init__(self, feature_dim: int, hidden: int = 64, maps: bool = False) -> None:
        """Build the small network with random weights."""
        super().__init__()
        build = RelationMapHead if maps else RelationHead
        self.pairs = build(feature_dim, hidden)
        self._inner = 3 if maps else 1

    def forward(
        self, query_z: Tensor, support_z: Tensor, support_y: Tensor, num_ways: int
    ) -> Tensor:
        """Scores ``(..., m, N)`` in (0, 1)."""
        check_features("support_z", support_z, self._inner)
        flat = support_z.flatten(-self._inner)
        classes = class_prototypes(flat, support_y, num_ways)
        shape = (*classes.shape[:-1], *support_z.shape[-self._inner :])
        return self.pairs(query_z, classes.view(shape))

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error to one-hot classes, :func:`relation_loss`."""
        return relation_loss(scores, targets)


class RidgeProbe(FewShotHead):
    """The plain baseline: a ridge probe on the support features of each episode.

    Args:
        penalty: see :func:`tlcourse.features.ridge_probe`.
    """

    def __init__(self, penalty: float = 1.0) -> None:
        """Keep the penalty."""
        super().__init__()
        if not penalty > 0:
            raise ValueError(f"penalty must be > 0, got {penalty!r}; try 1.0.")
        self.penalty = penalty

    def forward(
        self, query_z: Tensor, support_z: Tensor, support_y: Tensor, num_ways: int
    ) -> Tensor:
        """Logits ``(..., m, N)``; one probe per episode."""
        check_features("query_z", query_z)
        check_features("support_z", support_z)
        check_alike(("query_z", "support_z"), query_z, support_z)
        lead = query_z.shape[:-2]
        z, s = (v.reshape(-1, *v.shape[-2:]) for v in (query_z, support_z))
        y = support_y.reshape(-1, support_y.shape[-1])
        logits = []
        for query, support, labels in zip(z, s, y, strict=True):
            weight, bias = ridge_probe(support, labels, num_ways, self.penalty)
            logits.append(query @ weight.T + bias)
        return torch.stack(logits).view(*lead, *logits[0].shape)
