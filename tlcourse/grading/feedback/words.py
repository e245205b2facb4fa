"""Flags in words for the learner. What only a teacher should weigh is not here."""

from __future__ import annotations

from collections.abc import Iterable

from tlcourse.grading.feedback.cleaning import plain
from tlcourse.grading.records import Flag

_RESTORED = "was changed. It was graded as it was handed out."
_WORDS = {
    "edited test": f"A test cell {_RESTORED}",
    "edited cell": f"A locked cell {_RESTORED}",
    "changed metadata": "What nbgrader notes in a cell was changed. It was put back.",
    "missing test": "A test cell was missing. It was put back.",
    "missing cell": "A locked cell was missing. It was put back.",
    "missing answer": "The cell of an answer was missing.",
    "duplicate cell": "A cell was there twice. The copy was not graded.",
    "converted cell": "The kind of a cell was changed (code, Markdown).",
    "moved cell": "A cell stood in another place. It was put back.",
    "swapped answers": "Two answers had changed places.",
    "too many cells": "The notebook has more cells than are graded.",
    "rejected link": "A file was only a link to another place. It was not read.",
    "rejected file": "A file could not be read.",
    "odd name": "A file has a name that cannot be used. It was left out.",
    "too large": "A file is too large. It was left out.",
    "too many files": "There are more files than are read.",
    "too deep": "A folder lies too deep. It was left out.",
    "ignored notebook": "A notebook has another name than it should. "
    "It was not graded: rename it and hand it in again.",
    "output cut": "A cell printed more than is kept. The rest was cut.",
}
# Their sentences are the grader's own, and speak to the learner already.
_AS_THEY_ARE = ("kernel ended", "out of time")


def notes(flags: Iterable[Flag]) -> list[tuple[str, str]]:
    """Sentence and place for each flag that helps the learner, each once."""
    told = (
        (_WORDS.get(flag.kind) or plain(flag.what, 300), plain(flag.where, 200))
        for flag in flags
        if flag.kind in _WORDS or flag.kind in _AS_THEY_ARE
    )
    return list(dict.fromkeys(told))
