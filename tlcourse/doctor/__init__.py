"""Is everything here that the course needs? One small check for each thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tlcourse.doctor import contents, packages, surroundings
from tlcourse.doctor.finding import INSTALL, Finding, short

__all__ = ["ESSENTIAL", "Finding", "THOROUGH", "examine"]

Check = Callable[[], Iterable[Finding]]

# What takes no time: no torch, no nbgrader, no data.
ESSENTIAL: tuple[Check, ...] = (
    packages.python,
    packages.installed,
    surroundings.kernel,
    surroundings.disk,
)
THOROUGH: tuple[Check, ...] = (
    packages.imports,
    packages.matching_builds,
    surroundings.hardware,
    surroundings.grader,
    surroundings.progress_kept,
    contents.data_families,
    contents.pretrained,
)


def examine(checks: Iterable[Check] = ESSENTIAL + THOROUGH) -> Iterator[Finding]:
    """All findings, one after the other; a check that breaks is a finding too."""
    for check in checks:
        try:
            yield from check()
        except Exception as error:
            yield Finding("FAIL", f"{check.__name__}: {short(error)}", INSTALL)
