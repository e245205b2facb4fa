"""What a data set says about itself: its card and the name of its domain."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from tlcourse.data.dataset import Dataset

Origin = Literal["real", "rendered", "simulated"]


@dataclass(frozen=True)
class Card:
    """What a data set is, so that nobody takes a rendered image for a real one.

    Attributes:
        what: one sentence.
        origin: "real" (measured), "rendered" (drawn from fonts) or "simulated".
        source: where it comes from.
        licence: the terms it may be used under.
        size: number and shape of the samples.
        citation: whom to cite.
    """

    what: str
    origin: Origin
    source: str
    licence: str
    size: str
    citation: str

    def __post_init__(self) -> None:
        """Check the origin."""
        if self.origin not in get_args(Origin):
            raise ValueError(
                f"origin must be one of {get_args(Origin)}, got {self.origin!r}."
            )

    def __str__(self) -> str:
        """One line per field."""
        return "\n".join(f"{key + ':':10}{value}" for key, value in vars(self).items())


class Domain(str):
    """The name of a domain; called with another name, it loads that domain.

    ``target.domain`` reads "DejaVuSerif"; ``source.domain("DejaVuSerif")`` is the
    data set with the same options there.
    """

    domains: tuple[str, ...]
    reload: Callable[[str], Dataset] | None

    def __call__(self, name: str) -> Dataset:
        """Load domain ``name``, complete, whatever was cut from this data set.

        Raises:
            ValueError: there is no such domain.
        """
        if name not in self.domains or self.reload is None:
            near = difflib.get_close_matches(str(name), self.domains, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"There is no domain {name!r} here. {hint}"
                f"Domains: {', '.join(self.domains) or 'none'}."
            )
        return self.reload(name)
