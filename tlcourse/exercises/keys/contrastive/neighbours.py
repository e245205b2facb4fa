"""Evaluation by neighbours: what is right, and whose vote counts wrongly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.exercises.spec import Key, Mutant

_EXPONENT = {"exp": lambda t: 1 / t, "T = 1": lambda t: 1.0, "times": lambda t: t}


@dataclass(frozen=True)
class _KnnEval:
    """A weighted vote; each option puts one mistake in."""

    near: str = "cosine"  # or "dot", "distance", "farthest"
    weight: str = "exp"  # or "one", "cosine", "times", "T = 1", "naive", "less ..."
    voters: str = "k"  # or "all", "nearest", "not the first"
    asked: str = "training"  # or "test"
    places: bool = False
    gaps: str = "kept"  # between class numbers; or "closed"
    unit: str = "share"  # or "percent", "error", "count"
    refuses: bool = True

    def __call__(
        self, z_train: Tensor, y_train: Tensor, z_test: Tensor, y_test: Tensor,
        k: int = 20, temperature: float = 0.07,
    ) -> tuple[float, Tensor]:  # fmt: skip
        if self.refuses and not (1 <= k <= len(z_train) and temperature > 0):
            raise ValueError(f"k is {k}, temperature {temperature}")
        if self.asked == "test":
            z_train, y_train = z_test, y_test
        index, s = self._nearest(z_train, z_test, k)  # (m, k), (m, k)
        votes = index if self.places else y_train[index]
        columns = max(int(votes.max()), int(y_train.max())) + 1
        columns = len(y_train.unique()) if self.gaps == "closed" else columns
        scores = torch.zeros(len(z_test), columns)
        scores.scatter_add_(1, votes, self._weigh(s, temperature))
        classes = scores.argmax(1)
        share = (classes == y_test).double().mean().item()
        factor = {"percent": 100, "count": len(y_test)}.get(self.unit, 1)
        return (1 - share if self.unit == "error" else factor * share), classes

    def _nearest(self, z: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Who votes, and the cosine of each; longer vectors only for "dot"."""
        cosine = F.normalize(queries, dim=1) @ F.normalize(z, dim=1).T
        near = {
            "dot": queries @ z.T,
            "distance": -torch.cdist(queries, z),
            "farthest": -cosine,
        }.get(self.near, cosine)
        k = {"all": len(z), "nearest": 1}.get(self.voters, min(max(k, 1), len(z)))
        first = int(self.voters == "not the first" and k < len(z))
        index = near.topk(k + first, dim=1).indices[:, first:]
        return index, (near if self.near == "dot" else cosine).gather(1, index)

    def _weigh(self, s: Tensor, temperature: float) -> Tensor:
        if self.weight == "one":
            return torch.ones_like(s)
        if self.weight == "cosine":
            return s
        if self.weight in ("less 1", "less the largest"):
            least = 1 if self.weight == "less 1" else s.max()
            return ((s - least) / temperature).exp()
        if self.weight == "naive":
            return (s / temperature).exp()
        exponent = _EXPONENT[self.weight](temperature)
        return ((s - s.amax(1, keepdim=True)) * exponent).exp()


def _other_k(
    z_train: Tensor, y_train: Tensor, z_test: Tensor, y_test: Tensor,
    k: int = 5, temperature: float = 0.07,
) -> tuple[float, Tensor]:  # fmt: skip
    return _KnnEval()(z_train, y_train, z_test, y_test, k, temperature)


def _other_temperature(
    z_train: Tensor, y_train: Tensor, z_test: Tensor, y_test: Tensor,
    k: int = 20, temperature: float = 1.0,
) -> tuple[float, Tensor]:  # fmt: skip
    return _KnnEval()(z_train, y_train, z_test, y_test, k, temperature)


