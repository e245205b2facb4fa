"""Notice when a candidate calls what it was asked to write itself."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from tlcourse.exercises.escaping import ESCAPES, takes_way_out, ways_out

if TYPE_CHECKING:
    from tlcourse.exercises.spec import Probe

_KEYS = "tlcourse.exercises.keys"


class ForbiddenCall(BaseException):
    """A forbidden function was called. Not an Exception: it must not be caught."""

    def __init__(self, name: str) -> None:
        """Keep the name that was called."""
        super().__init__(name)
        self.name = name


@contextlib.contextmanager
def watch(names: Sequence[str]) -> Iterator[Callable[[bool], None]]:
    """Raise :class:`ForbiddenCall` when one of ``names``, or any key, is called.

    Python functions are recognised by their code, built-in ones by identity or,
    for methods of a class, by owner and name. A class stands for all its methods.
    What would end the watch is refused, too: see :mod:`tlcourse.exercises.escaping`.
    Threads are watched as well; a forked process ends at what is forbidden.

    Yields a function to call after each case, with whether the case gave values: an
    endless recursion ends the watch, and it goes on with the next case. One that
    gave values unwatched is refused.

    Raises:
        ValueError: a name does not exist.
    """
    # A package that nobody has imported yet is not imported for this: it may take
    # seconds. Its functions are recognised by their qualified names instead.
    loaded = tuple(n for n in names if n.split(".")[0] in sys.modules)
    unloaded = [n.split(".") for n in names if n not in loaded]
    known = _resolve(loaded)
    raised: list[str] = []
    home = os.getpid()

    def refuse(name: str) -> NoReturn:
        if os.getpid() != home:  # an answer forked: nobody would hear of it
            os._exit(70)
        raised.append(name)
        raise ForbiddenCall(name)

    def notice(frame: FrameType, event: str, arg: Any) -> None:
        name, caller = None, frame
        if event == "call":
            name, caller = known.codes.get(id(frame.f_code)), frame.f_back
            if name is None:
                name = _by_module(frame, unloaded)
        elif event == "c_call":
            name = known.builtins.get(id(arg)) or _by_owner(arg, known.methods)
        if name is not None and (name not in ESCAPES or takes_way_out(name, caller)):
            refuse(name)

    def go_on(gave_values: bool) -> None:
        if raised:  # it was swallowed by a bare except: report it all the same
            raise ForbiddenCall(raised[0])
        if sys.getprofile() is not notice:
            if gave_values:
                refuse("sys.setprofile")
            sys.setprofile(notice)

    before, of_threads = sys.getprofile(), threading.getprofile()
    # A lambda, so that nobody gets hold of what the last check expects.
    threading.setprofile(lambda *happening: notice(*happening))
    sys.setprofile(notice)
    try:
        with _watching_torch(known.torch, refuse):
            yield go_on
    finally:
        ended = sys.getprofile() is not notice
        sys.setprofile(before)
        threading.setprofile(of_threads)
    if raised:
        raise ForbiddenCall(raised[0])
    if ended:
        raise ForbiddenCall("sys.setprofile")


def blames_another(probe: Probe, name: str | None) -> bool:
    """Whether a run was refused for what only another exercise forbids.

    That happens in a sandbox only: there the package lacks what any exercise of the
    assignment forbids.
    """
    return bool(name) and name.startswith("tlcourse.") and name not in probe.forbid


@contextlib.contextmanager
def _watching_torch(
    names: Mapping[int, str], refuse: Callable[[str], NoReturn]
) -> Iterator[None]:
    """See torch's built-in functions also where C code calls them, as ``map`` does."""
    if not names:
        yield
        return
    from torch.overrides import TorchFunctionMode

    class Notice(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if id(func) in names:
                refuse(names[id(func)])
            return func(*args, **(kwargs or {}))

    with Notice():
        yield


# While a profile function runs, nothing is watched. So what follows touches nothing
# that may run an answer's code: no hash or comparison of its objects, no attribute of
# its classes, no method of its dictionaries.


def _by_module(frame: FrameType, names: Sequence[list[str]]) -> str | None:
    """The name for a running frame by its module: a key's, or a late import's."""
    module = dict.get(frame.f_globals, "__name__")
    if type(module) is not str:
        return None
    if module.startswith(_KEYS):
        return "the course's own solution"
    if not names:
        return None
    package = module.split(".")[0]
    qualified = frame.f_code.co_qualname.split(".")
    found = (n for n in names if n[0] == package and n[-1] in qualified[-2:])
    return next((".".join(n) for n in found), None)


def _by_owner(arg: Any, methods: Mapping[tuple[int, str], str]) -> str | None:
    if not methods:
        return None
    owner, called = getattr(arg, "__self__", None), getattr(arg, "__name__", "")
    bases = _mro_of(type(owner))  # a Parameter is a Tensor, too
    return next(
        (methods[id(b), called] for b in bases if (id(b), called) in methods), None
    )


_mro_of = type.__dict__["__mro__"].__get__


@dataclass(frozen=True)
class _Known:
    """Forbidden names by what recognises them."""

    codes: Mapping[int, str]  # by identity of the code
    builtins: Mapping[int, str]  # by identity of the function
    methods: Mapping[tuple[int, str], str]  # by identity of the class, and name
    torch: Mapping[int, str]  # by identity of torch's function or method
    alive: tuple[Any, ...]  # an identity is only good while its object lives


@lru_cache(maxsize=256)
def _resolve(names: tuple[str, ...]) -> _Known:
    codes, builtins = map(dict, ways_out())
    methods: dict[tuple[int, str], str] = {}
    torch: dict[int, str] = {}
    alive: list[Any] = []
    for name in names:
        owner, thing = _find(name)
        functions = [thing]
        if isinstance(thing, type):
            functions = [v for v in vars(thing).values() if hasattr(v, "__code__")]
        for function in functions:
            # A context manager's own wrapper has the code of all context managers.
            code = getattr(inspect.unwrap(function), "__code__", None)
            alive += [owner, function, code]
            if code is not None:
                codes[id(code)] = name
                continue
            if isinstance(owner, type):
                methods[id(owner), function.__name__] = name
            else:
                builtins[id(function)] = name
            if name.startswith("torch."):
                torch[id(function)] = name
    return _Known(codes, builtins, methods, torch, tuple(alive))


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
