"""Compare what a candidate did with what it should have done, and say why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from tlcourse.exercises.comparing import Difference, Step, alike, difference
from tlcourse.exercises.feedback import GroupResult, Report
from tlcourse.exercises.observing import Run, Seen, observe
from tlcourse.exercises.spec import Case, Exercise, Mutant


def judge(exercise: Exercise, candidate: Any, seed: int = 0) -> Report:
    """Judge ``candidate``: points per group of cases, and the likely mistake.

    Does not ask whether the candidate may call what it calls: the reference
    itself earns full marks. :func:`tlcourse.check` asks.

    Args:
        exercise: what was asked.
        candidate: the function or class that was written.
        seed: decides the cases; the same seed, the same cases.
    """
    cases = exercise.probe.make(seed)
    return verdict(exercise, observe(exercise.probe, candidate, cases), cases, seed)


def verdict(exercise: Exercise, run: Run, cases: Sequence[Case], seed: int) -> Report:
    """The report on a finished run; needs no access to the candidate."""
    if run.forbidden is not None:
        return Report.refused(exercise, run.forbidden)
    if run.out_of_time:
        case = cases[min(len(run.observations), len(cases) - 1)]
        return Report.late(exercise, case.about)
    if all(
        o.raised and o.raised.type == "NotImplementedError" for o in run.observations
    ):
        return Report.not_attempted(exercise)
    assess = _by_value if exercise.kind == "value" else _by_property
    return assess(exercise, run, cases, seed)


def _by_value(exercise: Exercise, run: Run, cases: Sequence[Case], seed: int) -> Report:
    reference = _expected(exercise, seed, None)
    tolerance = exercise.key.tolerance
    found = [
        difference(want, got, tolerance, i)
        for i, (want, got) in enumerate(
            zip(reference.observations, run.observations, strict=True)
        )
    ]
    errors_only = {i for i, o in enumerate(reference.observations) if o.raised}
    failed = {i for i, d in enumerate(found) if d is not None}
    groups, score = _credit(cases, failed, errors_only)
    report = Report.judged(exercise, groups, score, printed=run.printed)
    if not failed:
        return report
    mutant = _same_as_mutant(exercise, run, sorted(failed), seed)
    first = next(d for d in found if d is not None)
    if mutant is not None:
        report = report.diagnosed(mutant.name, mutant.message)
    return report.with_difference(
        first, cases[first.case], run.observations[first.case].raised
    )


def _by_property(
    exercise: Exercise, run: Run, cases: Sequence[Case], seed: int
) -> Report:
    broken = _broken(exercise, run, cases)
    groups, score = _credit(cases, {i for i, _ in broken}, set())
    report = Report.judged(exercise, groups, score, printed=run.printed)
    if not broken:
        return report
    first, name = broken[0]
    messages = {p.name: p.message for p in exercise.key.properties}
    raised = run.observations[first].raised
    step: Step = "raised" if raised else "changed" if name == "changed" else "value"
    gap = Difference(step, first, name, got=", ".join(run.observations[first].changed))
    report = report.with_difference(gap, cases[first], raised)
    if name in messages:
        report = report.saying(messages[name])
    mutant, exact = _broken_alike(exercise, broken, cases, seed)
    if mutant is None:
        return report
    return report.diagnosed(
        mutant.name, mutant.message if exact else f"Perhaps this: {mutant.message}"
    )


def _broken_alike(
    exercise: Exercise, broken: list[tuple[int, str]], cases: Sequence[Case], seed: int
) -> tuple[Mutant | None, bool]:
    """The mutant that breaks the same on the same cases, else the same somewhere.

    Draws differ from answer to answer, so the second match only suggests.
    """
    theirs = [
        _broken(exercise, _expected(exercise, seed, mutant.name), cases)
        for mutant in exercise.key.mutants
    ]
    pairs = list(zip(exercise.key.mutants, theirs, strict=True))
    for mutant, same in pairs:
        if same == broken:
            return mutant, True
    for mutant, similar in pairs:
        if _names(similar) == _names(broken):
            return mutant, False
    return None, False


def _names(broken: list[tuple[int, str]]) -> set[str]:
    return {name for _, name in broken}


def _broken(
    exercise: Exercise, run: Run, cases: Sequence[Case]
) -> list[tuple[int, str]]:
    """(case, property) for each property that does not hold, in order."""
    broken = []
    for i, (case, observed) in enumerate(zip(cases, run.observations, strict=True)):
        if observed.raised:
            broken.append((i, f"raised {observed.raised.type}"))
            continue
        if observed.changed:
            broken.append((i, "changed"))
        values = {name: _bare(seen) for name, seen in observed.values.items()}
        for prop in exercise.key.properties:
            if prop.group in (None, case.group) and not _holds(
                prop.holds, values, case
            ):
                broken.append((i, prop.name))
    return broken


def _holds(holds: Any, values: dict[str, Any], case: Case) -> bool:
    try:
        return bool(holds(values, case))
    except Exception:  # an observation of the wrong type or shape breaks it too
        return False


def _bare(seen: Seen) -> Any:
    return [_bare(part) for part in seen.value] if seen.type == "list" else seen.value


def _credit(
    cases: Sequence[Case], failed: set[int], errors_only: set[int]
) -> tuple[tuple[GroupResult, ...], float]:
    """Equal shares for the groups; raising errors well earns nothing by itself."""
    names = dict.fromkeys(case.group for case in cases)
    groups = []
    for name in names:
        members = {i for i, case in enumerate(cases) if case.group == name}
        groups.append((GroupResult(name, len(members - failed), len(members)), members))
    passed = [m for g, m in groups if g.passed]
    if all(members <= errors_only for members in passed):
        passed = []
    return tuple(g for g, _ in groups), len(passed) / len(groups)


@lru_cache(maxsize=512)
def _cached(exercise_id: str, seed: int, mutant: str | None) -> Run:
    from tlcourse.exercises.catalog import get

    return _run_key(get(exercise_id), seed, mutant)


def _run_key(exercise: Exercise, seed: int, mutant: str | None) -> Run:
    fn = exercise.key.reference
    if mutant is not None:
        fn = next(m.fn for m in exercise.key.mutants if m.name == mutant)
    # Ten times the learner's time: on a busy computer the key must still finish.
    limits = replace(exercise.probe.limits, seconds=10 * exercise.probe.limits.seconds)
    probe = replace(exercise.probe, limits=limits)
    return observe(probe, fn, probe.make(seed))


def _expected(exercise: Exercise, seed: int, mutant: str | None) -> Run:
    """What the reference (or a mutant) does on the cases of ``seed``; cached."""
    from tlcourse.exercises.catalog import is_listed

    run = _cached if is_listed(exercise) else None
    return run(exercise.id, seed, mutant) if run else _run_key(exercise, seed, mutant)


def _same_as_mutant(exercise: Exercise, run: Run, failed: list[int], seed: int) -> Any:
    """The mutant that did the same on all cases, else on the failed ones.

    The last try leaves out what should have been refused: an answer may make a
    mistake that has a name, and forget to refuse bad input besides.
    """
    reference = _expected(exercise, seed, None).observations
    silent = [i for i in failed if run.observations[i].raised is None]
    computed = [i for i in silent if reference[i].raised is None]
    for indices in (range(len(run.observations)), silent, computed):
        for mutant in exercise.key.mutants if indices else ():
            theirs = _expected(exercise, seed, mutant.name).observations
            if len(theirs) == len(run.observations) and all(
                alike(theirs[i], run.observations[i], exercise.key.tolerance)
                for i in indices
            ):
                return mutant
    return None
