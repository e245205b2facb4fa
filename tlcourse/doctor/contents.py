"""Data families and pretrained models."""

from __future__ import annotations

from collections.abc import Iterator

from tlcourse.doctor.finding import INSTALL, Finding, Level, short

# The data families that need no network, with options that keep them small.
OFFLINE: dict[str, dict[str, int]] = {
    "glyphs": {"per_class": 2},
    "digits": {},
    "textures": {"per_class": 4},
    "faces": {},
    "photos": {"per_class": 4},
    "medical": {"per_class": 4},
    "tumours": {},
    "diabetes": {},
    "wine": {},
    "docs": {},
}


def data_families() -> Iterator[Finding]:
    """Every data family that needs no network loads."""
    from tlcourse import data

    for name, options in OFFLINE.items():
        try:
            loaded = data.load(name, **options)
            yield Finding("OK", f"data {name}: {len(loaded):,} samples")
        except Exception as error:
            yield Finding("FAIL", f"data {name}: {short(error)}", INSTALL)


def pretrained() -> Iterator[Finding]:
    """The course's own network loads; the sentence encoder is optional."""
    from tlcourse import models

    mends = {
        "glyphnet": "Run `tlcourse data pretrain glyphnet`.",
        "minilm": f"{INSTALL} Only the chapters on language need it.",
    }
    for name, mend in mends.items():
        try:
            models.load(name)
            yield Finding("OK", f"model {name}")
        except Exception as error:
            level: Level = "NOTE" if name == "minilm" else "FAIL"
            yield Finding(level, f"model {name}: {short(error)}", mend)
