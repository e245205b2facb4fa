"""Transfer learning, taught with code that runs: the helper package of the course.

What a notebook needs stands here and loads on first use, so that
``import tlcourse`` is fast: no numpy, torch or matplotlib until something needs it.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Budget": "tlcourse.runtime",
    "device": "tlcourse.runtime",
    "seed_everything": "tlcourse.runtime",
    "check": "tlcourse.exercises",
    "hint": "tlcourse.exercises",
    "progress": "tlcourse.exercises",
}
_MODULES = (
    "adapt",
    "data",
    "exercises",
    "features",
    "language",
    "losses",
    "meta",
    "metrics",
    "models",
    "plots",
    "pretraining",
    "shift",
    "taxonomy",
    "training",
    "transferability",
    "tuning",
)

__all__ = sorted([*_HOMES, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"tlcourse.{name}")
    raise AttributeError(f"module 'tlcourse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
