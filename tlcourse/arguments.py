"""Checks of numbers that functions take; the error names the argument."""

from __future__ import annotations

import math
from numbers import Integral, Real


def whole(name: str, value: int, least: int, most: int | None = None) -> None:
    """Raise a ValueError unless ``value`` is a whole number in the range.

    Args:
        name: what the caller's argument is called.
        value: the number; neither a bool nor a float.
        least: smallest allowed value.
        most: largest allowed value; None for no limit.
    """
    good = isinstance(value, Integral) and not isinstance(value, bool)
    if not good or value < least or (most is not None and value > most):
        wanted = f">= {least}" if most is None else f"in {least}..{most}"
        raise ValueError(f"{name} must be a whole number {wanted}, got {value!r}.")


def positive(name: str, value: float, *, zero: bool = False) -> None:
    """Raise a ValueError unless ``value`` is a finite number > 0 (or >= 0)."""
    good = isinstance(value, Real) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(
            f"{name} must be a finite number {'>=' if zero else '>'} 0, got {value!r}."
        )


def fraction(name: str, value: float) -> None:
    """Raise a ValueError unless ``value`` is a number in [0, 1]."""
    good = isinstance(value, Real) and not isinstance(value, bool)
    if not good or not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value!r}.")
