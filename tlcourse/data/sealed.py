"""Labels that must not be looked at: sealed target labels and the peek record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import torch

# Special methods that would read a value.
_VALUE_OPERATORS = (
    "getitem", "setitem", "delitem", "iter", "reversed", "contains", "bool", "int",
    "float", "complex", "index", "eq", "ne", "lt", "le", "gt", "ge", "neg", "pos",
    "abs", "invert", "add", "radd", "sub", "rsub", "mul", "rmul", "matmul",
    "rmatmul", "truediv", "rtruediv", "floordiv", "rfloordiv", "mod", "rmod", "pow",
    "rpow", "and", "rand", "or", "ror", "xor", "rxor", "lshift", "rshift",
    "array_ufunc", "array_function", "dlpack", "dlpack_device", "bytes", "round",
)  # fmt: skip


class SealedError(RuntimeError):
    """Something tried to read labels that are sealed."""


@dataclass(frozen=True)
class Peek:
    """One opening of sealed labels: which data, how many labels, and why."""

    dataset: str
    domain: str
    n: int
    reason: str

    def __str__(self) -> str:
        """The line that is printed when the labels are opened."""
        where = f"{self.dataset}/{self.domain}"
        return f"oracle peek: {self.n} labels of {where}: {self.reason}"


_peeks: list[Peek] = []


def recorded_peeks() -> tuple[Peek, ...]:
    """The peeks of this process, oldest first."""
    return tuple(_peeks)


class Sealed:
    """Labels whose number and shape are known and whose values are not.

    ``len(y)``, ``y.shape`` and ``y.device`` work. Everything that would give a
    value away raises :class:`SealedError`: indexing, iteration, comparison,
    arithmetic, NumPy and torch functions, copying and pickling. The seal keeps
    honest people honest: it stops accidents, not a determined reader.
    """

    __slots__ = ("__values",)

    def __init__(self, values: torch.Tensor) -> None:
        """Seal ``values``, a tensor of shape ``(n,)``."""
        object.__setattr__(self, "_Sealed__values", values)

    def __len__(self) -> int:
        """Number of labels."""
        return len(self.__values)

    @property
    def shape(self) -> torch.Size:
        """Shape of the labels, ``(n,)``."""
        return self.__values.shape

    @property
    def device(self) -> torch.device:
        """Device of the labels."""
        return self.__values.device

    def take(self, indices: torch.Tensor) -> Sealed:
        """The labels at ``indices``, still sealed."""
        return Sealed(self.__values[indices])

    def to(self, device: torch.device | str) -> Sealed:
        """The labels on another device, still sealed."""
        return Sealed(self.__values.to(device))

    def open_for(self, dataset: str, domain: str, reason: str) -> torch.Tensor:
        """Give the labels, print one line that says so, and record the peek.

        Raises:
            ValueError: no reason is given.
        """
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(
                f"unseal needs a reason in words, got {reason!r}: say what the "
                "labels are for, for example unseal('final test accuracy')."
            )
        peek = Peek(dataset, domain, len(self), reason.strip())
        _peeks.append(peek)
        print(peek)
        return self.__values

    def __repr__(self) -> str:
        """Length only."""
        return f"Sealed(n={len(self)})"

    def __getattr__(self, name: str) -> Any:
        """Refuse every tensor attribute and method."""
        # Private names are probed by IPython, copy and others: plain "not there".
        if name.startswith("_"):
            raise AttributeError(f"Sealed has no attribute {name!r}")
        _refuse(f".{name}")

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> NoReturn:
        """Refuse every torch function."""
        _refuse(f"torch {getattr(function, '__name__', 'function')}")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse NumPy."""
        _refuse("numpy")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Refuse pickling and copying."""
        _refuse("pickle or copy")

    __hash__ = object.__hash__


def _refuse(how: str) -> NoReturn:
    raise SealedError(
        f"These labels are sealed and were asked for by {how}. Work without them "
        "(dataset.x has the inputs), or open them on purpose: "
        "dataset.unseal('why the labels are needed'), which is printed and recorded."
    )


def _refusing(operator: str) -> Any:
    def method(self: Sealed, *args: Any) -> NoReturn:
        _refuse(operator)

    return method


# Python looks special methods up on the class, so each needs its own entry.
for _operator in _VALUE_OPERATORS:
    setattr(Sealed, f"__{_operator}__", _refusing(_operator))
del _operator
