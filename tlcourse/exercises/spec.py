"""What an exercise is: a probe that runs beside the learner's code, and a key.

The probe makes cases and observes a candidate on them; it may travel to wherever
untrusted code runs. The key holds what must stay behind: the reference, the
tolerance, and the wrong solutions (mutants) that the checks can name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["value", "property", "program"]
Observe = Callable[[Any, "Case"], Mapping[str, Any]]

_ID = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
_LEVELS = ("easy", "medium", "hard")
NUM_HINTS = 3


@dataclass(frozen=True)
class Case:
    """One question put to a candidate.

    Args:
        group: partial credit is given per group; all its cases must pass.
        about: a few words a learner understands ("logits of size 1,000").
        inputs: plain numbers, strings and NumPy arrays by name.
    """

    group: str
    about: str
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """What one check may use.

    Args:
        seconds: wall time for all cases together, a library's first import included.
        items: how many items are taken from an iterator a candidate returns.
    """

    seconds: float = 10.0
    items: int = 10_000


@dataclass(frozen=True)
class Probe:
    """The half of an exercise that runs where the learner's code runs.

    Args:
        id: ``slug.function``; the slug is the chapter's name without its number.
        title: one line.
        points: full marks, a positive whole number.
        minutes: how long a learner is expected to take.
        level: ``easy``, ``medium`` or ``hard``.
        hints: three: a question, the formula, almost the code.
        make: ``make(seed)`` gives the cases; the same seed, the same cases.
        observe: ``observe(candidate, case)`` gives named observations: tensors,
            arrays, numbers, strings. It may raise what the candidate raises.
        forbid: dotted names a candidate must not call ("torch.nn.functional.x").
        kind: ``value`` compares observations with the reference's; ``property``
            and ``program`` hold them against the key's properties.
        limits: see :class:`Limits`.
        forgeable: an answer could fake what is observed; guides must say so.
    """

    id: str
    title: str
    points: int
    minutes: int
    level: Literal["easy", "medium", "hard"]
    hints: tuple[str, str, str]
    make: Callable[[int], list[Case]]
    observe: Observe
    forbid: tuple[str, ...] = ()
    kind: Kind = "value"
    limits: Limits = Limits()
    forgeable: bool = False

    def __post_init__(self) -> None:
        """Check what the fields say."""
        problems = {
            "id must look like 'slug.function'": not _ID.fullmatch(self.id),
            "points must be a positive whole number": not self.points >= 1,
            f"level must be one of {_LEVELS}": self.level not in _LEVELS,
            f"there must be {NUM_HINTS} hints": len(self.hints) != NUM_HINTS,
        }
        for rule, broken in problems.items():
            if broken:
                raise ValueError(f"exercise {self.id!r}: {rule}.")


@dataclass(frozen=True)
class Tolerance:
    """How far a right answer may lie from the reference: |a - b| <= atol + rtol |b|."""

    rtol: float = 1e-4
    atol: float = 1e-6


@dataclass(frozen=True)
class Property:
    """Something every right answer satisfies on every case, whatever it draws.

    Args:
        name: short name, unique in its exercise.
        holds: ``holds(observations, case)``; observations are plain arrays and
            numbers. False alarms must be rarer than 1e-6.
        message: what to tell a learner whose answer breaks it.
        group: the case group it is about; ``None`` for all.
    """

    name: str
    holds: Callable[[Mapping[str, Any], Case], bool]
    message: str
    group: str | None = None


@dataclass(frozen=True)
class Mutant:
    """A named wrong solution, and the sentence that helps whoever wrote it."""

    name: str
    fn: Any
    message: str


@dataclass(frozen=True)
class Key:
    """The half of an exercise that must not reach the learner's process.

    Args:
        reference: a right answer; usually the package's own function.
        mutants: at least four wrong ones.
        tolerance: for ``value`` exercises.
        properties: for ``property`` and ``program`` exercises.
    """

    reference: Any
    mutants: tuple[Mutant, ...]
    tolerance: Tolerance = Tolerance()
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True)
class Exercise:
    """A probe and its key. Fields of the probe can be read here directly."""

    probe: Probe
    key: Key

    @property
    def id(self) -> str:
        """``slug.function``."""
        return self.probe.id

    @property
    def points(self) -> int:
        """Full marks."""
        return self.probe.points

    @property
    def kind(self) -> Kind:
        """``value``, ``property`` or ``program``."""
        return self.probe.kind

    @property
    def hints(self) -> tuple[str, str, str]:
        """A question, the formula, almost the code."""
        return self.probe.hints
