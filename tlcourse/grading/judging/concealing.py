"""Take out of a run what could carry hidden cases to the learner.

The learner's code saw the cases. Whatever text it makes could repeat them: what it
prints, an error's message, the name of a type. Numbers that came out are shown, as few
as a difference needs.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from tlcourse.exercises.observing import Raised, Run, Seen

_TOO_LARGE = "TooLarge"  # see wire.encode_run
_LONG = 10**9
_NO_TEXT = "(not shown: it could hold a hidden case)"
# Messages of Python's own that hold nothing but names, if those are the learner's.
_ONLY_NAMES = re.compile(
    r"name '(\w+)' is not defined"
    r"|cannot access \w+ variable '(\w+)' where it is not associated with a value"
    r"|'\w{,40}' object has no attribute '(\w+)'"
)


def without_cases(run: Run, sources: str, forbid: Sequence[str]) -> Run:
    """The run without any text of the learner's making.

    Args:
        run: as it came back.
        sources: all of the learner's code; only lines of it are quoted.
        forbid: names that the probe forbids; only they are said.
    """
    lines = {line.strip() for line in sources.splitlines()}
    observations = tuple(
        replace(
            seen,
            values={name: _unquoted(value) for name, value in seen.values.items()},
            raised=seen.raised and _plain_error(seen.raised, lines),
        )
        for seen in run.observations
    )
    forbidden = run.forbidden
    if forbidden is not None and forbidden not in forbid:
        forbidden = "what it must not call"
    return replace(run, observations=observations, printed="", forbidden=forbidden)


def _plain_error(raised: Raised, lines: set[str]) -> Raised:
    if raised.type == _TOO_LARGE:
        return Raised(_TOO_LARGE, "what your answer gives cannot be sent")
    known = raised.line in lines
    return Raised(
        raised.type if raised.type in _known_errors() else "Exception",
        raised.message if _is_harmless(raised.message, lines) else _NO_TEXT,
        raised.line if known else "",
        raised.lineno if known else 0,
    )


def _is_harmless(message: str, lines: set[str]) -> bool:
    """Whether an error only says a name, and that is one the learner wrote."""
    found = _ONLY_NAMES.fullmatch(message)
    name = found and next(filter(None, found.groups()))
    return bool(name) and any(re.search(rf"\b{name}\b", line) for line in lines)


@lru_cache(maxsize=1)
def _known_errors() -> frozenset[str]:
    """Names of the errors that Python and the libraries loaded here have."""
    found, todo = set(dir(builtins)), [BaseException]
    while todo:
        kind = todo.pop()
        found.add(kind.__name__)
        todo += type.__subclasses__(kind)
    return frozenset(found)


def _unquoted(seen: Seen) -> Seen:
    """The same value; what is said of a text is only that it is one."""
    if seen.type == "list":
        label = f"a list of {len(seen.value)}"
        return replace(seen, value=tuple(map(_unquoted, seen.value)), label=label)
    if seen.type == "int" and abs(seen.value) >= _LONG:  # its digits could be a text
        return replace(seen, label="a large whole number")
    labels: Mapping[str, str] = {"str": "a text", "other": "another kind of object"}
    return replace(seen, label=labels.get(seen.type, seen.label))
