import numpy as np
import pytest
import torch

from tlcourse import data
from tlcourse.data.glyph_faces import _CASED, _path, base_glyphs, characters

PAIRS = [
    (script, case)
    for script in data.scripts()
    for case in (("lower", "upper") if script in _CASED else (None,))
]


@pytest.mark.parametrize(("script", "case"), PAIRS)
def test_no_two_classes_share_a_bitmap(script, case):
    letters = characters(script, case)
    assert len(set(letters)) == len(letters) >= 10
    for face in data.faces_of(script, case):
        pictures = base_glyphs(face, letters, 32)
        assert (pictures.reshape(len(letters), -1).max(axis=1) > 0.5).all(), face
        flat = pictures.reshape(len(letters), -1)
        gap = abs(flat[:, None] - flat[None]).sum(axis=2)  # (c, c)
        np.fill_diagonal(gap, np.inf)
        assert gap.min() > 1, (face, letters[gap.min(axis=1).argmin()])


def test_enough_faces_and_scripts():
    counts = {pair: len(data.faces_of(*pair)) for pair in PAIRS}
    assert min(counts.values()) >= 1
    assert min(counts["digits", None], counts["latin", "lower"]) >= 20
    assert counts["latin", "upper"] >= 20
    assert min(counts["greek", "lower"], counts["cyrillic", "lower"]) >= 16
    assert min(counts["armenian", "lower"], counts["georgian", None]) >= 12
    assert len(data.scripts()) >= 8
    assert not [f for pair in PAIRS for f in data.faces_of(*pair) if "Last" in f]


@pytest.mark.parametrize("face", ["DejaVuSerif-Italic", "STIXGeneral", "cmtt10"])
def test_pictures_show_the_letters(face):
    """Oracle: matplotlib's own renderer draws the same outlines."""
    from matplotlib.ft2font import FT2Font

    font = FT2Font(str(_path(face)))
    font.set_size(64, 72)
    for letter, mine in zip("agx", base_glyphs(face, "agx", 64), strict=True):
        font.set_text(letter)
        font.draw_glyphs_to_bitmap(antialiased=True)
        theirs = torch.tensor(np.asarray(font.get_image())).float() / 255
        crops = []
        for picture in (torch.tensor(mine), theirs):
            rows, columns = (picture.amax(d) > 0.2 for d in (1, 0))
            crop = picture[rows][:, columns][None, None]
            crops.append(torch.nn.functional.interpolate(crop, (40, 40)).flatten())
        assert float(torch.corrcoef(torch.stack(crops))[0, 1]) > 0.85


def test_small_letters_stay_small():
    o, big = base_glyphs("DejaVuSans", "og", 64)
    assert (o.max(axis=1) > 0.5).sum() < 0.8 * (big.max(axis=1) > 0.5).sum()


def test_layout_of_classes_and_faces():
    glyphs = data.load("glyphs", script="digits", face="all", per_class=22, jitter=0)
    assert glyphs.y.tolist() == list(range(10)) * 22
    for i, face in enumerate(data.faces_of("digits")):
        alone = data.load("glyphs", script="digits", face=face, per_class=1, jitter=0)
        assert torch.equal(alone.x, glyphs.x[10 * i : 10 * i + 10])


def test_deterministic_per_seed():
    first, again, other = (
        data.load("glyphs", per_class=3, size=16, seed=seed) for seed in (5, 5, 6)
    )
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)


def test_domains_are_faces_with_unpaired_jitter():
    source = data.load("glyphs", per_class=2, script="greek", case="upper", seed=3)
    target = source.domain("DejaVuSerif-Italic")
    assert target.domain == "DejaVuSerif-Italic"
    assert (target.classes, target.x.shape) == (source.classes, source.x.shape)
    direct = data.load(
        "glyphs", per_class=2, script="greek", case="upper", seed=3,
        face="DejaVuSerif-Italic",
    )  # fmt: skip
    assert torch.equal(target.x, direct.x)
    mixed = data.load("glyphs", per_class=2, face=("DejaVuSans", "cmr10"))
    assert mixed.domain == "DejaVuSans+cmr10"


@pytest.mark.parametrize("size", [8, 20, 32, 48])
def test_size(size):
    glyphs = data.load("glyphs", script="digits", per_class=1, size=size, jitter=0)
    assert glyphs.x.shape == (10, 1, size, size)
    assert glyphs.x.max() > 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(script="greke"), "Did you mean 'greek'"),
        (dict(face="DejaVuSan"), "Did you mean 'DejaVuSans'"),
        (dict(face="LastResortHE-Regular"), "no face"),
        (dict(face="cmr10", script="hebrew"), "does not draw"),
        (dict(face=()), "empty"),
        (dict(case="title"), "case"),
        (dict(case="upper", script="lao"), "no cases"),
        (dict(per_class=0), "per_class"),
        (dict(per_class=2.5), "per_class"),
        (dict(size=4), "size"),
        (dict(size=32.0), "size"),
        (dict(jitter=-1), "strength"),
        (dict(jitter=float("nan")), "strength"),
        (dict(jitter="much"), "strength"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        data.load("glyphs", **options)


def test_unknown_domain():
    with pytest.raises(ValueError, match="Did you mean 'cmr10'"):
        data.load("glyphs", per_class=1).domain("cmr")