knn_eval = Key(
    reference=_KnnEval(),
    mutants=(
        Mutant(
            "dot_product",
            _KnnEval(near="dot"),
            "The rows are not scaled to length 1, so that long vectors are everybody's "
            "nearest neighbour. Divide every row by its norm before the product.",
        ),
        Mutant(
            "by_distance",
            _KnnEval(near="distance"),
            "The neighbours are the nearest by distance, without normalising. Choose "
            "them by the cosine, which the weights use too.",
        ),
        Mutant(
            "farthest",
            _KnnEval(near="farthest"),
            "You take the smallest cosines, that is the farthest samples. Distance is "
            "sorted upwards, similarity downwards.",
        ),
        Mutant(
            "one_vote_each",
            _KnnEval(weight="one"),
            "Each neighbour has one vote. Here a vote weighs exp(cos / temperature), "
            "so that two near neighbours can beat three far ones.",
        ),
        Mutant(
            "cosine_as_weight",
            _KnnEval(weight="cosine"),
            "Votes are weighed by the cosine itself, which differs little between "
            "neighbours. The weight is exp(cos / temperature).",
        ),
        Mutant(
            "temperature_ignored",
            _KnnEval(weight="T = 1"),
            "The temperature is not used. Divide the cosine by it before the "
            "exponential.",
        ),
        Mutant(
            "temperature_multiplied",
            _KnnEval(weight="times"),
            "The cosine is multiplied by the temperature. Divide: a small temperature "
            "lets the nearest decide.",
        ),
        Mutant(
            "overflows",
            _KnnEval(weight="naive"),
            "At a small temperature exp(cos / temperature) exceeds the largest float: "
            "inf ties with inf. Subtract the largest cosine of each query first; it "
            "changes no winner.",
        ),
        Mutant(
            "underflows",
            _KnnEval(weight="less 1"),
            "At a small temperature the weights of a query that is far from all are "
            "rounded to 0. Subtract its own largest cosine, not 1.",
        ),
        Mutant(
            "one_largest_for_all",
            _KnnEval(weight="less the largest"),
            "You subtract the largest cosine of all queries. The weights of a query "
            "that is farther from all are rounded to 0: subtract each query's own.",
        ),
        Mutant(
            "number_of_classes",
            _KnnEval(gaps="closed"),
            "The numbers of the classes may have gaps: make room for y_train.max() + 1 "
            "of them, not for as many as there are different ones.",
        ),
        Mutant(
            "all_vote",
            _KnnEval(voters="all"),
            "All training samples vote, whatever k is. Only the k nearest do.",
        ),
        Mutant(
            "nearest_alone",
            _KnnEval(voters="nearest"),
            "The nearest neighbour alone decides, whatever k is. The k nearest vote.",
        ),
        Mutant(
            "nearest_left_out",
            _KnnEval(voters="not the first"),
            "The nearest sample is left out, as if it were the query itself. Queries "
            "are no training samples: all of these may vote.",
        ),
        Mutant(
            "asks_the_test_set",
            _KnnEval(asked="test"),
            "Neighbours are looked for among the test samples, and their labels vote: "
            "each sample is its own neighbour. Only training samples vote.",
        ),
        Mutant(
            "places_as_classes",
            _KnnEval(places=True),
            "The vote is among the positions of the neighbours. Look their classes up "
            "first: y_train[indices].",
        ),
        Mutant(
            "percent",
            _KnnEval(unit="percent"),
            "The accuracy is given in percent. A fraction in [0, 1] is asked for.",
        ),
        Mutant(
            "error_rate",
            _KnnEval(unit="error"),
            "You return the share of wrong answers. Accuracy is the share of right "
            "ones.",
        ),
        Mutant(
            "number_right",
            _KnnEval(unit="count"),
            "You return the number of right answers. Divide by the number of queries.",
        ),
        Mutant(
            "another_default_k",
            _other_k,
            "Without k, 20 neighbours vote: write k=20 in the definition.",
        ),
        Mutant(
            "another_default_temperature",
            _other_temperature,
            "Without a temperature it is 0.07: write temperature=0.07 in the "
            "definition.",
        ),
        Mutant(
            "unchecked",
            _KnnEval(refuses=False),
            "k is no possible number of neighbours, or the temperature is not "
            "positive, and it was accepted in silence. Raise a ValueError.",
        ),
    ),
)
