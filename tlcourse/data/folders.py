"""``imagefolder``: any folder of pictures, one subfolder a class."""

from __future__ import annotations

from pathlib import Path

import torch

from tlcourse.arguments import whole
from tlcourse.data.card import Card
from tlcourse.data.dataset import Dataset
from tlcourse.data.missing import need
from tlcourse.data.readers import IMAGE_SUFFIXES, read_images


def load_imagefolder(root: str | Path, size: int = 64, channels: int = 3) -> Dataset:
    """Pictures laid out as ``root/class name/picture.jpg``.

    Classes are the subfolders in alphabetical order. The shorter side of a picture
    is brought to ``size`` and the centre is cut out.

    Args:
        root: the folder.
        size: pixels of a side, 8 to 512.
        channels: 3 (colour) or 1 (grey).

    Raises:
        ValueError: no subfolders, a class without pictures, a broken picture, or
            an argument out of range.
        DataMissing: the folder does not exist.
    """
    whole("size", size, 8, 512)
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels!r}.")
    folder = Path(root).expanduser()
    need("imagefolder", [folder], "Check root=..., the folder of your pictures.")
    classes = sorted(
        child.name
        for child in folder.iterdir()
        if child.is_dir() and not child.name.startswith(".")
    )
    if not classes:
        raise ValueError(
            f"{folder} has no subfolders; it needs one per class: "
            f"{folder}/rose/1.jpg, {folder}/tulip/1.jpg, ..."
        )
    files, labels = [], []
    for label, name in enumerate(classes):
        found = sorted(
            file
            for file in (folder / name).rglob("*")
            if file.suffix.lower() in IMAGE_SUFFIXES
        )
        if not found:
            raise ValueError(
                f"The class folder {folder / name} holds no picture "
                f"({', '.join(IMAGE_SUFFIXES)}); add some or remove the folder."
            )
        files += found
        labels += [label] * len(found)
    return Dataset(
        x=read_images(files, size, channels),
        y=torch.tensor(labels),
        classes=tuple(classes),
        name="imagefolder",
        domain=folder.name,
        domains=(),
        card=Card(
            what=f"pictures of the folder {folder.name!r}",
            origin="real",
            source="your own files",
            licence="yours to know",
            size=f"{len(files)} images, {len(classes)} classes, "
            f"{channels} x {size} x {size}",
            citation="none",
        ),
    )
