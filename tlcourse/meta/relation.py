"""Relation networks: the measure of likeness is learned, too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.arguments import whole
from tlcourse.meta.inputs import check_alike, check_features


class RelationHead(nn.Module):
    r"""Score every pair of a query and a class (Sung et al., 2018, eq. 1).

    .. math:: r_{ik} = g_\phi([c_k, q_i]) \in (0, 1)

    with :math:`g_\phi` a perceptron with one hidden layer and a sigmoid at its end.
    In the paper it is convolutional (:class:`RelationMapHead`), and of K shots the
    features are summed; here :math:`c_k` is the caller's, best the mean, which has
    the same size for any K. Chapter 10 asks you to write it.

    Args:
        feature_dim: d, length of a feature vector, at least 1.
        hidden: width of the hidden layer, at least 1.

    Raises:
        ValueError: a width below 1.
    """

    def __init__(self, feature_dim: int, hidden: int = 64) -> None:
        """Build with random weights."""
        super().__init__()
        whole("feature_dim", feature_dim, 1)
        whole("hidden", hidden, 1)
        self.feature_dim = feature_dim
        self.body = nn.Sequential(
            nn.Linear(2 * feature_dim, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, query_z: Tensor, prototypes: Tensor) -> Tensor:
        """Scores ``(..., m, N)`` of all pairs of ``(..., m, d)`` and ``(..., N, d)``.

        Raises:
            ValueError: shapes, dtypes or devices do not fit, or numbers not finite.
        """
        pairs = _pairs(query_z, prototypes, self.feature_dim, inner=1)
        return self.body(pairs).squeeze(-1).sigmoid()  # (..., m, N)


class RelationMapHead(nn.Module):
    """The same for feature maps: two 3x3 convolutions look at the joined maps.

    Sung et al. (2018), figure 2, end with pooling and two linear layers; here the map
    is averaged, and there is no BatchNorm, so that a score depends on its pair only.

    Args:
        channels: c of the maps ``(c, h, w)``, at least 1.
        hidden: channels between the convolutions, at least 1.

    Raises:
        ValueError: a width below 1.
    """

    def __init__(self, channels: int, hidden: int = 64) -> None:
        """Build with random weights."""
        super().__init__()
        whole("channels", channels, 1)
        whole("hidden", hidden, 1)
        self.channels = channels
        self.body = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(hidden, 1),
        )

    def forward(self, query_z: Tensor, prototypes: Tensor) -> Tensor:
        """Scores ``(..., m, N)`` of ``(..., m, c, h, w)`` and ``(..., N, c, h, w)``.

        Raises:
            ValueError: shapes, dtypes or devices do not fit, or numbers not finite.
        """
        pairs = _pairs(query_z, prototypes, self.channels, inner=3)
        scores = self.body(pairs.flatten(0, -4))  # (... m N, 1)
        return scores.view(pairs.shape[:-3]).sigmoid()


def relation_loss(scores: Tensor, targets: Tensor) -> Tensor:
    r"""Squared error to 1 for the right class, 0 else (Sung et al., 2018, eq. 2).

    The mean over all pairs where the paper has the sum:
    :math:`\frac{1}{mN}\sum_{ik}(r_{ik} - \mathbb 1[y_i = k])^2`.

    Args:
        scores: ``(..., m, N)`` in [0, 1].
        targets: ``(..., m)`` int64, 0 to N - 1.

    Returns:
        Scalar tensor in [0, 1].

    Raises:
        ValueError: shapes or dtypes do not fit, or a label out of range.
    """
    if targets.dtype != torch.int64 or scores.shape[:-1] != targets.shape:
        raise ValueError(
            "targets must be int64 (..., m) for scores (..., m, N), got "
            f"{tuple(targets.shape)} of {targets.dtype} for {tuple(scores.shape)}."
        )
    num_ways = scores.shape[-1]
    if not 0 <= int(targets.min()) <= int(targets.max()) < num_ways:
        raise ValueError(
            f"targets must lie in 0..{num_ways - 1}, got {int(targets.min())}.."
            f"{int(targets.max())}; an episode relabels its classes."
        )
    return F.mse_loss(scores, F.one_hot(targets, num_ways).to(scores.dtype))


def _pairs(query_z: Tensor, prototypes: Tensor, width: int, inner: int) -> Tensor:
    """Class beside query for every pair: ``(..., m, N, 2d)`` or with maps."""
    check_features("query_z", query_z, inner)
    check_features("prototypes", prototypes, inner)
    check_alike(("query_z", "prototypes"), query_z, prototypes, inner)
    if query_z.shape[-inner] != width:
        raise ValueError(
            f"query_z must have {width} features, as the head was built for, got "
            f"{tuple(query_z.shape)}; build the head with {query_z.shape[-inner]}."
        )
    m, ways = query_z.shape[-inner - 1], prototypes.shape[-inner - 1]
    queries = query_z.unsqueeze(-inner - 1)  # (..., m, 1, d)
    classes = prototypes.unsqueeze(-inner - 2)  # (..., 1, N, d)
    shape = (*query_z.shape[: -inner - 1], m, ways, *query_z.shape[-inner:])
    return torch.cat([classes.expand(shape), queries.expand(shape)], dim=-inner)
