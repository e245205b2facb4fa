"""Find exercises by id: probes and keys of the same name, chapter by chapter.

Keys are imported only when one is asked for: where a learner's code is graded, they
are absent.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

from tlcourse.exercises import probes
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


def has_keys() -> bool:
    """Whether answers can be judged here; in the view of a sandbox they cannot."""
    return importlib.util.find_spec("tlcourse.exercises.keys") is not None


@lru_cache(maxsize=64)
def _probes_of(slug: str) -> dict[str, Probe]:
    """The probes of one chapter by id; the other chapters are not imported."""
    if slug not in chapters():
        return {}
    found = {}
    for name, probe in _named(probes, slug, Probe):
        if probe.id != f"{slug}.{name}":
            raise TypeError(
                f"{probe.id}: it must stand in probes/{slug}, under the name after the "
                f"dot; it is called {name!r}."
            )
        found[probe.id] = probe
    return found


@lru_cache(maxsize=64)
def _of_chapter(slug: str) -> dict[str, Exercise]:
    """The exercises of one chapter; the others are not imported."""
    if not _probes_of(slug):
        return {}
    from tlcourse.exercises import keys

    their_keys = dict(_named(keys, slug, Key))
    found = {}
    for probe in _probes_of(slug).values():
        name = probe.id.split(".")[1]
        if name not in their_keys:
            raise TypeError(f"{probe.id}: its key {name!r} must stand in keys/{slug}.")
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


def all_probes() -> Iterator[Probe]:
    """Every probe, chapter by chapter; works without keys."""
    for slug in chapters():
        yield from _probes_of(slug).values()


def get(exercise_id: str) -> Exercise:
    """One exercise by its id, for example ``"losses.cross_entropy"``.

    Raises:
        UnknownExercise: no such id; names the nearest ids.
    """
    probe = get_probe(exercise_id)
    return _of_chapter(probe.id.split(".")[0])[probe.id]


def get_probe(exercise_id: str) -> Probe:
    """The half of an exercise that knows no answer; works without keys.

    Raises:
        UnknownExercise: no such id; names the nearest ids.
    """
    slug = str(exercise_id).split(".")[0]
    found = _probes_of(slug).get(exercise_id)
    if found is not None:
        return found
    known = [probe.id for probe in all_probes()]
    near = difflib.get_close_matches(str(exercise_id), known, n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise UnknownExercise(
        f"There is no exercise {exercise_id!r}.{meant} "
        "`tlcourse progress` lists all of them."
    )
