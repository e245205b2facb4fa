"""NT-Xent: what is right, and the mistakes that have a name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse import losses
from tlcourse.exercises.spec import Key, Mutant, Tolerance


@dataclass(frozen=True)
class _NtXent:
    """The plain form; each option puts one mistake in."""

    scaled: str = "rows"  # or "columns", "not"
    own: str = "left out"  # the self-similarity; or "kept", "as zero"
    logits: str = "divided"  # by the temperature; or "as they are", "multiplied"
    anchors: str = "both views"  # or "first view"
    others: str = "all"  # or "other view", "negatives"
    pairs: str = "halves"  # or "neighbours"
    detached: str = "nothing"  # or "z1", "z2", "candidates"
    total: str = "mean"  # or "sum", "per pair"
    naive: bool = False
    refuses: bool = True

    def __call__(self, z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
        if self.refuses:
            losses.nt_xent(z1.detach(), z2.detach(), temperature)
        z1, z2 = (
            z.detach() if self.detached == name else z
            for name, z in (("z1", z1), ("z2", z2))
        )
        z = torch.cat([z1, z2])
        if self.scaled != "not":
            z = F.normalize(z, dim=1 if self.scaled == "rows" else 0)
        others = z.detach() if self.detached == "candidates" else z
        s = self._scale(z @ others.T, temperature)  # (2n, 2n)
        n, count = len(z1), len(z)
        rows = torch.arange(count)
        positive = rows ^ 1 if self.pairs == "neighbours" else (rows + n) % count
        positive = positive.clamp(max=count - 1)
        right = s[rows, positive]
        each = self._partition(self._mask(s, positive)) - right  # (2n,)
        if self.anchors == "first view":
            each = each[:n]
        return {"mean": each.mean(), "sum": each.sum(), "per pair": each.sum() / n}[
            self.total
        ]

    def _scale(self, s: Tensor, temperature: float) -> Tensor:
        if self.logits == "as they are":
            return s
        return s * temperature if self.logits == "multiplied" else s / temperature

    def _mask(self, s: Tensor, positive: Tensor) -> Tensor:
        rows = torch.arange(len(s))
        own = torch.eye(len(s), dtype=torch.bool)
        if self.own != "kept":
            s = s.masked_fill(own, 0.0 if self.own == "as zero" else -torch.inf)
        if self.others == "negatives":
            return s.masked_fill(own[positive], -torch.inf)
        if self.others == "other view":
            half = rows < len(s) // 2
            return s.masked_fill(half[:, None] == half, -torch.inf)
        return s

    def _partition(self, s: Tensor) -> Tensor:
        return s.exp().sum(1).log() if self.naive else s.logsumexp(1)


def _another_default(z1: Tensor, z2: Tensor, temperature: float = 0.1) -> Tensor:
    return losses.nt_xent(z1, z2, temperature)


nt_xent = Key(
    reference=losses.nt_xent,
    tolerance=Tolerance(rtol=1e-4, atol=1e-5),
    mutants=(
        Mutant(
            "not_normalised",
            _NtXent(scaled="not"),
            "The rows are not scaled to length 1. Then the loss falls when vectors get "
            "longer, whatever they say. Divide every row by its norm.",
        ),
        Mutant(
            "normalised_over_batch",
            _NtXent(scaled="columns"),
            "You scale the columns: F.normalize(z, dim=0) mixes the samples of the "
            "batch. Every embedding, a row, gets length 1: dim=1.",
        ),
        Mutant(
            "self_similarity_kept",
            _NtXent(own="kept"),
            "The similarity of a row with itself is still in the denominator. It is 1, "
            "larger than any other, and never wrong. Set the diagonal to -inf.",
        ),
        Mutant(
            "self_similarity_zero",
            _NtXent(own="as zero"),
            "The diagonal is set to 0, but exp(0) = 1 stays in the denominator, a "
            "negative that does not exist. Set it to -inf.",
        ),
        Mutant(
            "temperature_ignored",
            _NtXent(logits="as they are"),
            "The temperature is not used: every value gives the same loss. Divide the "
            "similarities by it, before the exponential.",
        ),
        Mutant(
            "temperature_multiplied",
            _NtXent(logits="multiplied"),
            "The similarities are multiplied by the temperature. Divide: a small "
            "temperature makes differences large.",
        ),
        Mutant(
            "one_direction",
            _NtXent(anchors="first view"),
            "Only the rows of z1 are anchors. Those of z2 have to find their partner "
            "as well: the mean runs over 2n anchors.",
        ),
        Mutant(
            "other_view_only",
            _NtXent(others="other view"),
            "An anchor is compared with the n rows of the other view only, as in CLIP. "
            "In NT-Xent the other rows of its own view are negatives too: 2n - 1.",
        ),
        Mutant(
            "positive_left_out",
            _NtXent(others="negatives"),
            "The denominator holds the negatives only, so that the loss can be "
            "negative. In NT-Xent the positive is one of the 2n - 1 candidates.",
        ),
        Mutant(
            "neighbours_paired",
            _NtXent(pairs="neighbours"),
            "Rows 0 and 1, 2 and 3, ... count as pairs. In torch.cat([z1, z2]) the "
            "partner of row i stands n rows further on: (i + n) mod 2n.",
        ),
        Mutant(
            "view_detached",
            _NtXent(detached="z2"),
            "The value is right, but no gradient reaches z2. Both views learn: do not "
            "detach one of them.",
        ),
        Mutant(
            "first_view_detached",
            _NtXent(detached="z1"),
            "The value is right, but no gradient reaches z1. Both views learn: do not "
            "detach one of them.",
        ),
        Mutant(
            "candidates_detached",
            _NtXent(detached="candidates"),
            "The value is right, the gradient is not: the rows an anchor is compared "
            "with are detached. They learn as well.",
        ),
        Mutant(
            "summed",
            _NtXent(total="sum"),
            "You return the sum over the anchors. The mean is asked for: otherwise a "
            "larger batch means a larger learning rate.",
        ),
        Mutant(
            "divided_by_pairs",
            _NtXent(total="per pair"),
            "The sum over 2n anchors is divided by n, the number of pairs. Divide by "
            "2n.",
        ),
        Mutant(
            "overflows",
            _NtXent(naive=True),
            "At a small temperature exponentials exceed the largest float, or all of "
            "one row are rounded to 0, and the loss is inf or nan. Use logsumexp or "
            "F.cross_entropy, which subtract the largest of each row.",
        ),
        Mutant(
            "another_default",
            _another_default,
            "nt_xent(z1, z2) is to use the temperature 0.5: write temperature=0.5 in "
            "the definition.",
        ),
        Mutant(
            "unchecked",
            _NtXent(refuses=False),
            "Bad input was accepted: a temperature that is not positive, views of "
            "unequal size, or one pair without a negative. Raise a ValueError.",
        ),
    ),
)
