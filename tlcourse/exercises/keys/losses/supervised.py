"""Chapter 02: cross-entropy and its smoothed form, right and wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from tlcourse import losses
from tlcourse.exercises.spec import Key, Mutant, Tolerance
from tlcourse.losses.supervised import check_logits


def _unstable(logits: Tensor, targets: Tensor) -> Tensor:
    check_logits(logits, targets)
    exp = logits.exp()
    true = exp.gather(1, targets[:, None]).squeeze(1)
    return (exp.sum(1).log() - true.log()).mean()


def _summed(logits: Tensor, targets: Tensor) -> Tensor:
    return losses.cross_entropy(logits, targets) * len(logits)


def _softmax_twice(logits: Tensor, targets: Tensor) -> Tensor:
    return losses.cross_entropy(logits.softmax(1), targets)


def _over_classes(logits: Tensor, targets: Tensor) -> Tensor:
    return losses.cross_entropy(logits, targets) / logits.shape[1]


def _unchecked(logits: Tensor, targets: Tensor) -> Tensor:
    return losses.cross_entropy(logits, targets.clamp(0, logits.shape[1] - 1))


def _counts_from_the_end(logits: Tensor, targets: Tensor) -> Tensor:
    wrapped = torch.where(targets < 0, targets + logits.shape[1], targets)
    return losses.cross_entropy(logits, wrapped)


cross_entropy = Key(
    reference=losses.cross_entropy,
    tolerance=Tolerance(atol=1e-5),  # logits near 1,000 have no more digits
    mutants=(
        Mutant(
            "unstable",
            _unstable,
            "exp() of a large logit overflows to inf, and inf / inf is nan. Subtract "
            "each row's largest logit first: the result is the same, the exponent "
            "small.",
        ),
        Mutant(
            "summed",
            _summed,
            "You sum over the samples. The loss is their mean; otherwise its size, and "
            "with it the learning rate, depends on the batch size.",
        ),
        Mutant(
            "softmax_twice",
            _softmax_twice,
            "Softmax is applied twice: cross-entropy from logits contains it already. "
            "The second one flattens the distribution and the gradient.",
        ),
        Mutant(
            "mean_over_classes",
            _over_classes,
            "You average over samples and classes. Only the true class of each sample "
            "counts: divide by n, not by n times k.",
        ),
        Mutant(
            "unchecked_targets",
            _unchecked,
            "A class index outside [0, k) was accepted. Raise a ValueError: silent "
            "clamping trains on wrong labels.",
        ),
        Mutant(
            "negative_target",
            _counts_from_the_end,
            "The class index -1 was accepted: indexing counts it from the end, so it "
            "trains the last class. Check both ends: 0 <= target < k.",
        ),
    ),
)


def _expected_log_loss(logits: Tensor, q: Tensor) -> Tensor:
    """Mean over samples of -sum_k q_k log p_k."""
    return -(q * logits.log_softmax(1)).sum(1).mean()


def _one_hot(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.eye(logits.shape[1])[targets]  # (n, k)


def _others_only(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    losses.label_smoothing_ce(logits, targets, smoothing)  # the same errors
    hot, share = _one_hot(logits, targets), smoothing / (logits.shape[1] - 1)
    return _expected_log_loss(logits, (1 - smoothing) * hot + share * (1 - hot))


def _not_divided(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    losses.label_smoothing_ce(logits, targets, smoothing)
    hot = _one_hot(logits, targets)
    return _expected_log_loss(logits, (1 - smoothing) * hot + smoothing)


def _swapped(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    losses.label_smoothing_ce(logits, targets, smoothing)
    q = smoothing * _one_hot(logits, targets) + (1 - smoothing) / logits.shape[1]
    return _expected_log_loss(logits, q)


def _not_smoothed(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    losses.label_smoothing_ce(logits, targets, smoothing)
    return losses.cross_entropy(logits, targets)


def _smoothed_prediction(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    losses.label_smoothing_ce(logits, targets, smoothing)
    true = logits.softmax(1).gather(1, targets[:, None])
    return -((1 - smoothing) * true + smoothing / logits.shape[1]).log().mean()


def _log_of_softmax(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    losses.label_smoothing_ce(logits, targets, smoothing)
    q = (1 - smoothing) * _one_hot(logits, targets) + smoothing / logits.shape[1]
    return -(q * logits.softmax(1).log()).sum(1).mean()


def _any_smoothing(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    q = (1 - smoothing) * _one_hot(logits, targets) + smoothing / logits.shape[1]
    return _expected_log_loss(logits, q)


label_smoothing_ce = Key(
    reference=losses.label_smoothing_ce,
    tolerance=Tolerance(atol=5e-5),  # logits near 1,000 have no more digits
    mutants=(
        Mutant(
            "others_only",
            _others_only,
            "You spread the smoothing over the k - 1 wrong classes. The uniform part "
            "covers all k, the true one too: q_y = 1 - eps + eps / k.",
        ),
        Mutant(
            "not_divided",
            _not_divided,
            "Each class gets eps instead of eps / k, so q sums to more than 1 and is "
            "no distribution. Divide by the number of classes.",
        ),
        Mutant(
            "swapped",
            _swapped,
            "The two weights are swapped: the label keeps 1 - eps, the uniform part "
            "gets eps. With smoothing 0 the loss must be plain cross-entropy.",
        ),
        Mutant(
            "not_smoothed",
            _not_smoothed,
            "`smoothing` has no effect: this is plain cross-entropy. Add eps times the "
            "mean of -log p over the classes, and weigh the label's part by 1 - eps.",
        ),
        Mutant(
            "smoothed_prediction",
            _smoothed_prediction,
            "You smooth the predicted probability inside the log. Smooth the target q "
            "outside of it: -sum_k q_k log p_k.",
        ),
        Mutant(
            "log_of_softmax",
            _log_of_softmax,
            "softmax underflows to 0 for large logits, and log(0) is -inf. Use "
            "log_softmax, or subtract the row's logsumexp from the logits.",
        ),
        Mutant(
            "any_smoothing",
            _any_smoothing,
            "A smoothing outside [0, 1) was accepted: at 1 the label no longer counts, "
            "beyond it q is negative. Raise a ValueError that names the range.",
        ),
    ),
)
