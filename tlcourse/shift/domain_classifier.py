"""What a classifier that tells the domains apart says about them. Chapter 06."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tlcourse.arguments import whole
from tlcourse.shift.inputs import check_pair

Fit = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]


def proxy_a_distance(
    source: Tensor,
    target: Tensor,
    fit: Fit | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> float:
    r"""Proxy A-distance: how well can the domains be told apart on held-out samples?

    .. math:: \hat d_A = \max(0,\ 2 (1 - 2 \varepsilon)), \qquad
        \varepsilon = \tfrac12 (\varepsilon_S + \varepsilon_T)

    (Ben-David et al., 2007). Each sample is classified once, by a classifier that
    did not see it. The error is the mean of the two domains' errors, so that unequal
    sizes do not matter: guessing the larger domain gives 0. By chance the error may
    exceed 1/2; a distance is not negative, so it is cut off at 0.

    Args:
        source: ``(n, d)`` float, label 0.
        target: ``(m, d)`` float, label 1.
        fit: ``fit(x, labels)`` returns a function from samples ``(k, d)`` to labels
            ``(k,)``; logistic regression on standardised features by default. The
            distance belongs to this class of classifiers.
        folds: in how many parts the samples are cut; needs as many per domain.
        seed: of the parts.

    Returns:
        A number in [0, 2].

    Raises:
        ValueError: inputs do not fit, or a domain has fewer samples than folds.
    """
    whole("folds", folds, 2)
    check_pair(source, target, folds, ("source", "target"))
    fit = fit or _logistic_labels
    x, labels, wrong = *_labelled(source, target), []
    for train, test in _folds(len(source), len(target), folds, seed):
        predicted = fit(x[train], labels[train])(x[test]).to(labels)
        if predicted.shape != test.shape:
            raise ValueError(
                f"fit must return a function from samples to labels ({len(test)},), "
                f"got {tuple(predicted.shape)}; take the arg-max of logits."
            )
        wrong.append(torch.stack([test.to(labels), predicted != labels[test]]))
    place, errors = torch.cat(wrong, 1)  # (n + m,), (n + m,)
    is_target = labels[place] == 1
    error = (errors[is_target].double().mean() + errors[~is_target].double().mean()) / 2
    return max(0.0, 2 * (1 - 2 * float(error)))


def domain_logits(
    source: Tensor, target: Tensor, *, folds: int = 5, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Log odds that a sample comes from the target, each from a held-out classifier.

    Logistic regression on standardised features, fitted on the other folds. Input
    for :func:`importance_weights`.

    Args:
        source: ``(n, d)`` float.
        target: ``(m, d)`` float.
        folds: in how many parts the samples are cut.
        seed: of the parts.

    Returns:
        Log odds of the source samples ``(n,)`` and of the target samples ``(m,)``.

    Raises:
        ValueError: inputs do not fit, or a domain has fewer samples than folds.
    """
    whole("folds", folds, 2)
    check_pair(source, target, folds, ("source", "target"))
    x, labels = _labelled(source, target)
    logits = x.new_empty(len(x))
    for train, test in _folds(len(source), len(target), folds, seed):
        logits[test] = _logistic(x[train], labels[train])(x[test])
    return logits[: len(source)], logits[len(source) :]


def _labelled(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    x = torch.cat([source, target]).detach()
    return x, (torch.arange(len(x), device=x.device) >= len(source)).long()


def _folds(n: int, m: int, folds: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Train and test rows of the pooled samples; each domain is cut alike."""
    generator = torch.Generator().manual_seed(seed)
    part = torch.empty(n + m, dtype=torch.int64)
    for start, size in ((0, n), (n, m)):
        part[start + torch.randperm(size, generator=generator)] = (
            torch.arange(size) % folds
        )
    for fold in range(folds):
        yield (part != fold).nonzero()[:, 0], (part == fold).nonzero()[:, 0]


def _logistic(x: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Fit scikit-learn's logistic regression; gives log odds of label 1."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = x.mean(0), x.std(0)
    scale = torch.where(scale > 0, scale, 1)
    model = LogisticRegression(max_iter=1000)
    model.fit(((x - mean) / scale).cpu().double().numpy(), labels.cpu().numpy())
    weight = torch.from_numpy(model.coef_[0]).to(x)
    return lambda z: ((z - mean) / scale) @ weight + float(model.intercept_[0])


def _logistic_labels(x: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    logits = _logistic(x, labels)
    return lambda z: (logits(z) > 0).long()
