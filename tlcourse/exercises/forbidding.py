"""Notice when a candidate calls what it was asked to write itself."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

_KEYS = "tlcourse.exercises.keys"


class ForbiddenCall(BaseException):
    """A forbidden function was called. Not an Exception: it must not be caught."""

    def __init__(self, name: str) -> None:
        """Keep the name that was called."""
        super().__init__(name)
        self.name = name


@contextlib.contextmanager
def watch(names: Sequence[str]) -> Iterator[None]:
    """Raise :class:`ForbiddenCall` when one of ``names``, or any key, is called.

    Python functions are recognised by their code, built-in ones by identity or,
    for methods of a class, by owner and name. A class stands for all its methods.

    Raises:
        ValueError: a name does not exist.
    """
    # A package that nobody has imported yet is not imported for this: it may take
    # seconds. Its functions are recognised by their qualified names instead.
    loaded = tuple(n for n in names if n.split(".")[0] in sys.modules)
    unloaded = [n.split(".") for n in names if n not in loaded]
    codes, builtins, methods = _resolve(loaded)
    raised: list[str] = []

    def notice(frame: FrameType, event: str, arg: Any) -> None:
        name = None
        if event == "call":
            name = codes.get(frame.f_code)
            if name is None and frame.f_globals.get("__name__", "").startswith(_KEYS):
                name = "the course's own solution"
            elif name is None and unloaded:
                name = _name_in_package(frame, unloaded)
        elif event == "c_call":
            name = _builtin_name(arg, builtins, methods)
        if name is not None:
            raised.append(name)
            raise ForbiddenCall(name)

    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        yield
    finally:
        sys.setprofile(before)
    if raised:  # it was swallowed by a bare except: report it all the same
        raise ForbiddenCall(raised[0])


def _name_in_package(frame: FrameType, names: Sequence[list[str]]) -> str | None:
    """The forbidden name whose package and qualified name a running frame has."""
    package = frame.f_globals.get("__name__", "").split(".")[0]
    qualified = frame.f_code.co_qualname.split(".")
    found = (n for n in names if n[0] == package and n[-1] in qualified[-2:])
    return next((".".join(n) for n in found), None)


def _builtin_name(
    arg: Any, builtins: dict[int, str], methods: dict[tuple[type, str], str]
) -> str | None:
    name = builtins.get(id(arg))
    owner = getattr(arg, "__self__", None)
    if name is None and methods and owner is not None:
        called = getattr(arg, "__name__", "")
        bases = type(owner).__mro__  # a Parameter is a Tensor, too
        return next((methods[b, called] for b in bases if (b, called) in methods), None)
    return name


@lru_cache(maxsize=256)
def _resolve(
    names: tuple[str, ...],
) -> tuple[dict[CodeType, str], dict[int, str], dict[tuple[type, str], str]]:
    codes: dict[CodeType, str] = {}
    builtins: dict[int, str] = {}
    methods: dict[tuple[type, str], str] = {}
    for name in names:
        owner, thing = _find(name)
        if isinstance(thing, type):
            functions = [v for v in vars(thing).values() if hasattr(v, "__code__")]
        else:
            functions = [thing]
        for function in functions:
            # A context manager's own wrapper has the code of all context managers.
            code = getattr(inspect.unwrap(function), "__code__", None)
            if code is not None:
                codes[code] = name
            elif isinstance(owner, type):
                methods[(owner, function.__name__)] = name
            else:
                builtins[id(function)] = name
    return codes, builtins, methods


def _find(name: str) -> tuple[Any, Callable[..., Any]]:
    """The object behind a dotted name, and what it was found in."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            owner: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:-1]:
            owner = getattr(owner, part, None)
        thing = getattr(owner, parts[-1], None)
        if thing is not None:
            return owner, thing
    raise ValueError(f"forbidden name {name!r} does not exist; check its spelling.")
