"""Names of submitted files: which are refused, and which notebook was meant."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator

from tlcourse.grading.records import Flag

IGNORED = "ignored notebook"
LONGEST_PATH = 200  # characters
_CHECKPOINTS = ".ipynb_checkpoints"
_COPY = re.compile(r"\(\d+\)|\bcopy( of)?\b|\bkopie\b|(?<=copy)\d+", re.IGNORECASE)
_NOTEBOOK = re.compile(r"(.*)\.ipynb(\.\w+)?", re.IGNORECASE | re.DOTALL)


def odd_name(name: str) -> bool:
    """Whether a name could do harm or be shown wrongly; spaces and accents are fine."""
    try:
        name.encode()
    except UnicodeEncodeError:  # the name on the disk is not UTF-8
        return True
    return (
        name in ("", ".", "..")
        or not name.isprintable()
        or "/" in name
        or "\\" in name
        or len(name) > LONGEST_PATH
    )


def printable(name: str) -> str:
    """The name with what cannot be shown written as an escape, and not too long."""
    if not odd_name(name):
        return name
    raw = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in raw
    )
    return shown if len(shown) <= LONGEST_PATH else f"{shown[:LONGEST_PATH]}..."


def misnamed(
    wanted: Collection[str], found: Collection[str], left_out: Collection[str]
) -> Iterator[Flag]:
    """A flag for each wanted notebook that seems to be there under another name.

    Args:
        wanted: names of the assignment's notebooks.
        found: paths of the files that were read.
        left_out: names of what was not read.
    """
    others = sorted(
        path
        for path in {*found, *left_out} - set(wanted)
        if _NOTEBOOK.fullmatch(path.rsplit("/")[-1])
    )
    for name in wanted:
        if name in found or name in left_out:
            continue
        near = _near(name, others)
        shown = ", ".join(repr(printable(path)) for path in near[:3])
        if len(near) == 1:
            what = f"{shown} was found: name it {name!r} and hand it in again."
        elif near:
            what = f"{shown} were found: hand in one of them as {name!r}."
        elif _CHECKPOINTS in left_out:
            what = f"Only Jupyter's copies in {_CHECKPOINTS!r} were found: "
            what += "hand in the notebook itself."
        else:
            continue
        yield Flag(kind=IGNORED, where=name, what=f"There is no {name!r}. {what}")


def _near(wanted: str, others: Iterable[str]) -> list[str]:
    """The notebooks that were most likely meant: of that name, with it, else any."""
    stems = {path: _stem(path.replace("\\", "/").rsplit("/")[-1]) for path in others}
    stem = _stem(wanted)
    equal = [path for path, theirs in stems.items() if theirs == stem]
    inside = [path for path, theirs in stems.items() if stem in theirs]
    return equal or inside or list(stems)


def _stem(name: str) -> str:
    """A notebook's name without what browsers, file managers and habits add."""
    match = _NOTEBOOK.fullmatch(name)
    text = unicodedata.normalize("NFKC", match[1] if match else name)
    text = _COPY.sub(" ", text.replace("_", " ").replace("-", " "))
    return re.sub(r"\W", "", text).casefold()
