"""Mixing the weights of models with one architecture: WiSE-FT and soups."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def wise_ft(source_state: State, tuned_state: State, alpha: float) -> dict[str, Tensor]:
    r"""Weights on the line between a source model and its fine-tuned self.

    WiSE-FT (Wortsman et al., 2022): :math:`(1 - \alpha)\, w^0 + \alpha\, w` for
    every float entry, BatchNorm's running statistics included. Whole-number and
    boolean entries (``num_batches_tracked``) have no in-between and are those of
    the tuned model.

    Args:
        source_state: ``state_dict()`` before fine-tuning; not changed.
        tuned_state: ``state_dict()`` after it, with the same names and shapes; both
            classify the same classes. Not changed.
        alpha: in [0, 1]; 0 gives the source weights exactly, 1 the tuned ones.

    Returns:
        A new state for ``model.load_state_dict``, sharing no memory with either.

    Raises:
        ValueError: names, shapes or dtypes differ, or ``alpha`` is out of range.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha!r}; try 0.5.")
    _check_states([source_state, tuned_state])
    return {
        name: _mix([source_state[name], tuned], [1 - alpha, alpha])
        if _is_mixed(tuned)
        else tuned.detach().clone()
        for name, tuned in tuned_state.items()
    }


def uniform_soup(states: Sequence[State]) -> dict[str, Tensor]:
    """The mean of several models' weights (Wortsman et al., 2022, model soups).

    Useful for models fine-tuned from **one** source: their weights lie in one
    valley. Whole-number and boolean entries are those of the last state.

    Args:
        states: at least one ``state_dict()``, all with the same names and shapes.

    Returns:
        A new state, sharing no memory with any of them.

    Raises:
        ValueError: no state, or names, shapes or dtypes differ.
    """
    states = list(states)
    _check_states(states)
    share = [1 / len(states)] * len(states)
    return {
        name: _mix([state[name] for state in states], share)
        if _is_mixed(last)
        else last.detach().clone()
        for name, last in states[-1].items()
    }


def greedy_soup(
    states: Sequence[State], score: Callable[[dict[str, Tensor]], float]
) -> tuple[dict[str, Tensor], list[int]]:
    """The soup that takes an ingredient only when it does no harm (their recipe 1).

    The states are tried from the best to the worst by their own score; one is kept
    when the mean with it scores at least as well as the mean without.

    Args:
        states: at least one ``state_dict()``, all with the same names and shapes.
        score: ``score(state)``, larger is better, measured on held-out validation
            data, never on the test set.

    Returns:
        The soup, and the indices of its ingredients in the order they were taken.

    Raises:
        ValueError: as :func:`uniform_soup`, or a score that is not a number.
    """
    states = list(states)
    _check_states(states)
    alone = [_number(score(uniform_soup([state]))) for state in states]
    order = sorted(range(len(states)), key=lambda i: -alone[i])
    taken, best = order[:1], alone[order[0]]
    for i in order[1:]:
        reached = _number(score(uniform_soup([states[j] for j in [*taken, i]])))
        if reached >= best:
            taken, best = [*taken, i], reached
    return uniform_soup([states[i] for i in taken]), taken


def _is_mixed(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _mix(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Weighted sum in float32 at least, rounded once; a share of 0 adds nothing."""
    dtype = tensors[0].dtype
    wide = torch.promote_types(dtype, torch.float32)
    parts = [
        share * tensor.detach().to(wide)
        for tensor, share in zip(tensors, shares, strict=True)
        if share
    ]
    return torch.stack(parts).sum(0).to(dtype)


def _number(score: float) -> float:
    value = float(score)
    if math.isnan(value):
        raise ValueError("score gave nan; it must be a number, larger is better.")
    return value


def _check_states(states: Sequence[State]) -> None:
    if not states or not all(isinstance(state, Mapping) and state for state in states):
        raise ValueError(
            "expected at least one state, each a mapping from names to tensors; pass "
            "model.state_dict()."
        )
    first = states[0]
    for state in states[1:]:
        odd = sorted(first.keys() ^ state.keys())
        if odd:
            raise ValueError(
                f"the states must have the same names; only one has {odd[0]!r}."
            )
        for name, tensor in state.items():
            mine = first[name].shape, first[name].dtype, first[name].device
            its = tensor.shape, tensor.dtype, tensor.device
            if mine != its:
                raise ValueError(
                    f"{name!r} must have one shape, dtype and device in all states, "
                    f"got {_describe(*mine)} and {_describe(*its)}; a head for other "
                    "classes cannot be mixed."
                )


def _describe(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> str:
    return f"{tuple(shape)} {str(dtype).removeprefix('torch.')} on {device}"
