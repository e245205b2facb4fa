"""Cases and runs as bounded JSON text, with arrays as raw bytes in base64.

Cases travel to where a learner's code runs; runs come back from there, perhaps
written by a hostile hand. Decoding evaluates nothing, accepts only what encoding
makes, and works out labels again, so that nothing but data is taken over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from tlcourse.exercises.observing import Observation, Raised, Run, Seen, plain
from tlcourse.exercises.packing import (
    MAX_CHARACTERS,
    Budget,
    WireError,
    a_list,
    a_shown_string,
    a_string,
    dump,
    load,
    pack,
    unpack,
)
from tlcourse.exercises.spec import Case

__all__ = [
    "MAX_CHARACTERS",
    "MISSING",
    "MISSING_MESSAGE",
    "WireError",
    "decode_cases",
    "decode_run",
    "encode_cases",
    "encode_run",
]

_MAX_NAME = 80  # characters of the name of a type, a value or a function
_MAX_LINE = 500  # of an error's message or source line
_MAX_PRINTED = 3_000
_OTHER = "an object of type "
_SIMPLE = {"float": float, "int": int, "bool": bool, "str": str, "none": type(None)}


MISSING_MESSAGE = "The name that is checked here does not exist."
# Probes note that an answer refuses bad input by catching what is an Exception; a
# name that does not exist refuses nothing.
_NameError = type("NameError", (BaseException,), {})


class _Missing:
    """Stands for an answer whose name does not exist; every use is a NameError."""

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise _NameError(MISSING_MESSAGE)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what Python itself asks of any object
            raise AttributeError(name)
        self()


MISSING = _Missing()


def encode_cases(cases: Sequence[Case]) -> str:
    """The cases as text.

    Raises:
        WireError: an input is not plain data, or the cases are too large.
    """
    budget = Budget()
    return dump([[c.group, c.about, pack(dict(c.inputs), budget)] for c in cases])


def decode_cases(text: str) -> list[Case]:
    """The cases that :func:`encode_cases` wrote.

    Raises:
        WireError: the text is anything else.
    """
    budget, cases = Budget(), []
    for node in a_list(load(text)):
        group, about, inputs = a_list(node, 3)
        given = unpack(inputs, budget)
        if type(given) is not dict or not all(type(name) is str for name in given):
            raise WireError("The inputs of a case must be values by name.")
        cases.append(Case(a_string(group), a_string(about), given))
    return cases


def encode_run(run: Run) -> str:
    """The run as text.

    An observation that is too large counts as an error of the candidate's, called
    ``TooLarge``, so that the others still count.
    """
    budget = Budget()
    observations = [_pack_observation(seen, budget) for seen in run.observations]
    forbidden = run.forbidden if run.forbidden is None else run.forbidden[:_MAX_NAME]
    return dump([observations, run.printed[:_MAX_PRINTED], forbidden, run.out_of_time])


def decode_run(text: str, cases: Sequence[Case]) -> Run:
    """The run that :func:`encode_run` wrote about these cases.

    Only a run that was stopped may hold fewer observations than there are cases.

    Raises:
        WireError: the text is anything else.
    """
    nodes, printed, forbidden, late = a_list(load(text), 4)
    if forbidden is not None:
        forbidden = a_shown_string(forbidden, _MAX_NAME)
    if type(late) is not bool:
        raise WireError("A run was out of time, or not.")
    missing = len(cases) - len(a_list(nodes))
    if missing < 0 or (missing and not late and forbidden is None):
        raise WireError(f"There are {len(nodes)} observations of {len(cases)} cases.")
    budget = Budget()
    observations = tuple(
        _unpack_observation(node, case, budget)
        for node, case in zip(nodes, cases, strict=False)
    )
    return Run(observations, a_shown_string(printed, _MAX_PRINTED), forbidden, late)


def _pack_observation(observation: Observation, budget: Budget) -> list[Any]:
    raised, before = observation.raised, (budget.items, budget.bytes)
    try:
        values = [
            [a_string(name, _MAX_NAME), _pack_seen(seen, budget, 0)]
            for name, seen in observation.values.items()
        ]
    except WireError as error:
        budget.items, budget.bytes = before
        raised = Raised("TooLarge", f"What your answer gives cannot be sent. {error}")
    if raised is None:
        return [values, None, list(observation.changed)]
    texts = raised.type[:_MAX_NAME], raised.message[:_MAX_LINE]
    return [[], [*texts, raised.line[:_MAX_LINE], raised.lineno], []]


def _unpack_observation(node: Any, case: Case, budget: Budget) -> Observation:
    values, raised, changed = a_list(node, 3)
    pairs = [a_list(pair, 2) for pair in a_list(values)]
    seen = {a_string(n, _MAX_NAME): _unpack_seen(v, budget, 0) for n, v in pairs}
    names = tuple(a_string(name) for name in a_list(changed))
    if len(seen) != len(pairs):
        raise WireError("Each observed value has a name of its own.")
    if len(set(names)) != len(names) or not set(names) <= set(case.inputs):
        raise WireError("Only inputs of the case can have been changed, each once.")
    if raised is None:
        return Observation(seen, changed=names)
    if seen or names:
        raise WireError("A case that raised an error has no values.")
    return Observation(raised=_unpack_raised(raised))


def _unpack_raised(node: Any) -> Raised:
    kind, message, line, lineno = a_list(node, 4)
    if type(lineno) is not int or not 0 <= lineno < 10**7:
        raise WireError("The number of a line is a whole number.")
    texts = (a_shown_string(text, _MAX_LINE) for text in (message, line))
    return Raised(a_shown_string(kind, _MAX_NAME), *texts, lineno)


def _pack_seen(seen: Seen, budget: Budget, depth: int) -> list[Any]:
    if seen.type in ("tensor", "array"):
        return [seen.type, seen.dtype, pack(seen.value, budget, depth)]
    if seen.type == "list":
        budget.take(depth)
        kind = seen.label.rpartition(" of ")[0][:_MAX_NAME]
        return [
            "list",
            kind,
            [_pack_seen(part, budget, depth + 1) for part in seen.value],
        ]
    if seen.type == "other":
        budget.take(depth)
        return ["other", seen.label.removeprefix(_OTHER)[:_MAX_NAME], None]
    return [seen.type, None, pack(seen.value, budget, depth)]


def _unpack_seen(node: Any, budget: Budget, depth: int) -> Seen:
    kind, about, content = a_list(node, 3)
    if kind == "list":
        budget.take(depth)
        parts = tuple(_unpack_seen(p, budget, depth + 1) for p in a_list(content))
        name = a_shown_string(about, _MAX_NAME)
        return Seen("list", parts, label=f"{name} of {len(parts)}")
    if kind == "other" and content is None:
        budget.take(depth)
        return Seen("other", None, label=_OTHER + a_shown_string(about, _MAX_NAME))
    value = unpack(content, budget, depth)
    if kind in ("tensor", "array") and type(value) is np.ndarray:
        seen = plain(_tensor(value, about) if kind == "tensor" else value)
        if seen.dtype == about:
            return seen
    elif about is None and type(kind) is str and type(value) is _SIMPLE.get(kind):
        return plain(value)
    raise WireError("An observed value is not of the type that it says it is.")


def _tensor(array: np.ndarray, dtype: Any) -> torch.Tensor:
    try:
        tensor = torch.from_numpy(array)
    except TypeError:
        raise WireError(f"There are no tensors of {array.dtype}.") from None
    return tensor.bfloat16() if dtype == "bfloat16" else tensor
