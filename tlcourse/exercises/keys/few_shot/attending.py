"""Matching attention: what is right, and the usual mistakes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse import meta
from tlcourse.exercises.spec import Key, Mutant


def _refuse(q: Tensor, s: Tensor, temperature: float) -> None:
    meta.matching_attention(q, s, temperature)  # for its errors


def _cosine(q: Tensor, s: Tensor) -> Tensor:
    return F.normalize(q, dim=1) @ F.normalize(s, dim=1).T


def _over_queries(q: Tensor, s: Tensor, temperature: float = 1.0) -> Tensor:
    _refuse(q, s, temperature)
    return (_cosine(q, s) / temperature).softmax(0)


def _dot_product(q: Tensor, s: Tensor, temperature: float = 1.0) -> Tensor:
    _refuse(q, s, temperature)
    return (q @ s.T / temperature).softmax(1)


def _distance(q: Tensor, s: Tensor, temperature: float = 1.0) -> Tensor:
    _refuse(q, s, temperature)
    return (meta.proto_logits(q, s) / temperature).softmax(1)


def _multiplied(q: Tensor, s: Tensor, temperature: float = 1.0) -> Tensor:
    _refuse(q, s, temperature)
    return (_cosine(q, s) * temperature).softmax(1)


def _ignored(q: Tensor, s: Tensor, temperature: float = 1.0) -> Tensor:
    _refuse(q, s, temperature)
    return _cosine(q, s).softmax(1)


def _overflows(q: Tensor, s: Tensor, temperature: float = 1.0) -> Tensor:
    _refuse(q, s, temperature)
    raised = (_cosine(q, s) / temperature).exp()
    return raised / raised.sum(1, keepdim=True)


def _no_softmax(q: Tensor, s: Tensor, temperature: float = 1.0) -> Tensor:
    _refuse(q, s, temperature)
    return _cosine(q, s) / temperature


def _by_columns(q: Tensor, s: Tensor, temperature: float = 1.0) -> Tensor:
    _refuse(q, s, temperature)
    return (F.normalize(q, dim=0) @ F.normalize(s, dim=0).T / temperature).softmax(1)


def _detached(q: Tensor, s: Tensor, temperature: float = 1.0) -> Tensor:
    return meta.matching_attention(q, s.detach(), temperature)


def _no_refusal(q: Tensor, s: Tensor, temperature: float = 1.0) -> Tensor:
    unit = [z / torch.linalg.vector_norm(z, dim=1, keepdim=True) for z in (q, s)]
    return (unit[0] @ unit[1].T / temperature).softmax(1)


matching_attention = Key(
    reference=meta.matching_attention,
    mutants=(
        Mutant(
            "softmax_over_queries",
            _over_queries,
            "The softmax runs over the queries: what a query gets depends on the other "
            "queries. Each row, one query's weights, must sum to 1.",
        ),
        Mutant(
            "dot_product",
            _dot_product,
            "This is the dot product. A long feature vector gets more attention for "
            "its length alone; divide both by their lengths first.",
        ),
        Mutant(
            "distance",
            _distance,
            "This is the kernel of a prototypical network, minus the squared distance. "
            "Asked for is the cosine of the angle.",
        ),
        Mutant(
            "temperature_multiplied",
            _multiplied,
            "You multiply by the temperature. A small temperature must sharpen the "
            "attention: divide by it.",
        ),
        Mutant(
            "temperature_ignored",
            _ignored,
            "The temperature is not used. Divide the cosines by it before the softmax.",
        ),
        Mutant(
            "overflows",
            _overflows,
            "exp overflows at a small temperature: inf / inf is nan. Use softmax, "
            "which subtracts the largest number of each row first.",
        ),
        Mutant(
            "no_softmax",
            _no_softmax,
            "These are similarities, which may be negative. Take the softmax of each "
            "row to make them weights.",
        ),
        Mutant(
            "columns_scaled",
            _by_columns,
            "You scale every feature over the samples (dim=0). A cosine scales every "
            "sample over its features (dim=1).",
        ),
        Mutant(
            "support_detached",
            _detached,
            "No gradient reaches the support features. The same network embeds queries "
            "and support, and learns from both.",
        ),
        Mutant(
            "bad_input_accepted",
            _no_refusal,
            "A temperature of 0 or a vector of zeros gives nan, a temperature below 0 "
            "turns the order round. Raise a ValueError.",
        ),
    ),
)
