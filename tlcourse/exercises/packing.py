"""Plain values as JSON nodes and back, within bounds; evaluates nothing.

JSON's own null, booleans, whole numbers and strings stand for themselves; whatever
else there is, is a list whose first item says what it is. JSON's objects and its
numbers with a point do not occur.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable
from math import prod
from typing import Any, NoReturn

import numpy as np

MAX_CHARACTERS = 2**25  # of a text; it is ASCII, so bytes are characters
MAX_DEPTH = 32
MAX_ITEMS = 100_000  # values of all kinds, together
MAX_BYTES = 2**24  # of arrays, strings and long numbers, together
MAX_STRING = 100_000
_MAX_MARKS = 2_500_000  # commas and brackets: what parsing makes objects of
_MAX_BITS = 14_000  # of a whole number; Python prints no more than 4,300 digits
_ESCAPED = 12  # characters that JSON may need for one of a string

# Both byte orders, under NumPy's own names: "float32", ">f4".
_DTYPES = {
    str(dtype): dtype
    for code in "?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"]
    for dtype in (np.dtype(code), np.dtype(code).newbyteorder())
}
_UNSHOWABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class WireError(ValueError):
    """A text is not what encoding makes, or a value cannot be encoded."""


class Budget:
    """What one text may still hold."""

    def __init__(self) -> None:
        """Start with all of it."""
        self.items, self.bytes = MAX_ITEMS, MAX_BYTES

    def take(self, depth: int, size: int = 0) -> None:
        """Count one value of ``size`` bytes.

        Raises:
            WireError: that is too much.
        """
        self.items -= 1
        self.bytes -= size
        if depth > MAX_DEPTH:
            raise WireError(f"It is nested deeper than {MAX_DEPTH} levels.")
        if self.items < 0:
            raise WireError(f"It holds more than {MAX_ITEMS:,} values.")
        if self.bytes < 0:
            raise WireError(f"It holds more than {MAX_BYTES:,} bytes.")


def dump(node: Any) -> str:
    """A node as JSON text.

    Raises:
        WireError: the text would be too long to be read again.
    """
    return _bounded(json.dumps(node, separators=(",", ":"), allow_nan=False))


def load(text: str) -> Any:
    """The node that :func:`dump` wrote.

    Raises:
        WireError: the text is too long, not JSON, or holds objects or floats.
    """
    try:
        return json.loads(
            _bounded(text),
            parse_float=_refuse,
            parse_constant=_refuse,
            object_pairs_hook=_refuse,
        )
    except RecursionError:
        raise WireError(f"It is nested deeper than {MAX_DEPTH} levels.") from None
    except ValueError as error:
        raise WireError(f"It is not the JSON that is sent here: {error}") from None


def _bounded(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise WireError(f"It is longer than {MAX_CHARACTERS:,} characters.")
    if text.count(",") + text.count("[") + text.count("{") > _MAX_MARKS:
        raise WireError(f"It holds more than {MAX_ITEMS:,} values.")
    return text


def _refuse(found: Any) -> NoReturn:
    raise WireError("It holds an object or a number with a point.")


def a_list(node: Any, length: int | None = None) -> list[Any]:
    """The node, which must be a list (of ``length`` items)."""
    if type(node) is not list or length not in (None, len(node)):
        raise WireError(f"Expected a list{f' of {length}' if length else ''}.")
    return node


def a_string(node: Any, longest: int = MAX_STRING) -> str:
    """The node, which must be a string that is not too long."""
    if type(node) is not str or len(node) > longest:
        raise WireError(f"Expected a text of at most {longest:,} characters.")
    return node


def a_shown_string(node: Any, longest: int) -> str:
    """The same for text that people read: control characters become question marks.

    Half of a surrogate pair cannot be saved as UTF-8, and PostgreSQL keeps no NUL.
    """
    return _UNSHOWABLE.sub("?", a_string(node, longest))


def pack(value: Any, budget: Budget, depth: int = 0) -> Any:
    """A plain value as a node; exact types only.

    Raises:
        WireError: the value is not plain, or too much.
    """
    kind = type(value)
    size = _ESCAPED * len(value) if kind is str else 0
    budget.take(depth, size)
    if value is None or kind is bool or kind is str:
        return a_string(value) if kind is str else value
    if kind is int:
        return _whole(value, budget)
    if kind is float:
        return ["float", value.hex()]
    if kind in (list, tuple):
        return [kind.__name__, *(pack(part, budget, depth + 1) for part in value)]
    if kind is dict:
        pairs = [(_key(k), pack(v, budget, depth + 1)) for k, v in value.items()]
        return ["dict", *pairs]
    if kind is np.ndarray:
        return ["array", *_pack_array(value, budget)]
    if isinstance(value, np.generic) and kind.__module__ == "numpy":
        return ["scalar", *_pack_array(np.asarray(value), budget)]
    raise WireError(f"A value of type {kind.__name__} cannot be sent.")


def unpack(node: Any, budget: Budget, depth: int = 0) -> Any:
    """The value that :func:`pack` made a node of.

    Raises:
        WireError: the node is anything else, or too much.
    """
    kind = type(node)
    budget.take(depth, _ESCAPED * len(node) if kind is str else 0)
    if node is None or kind is bool:
        return node
    if kind is str:
        return a_string(node)
    if kind is int:
        return _whole(node, budget)
    name, *parts = a_list(node) or [None]
    read = _READERS.get(name) if type(name) is str else None
    if read is None:
        raise WireError("It holds a value of an unknown kind.")
    return read(parts, budget, depth)


def _whole(value: int, budget: Budget) -> int:
    bits = value.bit_length()
    if bits > _MAX_BITS:
        raise WireError("It holds a whole number of more than 4,200 digits.")
    budget.bytes -= bits // 3
    return value


def _key(key: Any) -> Any:
    if type(key) is int and key.bit_length() < 64:
        return key
    return a_string(key, 1_000)


def _pack_array(array: np.ndarray, budget: Budget) -> list[Any]:
    if _DTYPES.get(str(array.dtype)) != array.dtype:
        raise WireError(f"An array of {array.dtype} cannot be sent.")
    budget.bytes -= array.nbytes
    if budget.bytes < 0:
        raise WireError(f"It holds more than {MAX_BYTES:,} bytes.")
    data = binascii.b2a_base64(array.tobytes(), newline=False).decode("ascii")
    return [str(array.dtype), list(array.shape), data]


def _array(parts: list[Any], budget: Budget, depth: int) -> np.ndarray:
    name, shape, data = a_list(parts, 3)
    dtype = _DTYPES.get(a_string(name, 20))
    if dtype is None or not all(type(n) is int and n >= 0 for n in a_list(shape)):
        raise WireError("An array has a known dtype and a shape of whole numbers.")
    try:
        raw = binascii.a2b_base64(a_string(data, MAX_CHARACTERS), strict_mode=True)
        budget.bytes -= len(raw)
        if len(raw) != prod(shape) * dtype.itemsize or budget.bytes < 0:
            raise WireError("An array has as many bytes as its shape says, within all.")
        if dtype.kind == "b" and raw.strip(b"\x00\x01"):
            raise WireError("A truth value is 0 or 1.")
        return np.frombuffer(raw, dtype).reshape(shape).copy()
    except (ValueError, OverflowError) as error:
        raise WireError(f"An array cannot be read: {error}") from None


def _scalar(parts: list[Any], budget: Budget, depth: int) -> Any:
    array = _array(parts, budget, depth)
    if array.shape != ():
        raise WireError("A NumPy scalar has no dimensions.")
    return array[()]


def _float(parts: list[Any], budget: Budget, depth: int) -> float:
    try:
        return float.fromhex(a_string(*a_list(parts, 1), longest=40))
    except (ValueError, OverflowError):
        raise WireError("A float is written in hexadecimal digits.") from None


def _listed(parts: list[Any], budget: Budget, depth: int) -> list[Any]:
    return [unpack(part, budget, depth + 1) for part in parts]


def _dict(parts: list[Any], budget: Budget, depth: int) -> dict[Any, Any]:
    pairs = [a_list(part, 2) for part in parts]
    made = {_key(key): unpack(value, budget, depth + 1) for key, value in pairs}
    if len(made) != len(pairs):
        raise WireError("A dictionary has each key once.")
    return made


_READERS: dict[str, Callable[[list[Any], Budget, int], Any]] = {
    "array": _array,
    "dict": _dict,
    "float": _float,
    "list": _listed,
    "scalar": _scalar,
    "tuple": lambda *given: tuple(_listed(*given)),
}
