"""Penalties that keep a fine-tuned model near its source. Chapters 02 and 04."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def l2_sp(
    params: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    alpha: float = 0.1,
    beta: float = 0.01,
) -> Tensor:
    r"""Squared distance to the starting point (L2-SP; Li et al., 2018, section 3).

    .. math:: \frac\alpha2 \lVert w_S - w_S^0\rVert_2^2
        + \frac\beta2 \lVert w_{\bar S}\rVert_2^2

    S holds the parameters that the source has under the same name and with the same
    shape; they are pulled to their source values. All others, a new head above all,
    are pulled to zero. No gradient flows into ``source``.

    Args:
        params: name to float tensor, ``dict(model.named_parameters())``.
        source: name to tensor: copies taken before training
            (``p.detach().clone()``). The model's own tensors would move along with
            the weights, and the penalty would stay 0.
        alpha: pull towards the source, ``>= 0``.
        beta: pull of the other parameters towards zero, ``>= 0``.

    Returns:
        Scalar tensor, ``>= 0``.

    Raises:
        ValueError: no parameters, not a mapping to float tensors, or a negative
            strength.
    """
    _check_params(params, source)
    if alpha < 0 or beta < 0:
        raise ValueError(f"alpha and beta must be >= 0, got {alpha!r} and {beta!r}.")
    parts = []
    for name, w in params.items():
        start = source.get(name)
        if start is not None and start.shape == w.shape:
            parts.append(alpha / 2 * (w - start.detach().to(w)).square().sum())
        else:
            parts.append(beta / 2 * w.square().sum())
    return torch.stack(parts).sum()


def ewc_penalty(
    params: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    fisher: Mapping[str, Tensor],
    strength: float = 1.0,
) -> Tensor:
    r"""Elastic weight consolidation (Kirkpatrick et al., 2017, eq. (3)).

    .. math:: \frac\lambda2 \sum_i F_i \, (w_i - w_i^0)^2

    i runs over the entries of all parameters that ``source`` and ``fisher`` have
    under the same name and with the same shape; the others, a new head above all,
    are free. F says how much the source task minds a change of each entry; with
    F = 1 everywhere this is the first half of :func:`l2_sp`. No gradient flows into
    ``source`` or ``fisher``. Chapter 04 derives it from Bayes' rule.

    Args:
        params: name to float tensor, ``dict(model.named_parameters())``.
        source: name to tensor: copies taken before training
            (``p.detach().clone()``).
        fisher: name to tensor, ``>= 0``, from ``tuning.fisher_diagonal`` on source
            data.
        strength: lambda, ``>= 0``.

    Returns:
        Scalar tensor, ``>= 0``.

    Raises:
        ValueError: no parameters, not a mapping to float tensors, no parameter that
            all three have, a negative or non-finite Fisher value or strength.
    """
    _check_params(params, source)
    if not isinstance(fisher, Mapping):
        raise ValueError("fisher must map names to tensors; see fisher_diagonal.")
    if not 0 <= strength < float("inf"):
        raise ValueError(f"strength must be >= 0 and finite, got {strength!r}.")
    parts = []
    for name, w in params.items():
        start, weight = source.get(name), fisher.get(name)
        if (
            start is None
            or weight is None
            or not start.shape == weight.shape == w.shape
        ):
            continue
        if not bool(((weight >= 0) & weight.isfinite()).all()):
            raise ValueError(
                f"fisher[{name!r}] must be >= 0 and finite everywhere: a mean of "
                "squared gradients."
            )
        gap = w - start.detach().to(w)
        parts.append((weight.detach().to(w) * gap.square()).sum())
    if not parts:
        raise ValueError(
            "no parameter has the same name and shape in params, source and fisher; "
            f"params begins with {next(iter(params))!r}, fisher with "
            f"{next(iter(fisher), None)!r}."
        )
    return strength / 2 * torch.stack(parts).sum()


def _check_params(params: object, source: object) -> None:
    if not isinstance(params, Mapping) or not isinstance(source, Mapping) or not params:
        raise ValueError(
            "params and source must map names to tensors and params must not be empty; "
            "pass dict(model.named_parameters())."
        )
    for name, w in params.items():
        if not isinstance(w, Tensor) or not w.is_floating_point():
            kind = w.dtype if isinstance(w, Tensor) else type(w).__name__
            raise ValueError(
                f"params[{name!r}] must be a float tensor, got {kind}; pass "
                "named_parameters(), not a state_dict with its counters."
            )


def feature_penalty(
    features: Tensor, source: Tensor, weights: Tensor | None = None
) -> Tensor:
    r"""Squared distance to the source model's feature maps (DELTA; Li et al., 2019).

    .. math:: \frac1n \sum_i \sum_j w_j \lVert F_{ij} - F_{ij}^0 \rVert_2^2

    F are the channels j of one layer, F⁰ the same layer of the source model on the
    same inputs. With equal weights this is DELTA without attention; in the paper the
    weight of a channel grows with the loss caused by switching it off.

    Args:
        features: ``(n, c)`` or ``(n, c, ...)`` float, of the model in training.
        source: the same shape, of the frozen source model; no gradient flows into it.
        weights: ``(c,)`` float, ``>= 0``; 1 / c each by default.

    Returns:
        Scalar tensor, ``>= 0``.

    Raises:
        ValueError: shapes do not fit, or a weight is negative.
    """
    if features.ndim < 2 or features.shape != source.shape or len(features) == 0:
        raise ValueError(
            "features and source must have one shape (n, c, ...) with n >= 1, got "
            f"{tuple(features.shape)} and {tuple(source.shape)}."
        )
    channels = features.shape[1]
    if weights is None:
        weights = features.new_full((channels,), 1 / channels)
    if weights.shape != (channels,) or bool((weights < 0).any()):
        raise ValueError(
            f"weights must be ({channels},) and >= 0, one per channel, got "
            f"{tuple(weights.shape)}."
        )
    gaps = (features - source.detach()).square()  # (n, c, ...)
    per_channel = gaps.reshape(len(gaps), channels, -1).sum(2)  # (n, c)
    return (per_channel @ weights).mean()
