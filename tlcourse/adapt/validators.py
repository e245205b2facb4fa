r"""Choosing a model without a label of the target: five scores.

:func:`scores` gives all of them for one trained model, turned so that higher is
better. What they are worth, chapter 07 measures. They compare models on the same
samples, not tasks.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import shift
from tlcourse.adapt.checking import labels, matrix, same_width
from tlcourse.adapt.confidence import entropy
from tlcourse.adapt.training import features
from tlcourse.arguments import positive
from tlcourse.evaluation import labelled

__all__ = [
    "dev_risk",
    "dev_weights",
    "entropy",
    "information_maximisation",
    "scores",
    "snd",
    "source_risk",
]


def scores(
    model: nn.Module, train: Any, validation: Any, target: Any
) -> dict[str, float]:
    """Every score of one model, **higher is better** (risks and entropy negated).

    The source passes through the model as it is: BatchNorm statistics of the target,
    where the method set them, count in the two risks (chapter 07 shows the cost).

    Args:
        model: with ``features`` and ``head``, in eval mode, for example
            ``result.model``.
        train: the source samples it was trained on, labelled (for DEV's weights).
        validation: source samples kept from training, labelled.
        target: ``Dataset``, sealed or not, or a tensor x; only the inputs are read.

    Returns:
        ``source_risk``, ``entropy``, ``information_maximisation``, ``snd``,
        ``dev_risk``.
    """
    (x_train, _), (x_val, y) = (
        labelled(train, "train"),
        labelled(validation, "validation"),
    )
    z_train, z = features(model, x_train), features(model, x_val)
    z_target = features(model, getattr(target, "x", target))
    with torch.no_grad():
        logits, logits_target = model.head(z), model.head(z_target)
    y = y.to(logits.device)
    losses = F.cross_entropy(logits, y, reduction="none")
    return {
        "source_risk": -source_risk(logits, y),
        "entropy": -entropy(logits_target).item(),
        "information_maximisation": information_maximisation(logits_target),
        "snd": snd(logits_target),
        "dev_risk": -dev_risk(losses, dev_weights(z, z_train, z_target)).item(),
    }


def source_risk(logits: Tensor, y: Tensor) -> float:
    """Cross-entropy on labelled source samples kept from training; lower is better.

    Args:
        logits: ``(n, k)`` of the validation samples.
        y: their class numbers ``(n,)``.
    """
    matrix("logits", logits)
    labels("y", y, len(logits), logits.shape[1])
    return F.cross_entropy(logits.detach(), y.to(logits.device)).item()


def information_maximisation(logits: Tensor) -> float:
    r"""Mutual information of sample and prediction: :math:`H(\bar p)-\overline{H(p)}`.

    Sure and diverse predictions are good, so higher is better (Bridle et al., 1991;
    Shi and Sha, ICML 2012). Diversity assumes that the classes are about equally
    frequent. Between 0 and ln k.
    """
    matrix("logits", logits)
    mean = logits.detach().softmax(1).mean(0)
    return torch.special.entr(mean).sum().item() - entropy(logits.detach()).item()


def snd(logits: Tensor, temperature: float = 0.05, batch_size: int = 1024) -> float:
    r"""Soft neighbourhood density: has each target sample many equally near ones?

    Higher is better. With softmax outputs scaled to length 1 and
    :math:`S_{ij}=f_i^\top f_j`, the diagonal left out,
    :math:`P_{ij}=\mathrm{softmax}_j(S_{ij}/\tau)`; the score is the mean entropy of the
    rows of P (Saito et al., "Tune it the Right Way", ICCV 2021, with
    :math:`\tau=0.05`). Between 0 and ln(n-1). It, too, likes a model that puts all
    samples into one class.

    Args:
        logits: of the target samples, ``(n, k)``, n >= 3.
        temperature: :math:`\tau>0`.
        batch_size: rows at a time; the result does not depend on it.
    """
    matrix("logits", logits, least=3)
    positive("temperature", temperature)
    f = F.normalize(logits.detach().softmax(1), dim=1)  # (n, k)
    total = 0.0
    for start in range(0, len(f), batch_size):
        similarity = f[start : start + batch_size] @ f.T / temperature  # (b, n)
        rows = torch.arange(len(similarity), device=f.device)
        similarity[rows, start + rows] = -torch.inf
        total += torch.special.entr(similarity.softmax(1)).sum().item()
    return total / len(f)


def dev_risk(losses: Tensor, weights: Tensor) -> Tensor:
    r"""Deep embedded validation: the target risk from weighted source losses.

    :math:`\frac1n\sum_i w_i\ell_i+\eta\,\overline{w}-\eta,\quad
    \eta=-\frac{\mathrm{Cov}(w\ell,w)}{\mathrm{Var}(w)}` (You et al., "Towards
    Accurate Model Selection in Deep Unsupervised Domain Adaptation", ICML 2019,
    algorithm 1). Density ratios have mean 1, so :math:`\overline w-1` tells how lucky
    the sample is: a control variate, which lowers the variance of the plain weighted
    mean. Constant weights give the weighted mean. A risk: lower is better. Chapter 07
    builds it.

    Args:
        losses: ``(n,)`` floating, one loss per validation sample of the source, n >= 2.
        weights: ``(n,)`` density ratios target : source, at least 0, *not* scaled to
            mean 1 on this sample, which would make the control variate do nothing.

    Returns:
        A scalar with the graph of its inputs, in their dtype.

    Raises:
        ValueError: unequal or short lengths, a negative weight, NaN or infinity.
    """
    for name, value in (("losses", losses), ("weights", weights)):
        if not isinstance(value, Tensor) or value.ndim != 1 or len(value) < 2:
            raise ValueError(f"{name} must be a tensor (n,) with n >= 2.")
        if not value.is_floating_point() or not torch.isfinite(value).all():
            raise ValueError(f"{name} must hold finite floating numbers.")
    if losses.shape != weights.shape:
        raise ValueError(
            f"got {len(losses)} losses and {len(weights)} weights; give one weight per "
            "loss."
        )
    if (weights < 0).any():
        raise ValueError("weights must be density ratios >= 0; some are negative.")
    weighted, centred = weights * losses, weights - weights.mean()
    variance = centred.square().mean()
    if variance <= torch.finfo(weights.dtype).eps * weights.square().mean():
        return weighted.mean()
    eta = -((weighted - weighted.mean()) * centred).mean() / variance
    return weighted.mean() + eta * (weights.mean() - 1)


def dev_weights(z: Tensor, z_train: Tensor, z_target: Tensor) -> Tensor:
    r"""Density ratios target : source at ``z``, by a domain classifier.

    A logistic regression learns to tell the features of training source and target
    apart; :math:`w=\frac{n_S}{n_T}\frac{P(T\mid z)}{P(S\mid z)}` (You et al., 2019).
    Under perfect alignment w is constant, and the DEV risk is the source's.

    Args:
        z: features ``(n, d)`` of the source's validation samples.
        z_train: of the source samples trained on.
        z_target: of the target samples.

    Returns:
        ``(n,)`` in the dtype and on the device of z, not scaled to mean 1.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for name, value in (("z", z), ("z_train", z_train), ("z_target", z_target)):
        matrix(name, value)
        same_width(value, z)
    both = torch.cat([z_train, z_target]).detach().cpu().numpy()
    domain = [0] * len(z_train) + [1] * len(z_target)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(both, domain)
    log_odds = torch.from_numpy(classifier.decision_function(z.detach().cpu().numpy()))
    weights = shift.importance_weights(
        log_odds, len(z_train), len(z_target), normalise=False
    )
    return weights.to(z)
