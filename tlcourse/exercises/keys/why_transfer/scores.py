"""LEEP and LogME: what is right, and the mistakes that have a name."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse import transferability
from tlcourse.exercises.spec import Key, Mutant, Tolerance


def _joint(theta: Tensor, y: Tensor) -> Tensor:
    transferability.leep(theta, y)  # keeps the checks of the inputs
    return F.one_hot(y).double().T @ theta / len(y)  # (c, s)


def _share(joint: Tensor, dim: int) -> Tensor:
    return joint / joint.sum(dim, keepdim=True).clamp(min=1e-300)


def _conditioned_on_target(theta: Tensor, y: Tensor) -> Tensor:
    return (_share(_joint(theta, y), 1)[y] * theta).sum(1).log().mean()


def _arg_max_only(theta: Tensor, y: Tensor) -> Tensor:
    _joint(theta, y)
    return transferability.leep(F.one_hot(theta.argmax(1), theta.shape[1]).double(), y)


def _log_before_sum(theta: Tensor, y: Tensor) -> Tensor:
    return torch.xlogy(theta, _share(_joint(theta, y), 0)[y]).sum(1).mean()


def _joint_kept(theta: Tensor, y: Tensor) -> Tensor:
    return (_joint(theta, y)[y] * theta).sum(1).log().mean()


def _zero_by_zero(theta: Tensor, y: Tensor) -> Tensor:
    joint = _joint(theta, y)
    return ((joint / joint.sum(0))[y] * theta).sum(1).log().mean()


def _takes_logits(theta: Tensor, y: Tensor) -> Tensor:
    if len(y) != len(theta):
        raise ValueError("lengths differ")
    joint = F.one_hot(y).double().T @ theta / len(y)
    return (_share(joint, 0)[y] * theta).sum(1).log().mean()


leep = Key(
    reference=transferability.leep,
    mutants=(
        Mutant(
            "conditioned_on_target",
            _conditioned_on_target,
            "You use P(z|y) where P(y|z) belongs: divide the joint by the sums over "
            "target classes, one per source class z.",
        ),
        Mutant(
            "arg_max_only",
            _arg_max_only,
            "You use only the most likely source class. LEEP counts softly, with all "
            "of theta(x); the rest of the distribution is what tells tulips apart.",
        ),
        Mutant(
            "log_before_sum",
            _log_before_sum,
            "The logarithm stands inside the sum over z. LEEP is the log of the "
            "averaged prediction; by Jensen's inequality yours is never higher.",
        ),
        Mutant(
            "joint_kept",
            _joint_kept,
            "You predict with the joint P(y,z) instead of P(y|z): divide by P(z), or "
            "source classes that are rare here count for nothing.",
        ),
        Mutant(
            "zero_by_zero",
            _zero_by_zero,
            "A source class with no mass gives 0/0 = nan. It takes no part in the sum: "
            "set its conditional to 0.",
        ),
        Mutant(
            "takes_logits",
            _takes_logits,
            "Rows that are no probabilities were accepted. Raise a ValueError: with "
            "logits the formula returns a number that means nothing.",
        ),
    ),
)


def _evidence(
    f: Tensor,
    t: Tensor,
    *,
    rounds: int = 120,
    log_det: Callable[[Tensor], Tensor] = torch.logdet,
    forgets_gamma: bool = False,
) -> Tensor:
    """The evidence of one target ``(n,)``, by plain matrices, with a flaw to choose."""
    n, d = f.shape
    alpha = beta = f.new_ones(())
    power = torch.linalg.svdvals(f).square()
    for turn in range(rounds + 1):
        a = alpha * torch.eye(d, dtype=f.dtype) + beta * f.T @ f
        m = beta * torch.linalg.solve(a, f.T @ t)
        error = (f @ m - t).square().sum()
        if turn < rounds:
            gamma = (beta * power / (alpha + beta * power)).sum()
            alpha = gamma / m.square().sum()
            beta = (n if forgets_gamma else n - gamma) / error
    return (
        d * alpha.log() + n * beta.log() - beta * error - alpha * m.square().sum()
        - log_det(a) - n * math.log(2 * math.pi)
    ) / 2  # fmt: skip


def _over_classes(
    flaw: Callable[[Tensor, Tensor], Tensor], occurring: bool = True
) -> Callable[[Tensor, Tensor], Tensor]:
    def score(features: Tensor, y: Tensor) -> Tensor:
        if len(features) != len(y):
            raise ValueError("lengths differ")
        found = y.unique() if occurring else torch.arange(int(y.max()) + 1)
        return flaw(features, (found[:, None] == y).double()) / len(y)

    return score


def _mean(f: Tensor, targets: Tensor, **flaw: object) -> Tensor:
    return torch.stack([_evidence(f, t, **flaw) for t in targets]).mean()


def _class_numbers(f: Tensor, y: Tensor) -> Tensor:
    numbers = y.to(f.dtype)
    return _over_classes(lambda f, _: _evidence(f, numbers))(f, y)


def _span_only(f: Tensor) -> Callable[[Tensor], Tensor]:
    rank = int(torch.linalg.matrix_rank(f))
    return lambda a: torch.linalg.eigvalsh(a)[-rank:].log().sum()


log_me = Key(
    reference=transferability.log_me,
    tolerance=Tolerance(rtol=1e-4, atol=1e-5),
    mutants=(
        Mutant(
            "not_maximised",
            _over_classes(lambda f, t: _mean(f, t, rounds=0)),
            "alpha and beta stay at 1. LogME is the largest evidence over both: repeat "
            "the two updates until the evidence stands still.",
        ),
        Mutant(
            "gamma_forgotten",
            _over_classes(lambda f, t: _mean(f, t, forgets_gamma=True)),
            "beta is updated with n. The head has used up gamma effective parameters, "
            "so only n - gamma samples speak about the noise.",
        ),
        Mutant(
            "no_log_det",
            _over_classes(lambda f, t: _mean(f, t, log_det=lambda a: a.new_zeros(()))),
            "The term -ln|A|/2 is missing. It is the price of flexibility; without it "
            "more features always score higher.",
        ),
        Mutant(
            "span_only",
            _over_classes(lambda f, t: _mean(f, t, log_det=_span_only(f))),
            "ln|A| must hold all d eigenvalues, also the d - rank ones that equal "
            "alpha; they cancel against d ln(alpha). Yours counts the rank only.",
        ),
        Mutant(
            "class_numbers",
            _class_numbers,
            "You regress on the class number, as if class 4 were twice class 2. Use a "
            "0/1 indicator for each class and average the evidences.",
        ),
        Mutant(
            "not_per_sample",
            _over_classes(lambda f, t: _mean(f, t) * t.shape[1]),
            "Divide the log evidence by n, or scores grow with the number of samples.",
        ),
        Mutant(
            "classes_without_samples",
            _over_classes(_mean, occurring=False),
            "Labels may have gaps. A class that does not occur has only zeros as its "
            "target, and no maximum of the evidence: loop over y.unique().",
        ),
    ),
)
