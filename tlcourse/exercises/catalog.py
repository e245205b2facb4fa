"""Find exercises by id: probes and keys of the same name, chapter by chapter."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

from tlcourse.exercises import keys, probes
from tlcourse.exercises.spec import Exercise, Key, Probe


class UnknownExercise(LookupError):
    """No exercise has this id; the message names the nearest ones."""


def chapters() -> tuple[str, ...]:
    """Slugs of the chapters that have exercises, in the course's order."""
    from tlcourse.course import chapter_order

    order = {slug: i for i, slug in enumerate(chapter_order())}
    found = (module.name for module in pkgutil.iter_modules(probes.__path__))
    slugs = (name for name in found if not name.startswith("_"))  # _helpers aside
    return tuple(sorted(slugs, key=lambda slug: (order.get(slug, len(order)), slug)))


@lru_cache(maxsize=64)
def _of_chapter(slug: str) -> dict[str, Exercise]:
    """The exercises of one chapter; the others are not imported."""
    if slug not in chapters():
        return {}
    their_keys = dict(_named(keys, slug, Key))
    found = {}
    for name, probe in _named(probes, slug, Probe):
        if probe.id != f"{slug}.{name}" or name not in their_keys:
            raise TypeError(
                f"{probe.id}: the probe must stand in probes/{slug} and its key in "
                f"keys/{slug}, both under the name {name!r}."
            )
        found[probe.id] = Exercise(probe, their_keys[name])
    return found


def _named(half: ModuleType, slug: str, kind: type) -> Iterator[tuple[str, Any]]:
    """Probes or keys of one chapter by name, from its module or all of its package."""
    top = importlib.import_module(f"{half.__name__}.{slug}")
    inside = pkgutil.iter_modules(getattr(top, "__path__", ()), f"{top.__name__}.")
    for module in (top, *(importlib.import_module(info.name) for info in inside)):
        yield from ((k, v) for k, v in vars(module).items() if isinstance(v, kind))


def all_exercises() -> Iterator[Exercise]:
    """Every exercise, chapter by chapter."""
    for slug in chapters():
        yield from _of_chapter(slug).values()


def is_listed(exercise: Exercise) -> bool:
    """Whether this very exercise is in the catalogue."""
    slug = exercise.id.split(".")[0]
    return _of_chapter(slug).get(exercise.id) is exercise


def get(exercise_id: str) -> Exercise:
    """One exercise by its id, for example ``"losses.cross_entropy"``.

    Raises:
        UnknownExercise: no such id; names the nearest ids.
    """
    slug = str(exercise_id).split(".")[0]
    found = _of_chapter(slug).get(exercise_id)
    if found is not None:
        return found
    known = [exercise.id for exercise in all_exercises()]
    near = difflib.get_close_matches(str(exercise_id), known, n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise UnknownExercise(
        f"There is no exercise {exercise_id!r}.{meant} "
        "`tlcourse progress` lists all of them."
    )
