"""Photographs in the scikit-image package: textures, faces, photos, medical.

Each picture of `textures`, `photos` and `medical` is one class, cut into square
regions; crops are drawn inside regions and never cross a border. A region is one
group, so the parts of a split show disjoint regions of the same picture. Crops of
one picture are one sample of the world: a score tells these pictures apart, and
says nothing about other walls, cats, hospitals or persons.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tlcourse.arguments import whole
from tlcourse.data.card import Card
from tlcourse.data.dataset import Dataset
from tlcourse.data.missing import DataMissing

_CROP = 0.7  # side of a crop, as a share of its region's side
_SOURCE = "the scikit-image package"


@dataclass(frozen=True)
class _Picture:
    """One picture file: its class, regions per side, and the part that is used."""

    label: str
    file: str
    regions: int = 4
    box: tuple[float, float, float, float] = (0, 0, 1, 1)  # left, top, right, bottom


_TEXTURES = (
    _Picture("brick", "brick.png"),
    _Picture("grass", "grass.png"),
    _Picture("gravel", "gravel.png"),
)
_PHOTOS = (
    _Picture("astronaut", "astronaut.png"),
    _Picture("cat", "chelsea.png"),
    _Picture("coffee", "coffee.png"),
    _Picture("galaxies", "hubble_deep_field.jpg"),
    _Picture("motorcycle", "motorcycle_left.png"),
    _Picture("rocket", "rocket.jpg"),
)
_MEDICAL = (
    # The square inside the round field of view: its corners are black.
    _Picture("retina", "retina.jpg", box=(0.15, 0.15, 0.85, 0.85)),
    _Picture("tissue", "ihc.png"),
    _Picture("cell", "cell.png"),
    _Picture("microaneurysms", "microaneurysms.png", regions=3),
)


def load_textures(size: int = 32, per_class: int = 160, seed: int = 0) -> Dataset:
    """Grey crops of three photographed surfaces: brick, grass, gravel.

    Args:
        size: pixels of a side, 8 to 128.
        per_class: crops of each class, shared evenly by its regions.
        seed: the same seed gives the same crops.

    Raises:
        ValueError: a number out of range.
        DataMissing: the package lacks a picture.
    """
    card = _card(
        "crops of three photographs of surfaces", "CC0", "CC0Textures, linolafett"
    )
    return _crops("textures", _TEXTURES, 1, size, per_class, seed, card)


def load_photos(size: int = 32, per_class: int = 160, seed: int = 0) -> Dataset:
    """Colour crops of six photographs, from an astronaut to a rocket.

    Arguments and errors as for :func:`load_textures`.
    """
    card = _card(
        "crops of six colour photographs",
        "CC0 or public domain; motorcycle: Middlebury stereo set, for research",
        "NASA; van der Walt; Michetti; SpaceX; Scharstein et al., High-resolution "
        "stereo datasets with subpixel-accurate ground truth, 2014",
    )
    return _crops("photos", _PHOTOS, 3, size, per_class, seed, card)


def load_medical(size: int = 32, per_class: int = 160, seed: int = 0) -> Dataset:
    """Grey crops of four medical pictures: retina, tissue, cell, microaneurysms.

    Grey, because two of the pictures are: colour would give the class away.
    Arguments and errors as for :func:`load_textures`.
    """
    card = _card(
        "crops of a retina, stained tissue, a cell under a hologram microscope and "
        "microaneurysms",
        "CC0; tissue: no known copyright restrictions",
        "Haggstrom, Medical gallery, 2014; Center for Microscopy and Molecular "
        "Imaging; Mueller et al., Optics Express 26(8), 2018; HRF database (Maier)",
    )
    return _crops("medical", _MEDICAL, 1, size, per_class, seed, card)


def load_faces(size: int = 25) -> Dataset:
    """100 grey faces and 100 backgrounds cut from Labeled Faces in the Wild.

    Detection of a face, not recognition of a person: there are no identities.

    Args:
        size: pixels of a side, 8 to 128; the pictures have 25.

    Raises:
        ValueError: size is out of range.
        DataMissing: the package lacks the file.
    """
    whole("size", size, 8, 128)
    raw = np.load(_file("lfw_subset.npy"))  # (200, 25, 25), faces first
    x = torch.tensor(raw, dtype=torch.float32)[:, None]
    if size != x.shape[-1]:
        x = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
    turn = torch.arange(200).view(2, 100).T.flatten()  # face, background, face, ...
    y = torch.tensor([1, 0]).repeat(100)
    return Dataset(
        x=x[turn].clamp(0, 1),
        y=y,
        classes=("background", "face"),
        name="faces",
        domain="photo",
        domains=(),
        card=Card(
            what="small grey pictures, half of them faces",
            origin="real",
            source=_SOURCE,
            licence="no known copyright restrictions",
            size=f"200 images, 2 classes, 1 x {size} x {size}",
            citation="Huang et al., Labeled Faces in the Wild, 2007",
        ),
    )


def _crops(
    name: str,
    pictures: tuple[_Picture, ...],
    channels: int,
    size: int,
    per_class: int,
    seed: int,
    card: Card,
) -> Dataset:
    """Crops of every picture, classes in turn."""
    whole("size", size, 8, 128)
    whole("per_class", per_class, 1, 100_000)
    rng = np.random.default_rng(seed)
    images, groups, first = [], [], 0
    for picture in pictures:
        crops, regions = _crops_of(picture, channels, size, per_class, rng)
        images.append(crops)
        groups.append(regions + first)
        first += picture.regions**2
    x = torch.stack(images, dim=1).flatten(0, 1)  # (per_class * classes, c, h, w)
    return Dataset(
        x=x,
        y=torch.arange(len(pictures)).repeat(per_class),
        classes=tuple(picture.label for picture in pictures),
        name=name,
        domain="photo",
        domains=(),
        card=card,
        groups=torch.stack(groups, dim=1).flatten(),
    )


def _crops_of(
    picture: _Picture, channels: int, size: int, n: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """n crops of one picture ``(n, c, size, size)`` and their regions ``(n,)``."""
    whole = _read(picture, channels)  # (c, H, W)
    high, wide = (side // picture.regions for side in whole.shape[1:])
    side = int(_CROP * min(high, wide))
    region = torch.arange(n) % picture.regions**2
    crops = []
    for number in region.tolist():
        row, column = divmod(number, picture.regions)
        top = row * high + int(rng.integers(high - side + 1))
        left = column * wide + int(rng.integers(wide - side + 1))
        crops.append(whole[:, top : top + side, left : left + side])
    resized = F.interpolate(
        torch.stack(crops), (size, size), mode="bilinear", antialias=True
    )
    return resized.clamp(0, 1), region


def _read(picture: _Picture, channels: int) -> torch.Tensor:
    """The used part of a picture, ``(c, H, W)`` in [0, 1]."""
    from PIL import Image

    with Image.open(_file(picture.file)) as file:
        image = file.convert("RGB" if channels == 3 else "L")
    sides = (image.width, image.height) * 2
    image = image.crop(
        tuple(
            round(share * side) for share, side in zip(picture.box, sides, strict=True)
        )
    )
    array = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy(array.reshape(*array.shape[:2], channels)).permute(2, 0, 1)


def _file(name: str) -> Path:
    """A file of the scikit-image package; it is never fetched."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / name
    if not path.is_file():
        raise DataMissing(
            f"The installed scikit-image has no {path}. Reinstall it: "
            "its package ships this file."
        )
    return path


def _card(what: str, licence: str, citation: str) -> Card:
    return Card(
        what=what + "; crops of one picture are one sample of the world",
        origin="real",
        source=_SOURCE,
        licence=licence,
        size="as many crops as asked for, from one picture a class",
        citation=citation,
    )
