"""SupCon: what is right, and the mistakes that have a name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse import losses
from tlcourse.exercises.spec import Key, Mutant, Tolerance


@dataclass(frozen=True)
class _SupCon:
    """The plain form; each option puts one mistake in."""

    normalised: bool = True
    logits: str = "divided"  # by the temperature; or "as they are", "multiplied"
    own: str = "left out"  # or "candidate", "positive", "counted"
    log: str = "outside"  # the sum over positives; or "inside"
    others: str = "all"  # or "negatives", "own positive"
    lonely: str = "left out"  # or "nan", "hidden nan", "as zero"
    picked: str = "masked"  # the positives; or "multiplied"
    total: str = "anchors"  # or "pairs", "sum"
    factor: float = 0.0  # base temperature of the authors' code
    naive: bool = False
    detached: bool = False
    refuses: bool = True

    def __call__(self, z: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
        if self.refuses:
            losses.sup_con(z.detach(), labels, temperature)
        u = F.normalize(z, dim=1) if self.normalised else z
        s = self._scale(u @ (u.detach() if self.detached else u).T, temperature)
        same = labels[:, None] == labels  # (n, n)
        own = torch.eye(len(z), dtype=torch.bool)
        positive = same if self.own == "positive" else same & ~own
        kept = ~own | (self.own in ("candidate", "positive"))
        log_p = s - self._partition(s, kept, same, positive)
        count = positive.sum(1)
        if self.log == "inside":
            inner = log_p.masked_fill(~positive, -torch.inf).logsumexp(1)
            each, has = count.clamp(min=1).log() - inner, count > 0
            return each[has].mean()
        sums = -log_p.masked_fill(~positive, 0).sum(1)  # (n,)
        if self.picked == "multiplied":
            sums = -(positive * log_p.masked_fill(own, -torch.inf)).sum(1)
        if self.lonely == "hidden nan":  # a product lets nan through on the way back
            sums = -(positive * log_p.masked_fill(own, 0)).sum(1)
        return self._mean(sums, count) * (temperature / (self.factor or temperature))

    def _scale(self, s: Tensor, temperature: float) -> Tensor:
        if self.logits == "as they are":
            return s
        return s * temperature if self.logits == "multiplied" else s / temperature

    def _partition(
        self, s: Tensor, kept: Tensor, same: Tensor, positive: Tensor
    ) -> Tensor:
        """Of each anchor, or of each pair of anchor and positive."""
        if self.naive:
            return (s.exp() * kept).sum(1, keepdim=True).log()
        if self.others == "all":
            return s.masked_fill(~kept, -torch.inf).logsumexp(1, keepdim=True)
        negatives = s.masked_fill(same, -torch.inf).logsumexp(1, keepdim=True)
        return (
            negatives if self.others == "negatives" else torch.logaddexp(negatives, s)
        )

    def _mean(self, sums: Tensor, count: Tensor) -> Tensor:
        if self.total == "pairs":
            return sums.sum() / count.sum()
        if self.lonely == "nan":
            return (sums / count).mean()
        has = count > 0
        if self.lonely == "hidden nan":
            return (sums / count).nan_to_num(0).sum() / has.sum()
        each = sums[has] / (count[has] + (self.own == "counted"))
        if self.lonely == "as zero":
            return each.sum() / len(sums)
        return each.sum() if self.total == "sum" else each.mean()


def _from_zero_on(z: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    loss = losses.sup_con(z, labels, temperature)
    return loss if bool((labels >= 0).any()) else loss * torch.nan


def _another_default(z: Tensor, labels: Tensor, temperature: float = 0.5) -> Tensor:
    return losses.sup_con(z, labels, temperature)


sup_con = Key(
    reference=losses.sup_con,
    tolerance=Tolerance(rtol=1e-4, atol=1e-5),
    mutants=(
        Mutant(
            "log_inside",
            _SupCon(log="inside"),
            "The logarithm is taken of the mean over the positives (L_in). Then one "
            "near positive is enough. Take the log of each, then the mean (L_out).",
        ),
        Mutant(
            "nan_without_positives",
            _SupCon(lonely="nan"),
            "An anchor without a positive gives 0/0, and the mean is nan. Leave such "
            "anchors out before you divide.",
        ),
        Mutant(
            "hidden_nan",
            _SupCon(lonely="hidden nan"),
            "The loss is right, but its gradient is nan: 0/0 was computed and replaced "
            "afterwards (nan_to_num, torch.where). Leave anchors without a positive "
            "out before you divide.",
        ),
        Mutant(
            "labels_from_zero_on",
            _from_zero_on,
            "Labels may be any numbers, also negative ones, and yours are found among "
            "0, 1, 2, ... only. Compare labels with one another.",
        ),
        Mutant(
            "counted_as_zero",
            _SupCon(lonely="as zero"),
            "Anchors without a positive count as 0 in the mean, so that the loss falls "
            "when classes are rare. Divide by the number of anchors that have one.",
        ),
        Mutant(
            "self_is_positive",
            _SupCon(own="positive"),
            "Each anchor is one of its own positives, with similarity 1. Take the "
            "diagonal out of the positives and out of the denominator.",
        ),
        Mutant(
            "self_in_denominator",
            _SupCon(own="candidate"),
            "The positives are right, but the anchor itself is still in the "
            "denominator. The softmax runs over the n - 1 other rows.",
        ),
        Mutant(
            "self_counted",
            _SupCon(own="counted"),
            "You divide by the size of the class. The anchor is not its own positive: "
            "divide by the number of the others, one less.",
        ),
        Mutant(
            "not_normalised",
            _SupCon(normalised=False),
            "The rows are not scaled to length 1. Divide every row by its norm, so "
            "that similarities are cosines.",
        ),
        Mutant(
            "temperature_ignored",
            _SupCon(logits="as they are"),
            "The temperature is not used. Divide the similarities by it, before the "
            "exponential.",
        ),
        Mutant(
            "temperature_multiplied",
            _SupCon(logits="multiplied"),
            "The similarities are multiplied by the temperature. Divide: a small "
            "temperature makes differences large.",
        ),
        Mutant(
            "base_temperature",
            _SupCon(factor=0.07),
            "Your loss has a factor temperature / 0.07, as in the authors' code. The "
            "formula has none: it would only change the learning rate.",
        ),
        Mutant(
            "mean_over_pairs",
            _SupCon(total="pairs"),
            "You take one mean over all pairs, so that large classes count more. First "
            "the mean over the positives of an anchor, then over the anchors.",
        ),
        Mutant(
            "summed",
            _SupCon(total="sum"),
            "You return the sum over the anchors. The mean over those that have a "
            "positive is asked for.",
        ),
        Mutant(
            "positives_left_out",
            _SupCon(others="negatives"),
            "The denominator holds the other classes only, so that the loss can be "
            "negative. All n - 1 other rows belong there, the positives too.",
        ),
        Mutant(
            "one_positive_at_a_time",
            _SupCon(others="own positive"),
            "The denominator holds one positive and the other classes. In SupCon it "
            "holds all n - 1 other rows, the other positives too.",
        ),
        Mutant(
            "anchors_only",
            _SupCon(detached=True),
            "The value is right, the gradient is not: the rows an anchor is compared "
            "with are detached. They learn as well.",
        ),
        Mutant(
            "overflows",
            _SupCon(naive=True),
            "At a small temperature exponentials exceed the largest float, or all of "
            "one row are rounded to 0, and the loss is inf or nan. Use logsumexp or "
            "log_softmax, over the other rows only.",
        ),
        Mutant(
            "zero_times_infinity",
            _SupCon(picked="multiplied"),
            "The diagonal is -inf, and 0 * -inf is nan: a product with the mask does "
            "not remove it. Use masked_fill or torch.where.",
        ),
        Mutant(
            "another_default",
            _another_default,
            "sup_con(z, labels) is to use the temperature 0.1: write temperature=0.1 "
            "in the definition.",
        ),
        Mutant(
            "unchecked",
            _SupCon(refuses=False),
            "Bad input was accepted: a temperature that is not positive, no anchor "
            "with a positive, or a single class. Raise a ValueError.",
        ),
    ),
)
