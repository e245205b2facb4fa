"""Sample weights: what is right, and mistakes with a name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tlcourse import shift
from tlcourse.exercises.spec import Key, Mutant


def _ratio(
    odds: Callable[[Tensor, int, int], Tensor],
    share: Callable[[Tensor], Tensor] = lambda w: w / w.mean(),
) -> Callable[..., Tensor]:
    def weights(a: Tensor, source: int, target: int, normalise: bool = True) -> Tensor:
        shift.importance_weights(a, source, target)  # keeps the refusals
        w = odds(a.double(), source, target)
        return share(w) if normalise else w

    return weights


def _overflow(a: Tensor, source: int, target: int, normalise: bool = True) -> Tensor:
    shift.importance_weights(a, source, target)
    w = a.exp() * source / target
    return w / w.mean() if normalise else w


def _sum_to_one(a: Tensor, source: int, target: int, normalise: bool = True) -> Tensor:
    w = shift.importance_weights(a, source, target, normalise=normalise)
    return w / len(a) if normalise else w


def _never_normalised(
    a: Tensor, source: int, target: int, normalise: bool = True
) -> Tensor:
    return shift.importance_weights(a.double(), source, target, normalise=False)


def _over_all_source(
    a: Tensor, source: int, target: int, normalise: bool = True
) -> Tensor:
    w = shift.importance_weights(a, source, target, normalise=normalise)
    return w * source / len(a) if normalise else w


def _length_for_source(
    a: Tensor, source: int, target: int, normalise: bool = True
) -> Tensor:
    w = shift.importance_weights(a, source, target, normalise=normalise)
    return w if normalise else w * len(a) / source


def _raw_by_default(
    a: Tensor, source: int, target: int, normalise: bool = False
) -> Tensor:
    return shift.importance_weights(a, source, target, normalise=normalise)


def _epsilon(a: Tensor, source: int, target: int, normalise: bool = True) -> Tensor:
    shift.importance_weights(a, source, target)
    w = a.exp() * source / target
    return w / (w.mean() + 1e-8) if normalise else w


def _unchecked(a: Tensor, source: int, target: int, normalise: bool = True) -> Tensor:
    if normalise:
        return a.softmax(0) * len(a)
    return a.exp() * (source / max(target, 1e-9))


importance_weights = Key(
    reference=shift.importance_weights,
    mutants=(
        Mutant(
            "upside_down",
            _ratio(lambda a, s, t: (-a).exp() * t / s),
            "The ratio is upside down: source samples that look like the target must "
            "weigh more, not less.",
        ),
        Mutant(
            "probability_for_odds",
            _ratio(lambda a, s, t: a.sigmoid() * s / t),
            "You weigh by P(target | x). The density ratio is the odds, P(target | x) "
            "/ P(source | x), which has no upper limit.",
        ),
        Mutant(
            "sizes_forgotten",
            _ratio(lambda a, s, t: a.exp()),
            "The odds still hold the sizes of the two samples. Multiply by n_S / n_T: "
            "for equal domains the weights must be 1.",
        ),
        Mutant(
            "sizes_exchanged",
            _ratio(lambda a, s, t: a.exp() * t / s),
            "The factor is n_T / n_S where n_S / n_T belongs: with few target samples "
            "the classifier says “target” too rarely, and the weights must go up.",
        ),
        Mutant(
            "sum_to_one",
            _sum_to_one,
            "Normalised weights sum to 1 here. Their mean is to be 1, so that a "
            "weighted loss keeps its size and learning rates still fit.",
        ),
        Mutant(
            "over_all_source",
            _over_all_source,
            "You divide by num_source. The mean is taken over the samples given, of "
            "which there may be fewer.",
        ),
        Mutant(
            "length_for_source",
            _length_for_source,
            "You take len(logits) for n_S. The classifier was fitted on num_source "
            "samples, and the logits may be those of a few.",
        ),
        Mutant(
            "raw_by_default",
            _raw_by_default,
            "Without the last argument the weights are to be normalised: the default "
            "is `normalise=True`.",
        ),
        Mutant(
            "epsilon",
            _epsilon,
            "A small number is added to the mean. With logits near -200 the weights "
            "themselves are far smaller, and all become 0. Take away the largest logit "
            "first; then nothing has to be added.",
        ),
        Mutant(
            "never_normalised",
            _never_normalised,
            "`normalise=True` changes nothing: divide the weights by their mean.",
        ),
        Mutant(
            "overflow",
            _overflow,
            "exp of a large logit is inf, of a very small one 0, and the mean of such "
            "weights gives nan. Softmax times n is the same and safe, or take away the "
            "largest logit first.",
        ),
        Mutant(
            "unchecked",
            _unchecked,
            "Bad input was accepted: no samples, or a count of 0. Raise a ValueError.",
        ),
    ),
)
