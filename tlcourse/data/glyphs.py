"""``glyphs``: letters and digits rendered from the fonts that matplotlib ships."""

from __future__ import annotations

import zlib
from functools import partial

import numpy as np
import torch

from tlcourse.arguments import whole
from tlcourse.data.card import Card
from tlcourse.data.dataset import Dataset
from tlcourse.data.glyph_faces import base_glyphs, characters, check_face, faces_of
from tlcourse.data.jitter import check_strength, jittered


def load_glyphs(
    script: str = "latin",
    face: str | tuple[str, ...] = "DejaVuSans",
    per_class: int = 100,
    size: int = 32,
    jitter: float = 1.0,
    case: str | None = None,
    seed: int = 0,
) -> Dataset:
    """Rendered characters with random jitter; domains are faces.

    Classes come in turn (sample i has class ``i % num_classes``), and where several
    faces are asked for each class goes through them in turn. Another face is other
    random jitter, so two domains hold no pairs.

    Args:
        script: one of :func:`tlcourse.data.scripts`.
        face: a name from :func:`tlcourse.data.faces_of`, a tuple of names, or "all".
        per_class: images of each class.
        size: pixels of a side, 8 to 128.
        jitter: strength in [0, 2]; 0 gives clean glyphs.
        case: "lower" (default) or "upper", for scripts that have cases.
        seed: the same seed gives the same images.

    Raises:
        ValueError: an unknown script, case or face, or a number out of range.
    """
    whole("per_class", per_class, 1)
    whole("size", size, 8, 128)
    check_strength(jitter)
    letters = characters(script, case)
    faces = _chosen(face, script, case)
    side = size * -(-64 // size)  # at least 64 pixels, a whole multiple of size
    bases = np.concatenate([base_glyphs(name, letters, side) for name in faces])
    n = per_class * len(letters)
    turn = torch.arange(n)
    y = turn % len(letters)
    index = (turn // len(letters)) % len(faces) * len(letters) + y
    label = f"{script}/{case or 'lower'}/{'+'.join(faces)}/{seed}"
    generator = torch.Generator().manual_seed(zlib.crc32(label.encode()))
    x = jittered(
        torch.from_numpy(bases)[:, None], index, jitter, generator, (size, size)
    )
    options = dict(script=script, per_class=per_class, size=size, jitter=jitter)
    return Dataset(
        x=x,
        y=y,
        classes=tuple(letters),
        name="glyphs",
        domain=face if isinstance(face, str) else "+".join(faces),
        domains=("all", *faces_of(script, case)),
        card=_card(script, len(letters), n, size),
        reload=partial(_in_face, **options, case=case, seed=seed),
    )


def _in_face(face: str, **options: object) -> Dataset:
    return load_glyphs(face=face, **options)  # type: ignore[arg-type]


def _chosen(
    face: str | tuple[str, ...], script: str, case: str | None
) -> tuple[str, ...]:
    """The faces asked for, each checked."""
    if face == "all":
        return faces_of(script, case)
    faces = (face,) if isinstance(face, str) else tuple(face)
    if not faces:
        raise ValueError("face is an empty tuple; name at least one face or 'all'.")
    for name in faces:
        check_face(name, script, case)
    return faces


def _card(script: str, num_classes: int, n: int, size: int) -> Card:
    return Card(
        what=f"{script} characters drawn from font files, with random jitter",
        origin="rendered",
        source="the DejaVu, STIX and Computer Modern fonts that matplotlib ships",
        licence="DejaVu: Bitstream Vera licence; STIX: STIX Fonts licence; "
        "Computer Modern (BaKoMa): BaKoMa Fonts Licence",
        size=f"{n} images, {num_classes} classes, 1 x {size} x {size}",
        citation="Hunter, Matplotlib: A 2D graphics environment, 2007",
    )
