"""The methods, one file each: a file that is added here is in the table at once.

A method is one subclass of :class:`tlcourse.adapt.method.Method`; the file's name is
its name. Files that start with an underscore are left out.
"""

from __future__ import annotations

import importlib
import pkgutil

from tlcourse.adapt.method import Method

_FIRST = ("source_only",)  # the baseline leads the table


def found() -> dict[str, type[Method]]:
    """Every method in this folder by name, the baseline first.

    Raises:
        TypeError: a file that does not define exactly one method.
    """
    names = [info.name for info in pkgutil.iter_modules(__path__)]
    names = [name for name in names if not name.startswith("_")]
    names.sort(key=lambda name: (name not in _FIRST, name))
    return {name: _only_method(name) for name in names}


def _only_method(name: str) -> type[Method]:
    module = importlib.import_module(f"{__name__}.{name}")
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Method)
        and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise TypeError(
            f"adapt/methods/{name}.py must define exactly one method, found {len(own)}."
        )
    return own[0]
