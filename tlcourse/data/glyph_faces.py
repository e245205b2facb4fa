"""Fonts that ship with matplotlib, and the scripts each of them really draws."""

from __future__ import annotations

import difflib
from functools import lru_cache
from pathlib import Path

import numpy as np

_RENDER = 96  # pixels; the reference size at which extents are measured
_FILL = 0.8  # share of the picture's side that the largest glyph of a script takes

# Explicit, because coverage alone deceives: LastResort draws one box for every
# character of a script, and cmex10 and cmsy10 keep symbols under letter codes.
_FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmti10",
    "cmtt10",
    "cmmi10",
)


def _span(first: int, last: int, without: str = "") -> str:
    letters = (chr(code) for code in range(first, last + 1))
    return "".join(letter for letter in letters if letter not in without)


# Lower case where a script has cases. Final sigma, teh marbuta and alef maksura
# are left out: they are forms of other letters.
_SCRIPTS = {
    "digits": _span(0x30, 0x39),
    "latin": _span(0x61, 0x7A),
    "greek": _span(0x3B1, 0x3C9, without="\u03c2"),
    "cyrillic": _span(0x430, 0x44F),
    "armenian": _span(0x561, 0x586),
    "georgian": _span(0x10D0, 0x10F0),
    "hebrew": _span(0x5D0, 0x5EA),
    "arabic": _span(0x627, 0x63A, without="\u0629")
    + _span(0x641, 0x64A, without="\u0649"),
    "tifinagh": _span(0x2D30, 0x2D65),
    "canadian": "".join(
        # Nine Cree series, each in the four orientations e, i, o, a.
        chr(first + step)
        for first, steps in (
            (0x1401, (0, 2, 4, 9)),
            (0x142F, (0, 2, 4, 9)),
            (0x144C, (0, 2, 4, 9)),
            (0x146B, (0, 2, 4, 7)),
            (0x1489, (0, 2, 4, 7)),
            (0x14A3, (0, 2, 4, 7)),
            (0x14C0, (0, 2, 4, 7)),
            (0x14ED, (0, 2, 4, 7)),
            (0x1526, (0, 2, 4, 7)),
        )
        for step in steps
    ),
    "nko": _span(0x7CA, 0x7E7),
    "lao": "".join(
        # The consonants; the block has gaps, and rare Pali letters in them.
        _span(first, last)
        for first, last in (
            (0xE81, 0xE82),
            (0xE84, 0xE84),
            (0xE87, 0xE88),
            (0xE8A, 0xE8A),
            (0xE8D, 0xE8D),
            (0xE94, 0xE97),
            (0xE99, 0xE9F),
            (0xEA1, 0xEA3),
            (0xEA5, 0xEA5),
            (0xEA7, 0xEA7),
            (0xEAA, 0xEAB),
            (0xEAD, 0xEAE),
        )
    ),  # fmt: skip
    "lisu": _span(0xA4D0, 0xA4F7),
}
_CASED = ("latin", "greek", "cyrillic", "armenian")


def scripts() -> tuple[str, ...]:
    """Names of the scripts that ``load("glyphs", script=...)`` draws."""
    return tuple(_SCRIPTS)


def characters(script: str, case: str | None = None) -> str:
    """The characters of a script, one per class.

    Args:
        script: one of :func:`scripts`.
        case: "lower" (default) or "upper", for scripts that have cases.

    Raises:
        ValueError: an unknown script or case.
    """
    if script not in _SCRIPTS:
        raise ValueError(_unknown("script", script, _SCRIPTS))
    if case is not None and script not in _CASED:
        raise ValueError(f"The script {script!r} has no cases; leave `case` out.")
    if case not in (None, "lower", "upper"):
        raise ValueError(f"case must be 'lower' or 'upper', got {case!r}.")
    lower = _SCRIPTS[script]
    return lower.upper() if case == "upper" else lower


@lru_cache
def faces_of(script: str, case: str | None = None) -> tuple[str, ...]:
    """The faces that draw every character of a script, each in its own way.

    Raises:
        ValueError: an unknown script or case.
    """
    wanted = characters(script, case)
    return tuple(face for face in _FACES if _draws(face, wanted))


def check_face(face: str, script: str, case: str | None = None) -> None:
    """Raise a ValueError unless ``face`` draws ``script``."""
    known = faces_of(script, case)
    if face in known:
        return
    if face in _FACES:
        raise ValueError(
            f"The face {face!r} does not draw {script!r}. These do: {', '.join(known)}."
        )
    raise ValueError(_unknown("face", face, known))


@lru_cache(maxsize=256)
def base_glyphs(face: str, letters: str, side: int) -> np.ndarray:
    """Clean pictures of the letters, white on black, centred, on one common scale.

    The scale is common to the letters, so that a small letter stays small beside a
    large one of the same form.

    Args:
        face: name of a face.
        letters: characters the face has.
        side: pixels.

    Returns:
        ``(len(letters), side, side)`` float32 in [0, 1], read-only.
    """
    extent = max(max(mask.shape) for mask in _masks(face, letters, _RENDER))
    canvas = np.zeros((len(letters), side, side), dtype=np.float32)
    pixels = _RENDER * _FILL * side / extent
    for picture, mask in zip(canvas, _masks(face, letters, pixels), strict=True):
        height, width = mask.shape
        top, left = (side - height) // 2, (side - width) // 2
        picture[top : top + height, left : left + width] = mask
    canvas.setflags(write=False)
    return canvas


def _masks(face: str, letters: str, pixels: float) -> list[np.ndarray]:
    """Tight grey-scale pictures of the letters, ``(h, w)`` in [0, 1]."""
    from PIL import ImageFont

    font = ImageFont.truetype(
        str(_path(face)), pixels, layout_engine=ImageFont.Layout.BASIC
    )
    masks = []
    for letter in letters:
        mask = font.getmask(letter, mode="L")
        flat = np.frombuffer(bytes(mask), dtype=np.uint8)
        masks.append(flat.reshape(mask.size[::-1]).astype(np.float32) / 255)
    return masks


@lru_cache(maxsize=256)
def _draws(face: str, letters: str) -> bool:
    """Whether the face has every letter: real, not empty, no two alike."""
    from matplotlib.ft2font import FT2Font

    if not _path(face).is_file():
        return False
    font = FT2Font(str(_path(face)))
    if not all(font.get_char_index(ord(letter)) for letter in letters):
        return False
    if any(mask.sum() == 0 for mask in _masks(face, letters, _RENDER)):
        return False
    pictures = base_glyphs(face, letters, 32)
    return len({picture.tobytes() for picture in pictures}) == len(letters)


def _path(face: str) -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


def _unknown(kind: str, name: str, known: object) -> str:
    choices = [str(item) for item in known]  # type: ignore[attr-defined]
    near = difflib.get_close_matches(str(name), choices, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"There is no {kind} {name!r}. {hint}Known: {', '.join(choices)}."
