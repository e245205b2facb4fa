"""Omniglot and Flowers-102: sets whose files are pictures in folders."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from tlcourse.data.dataset import Dataset
from tlcourse.data.fetching import fetch
from tlcourse.data.hub_parts import check_part, hint, hub_dataset, hub_root
from tlcourse.data.missing import need
from tlcourse.data.readers import read_images


def load_omniglot(
    part: str = "background",
    size: int = 32,
    root: str | Path | None = None,
    download: bool = False,
    mirror: str | None = None,
) -> Dataset:
    """Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each.

    Ink is white on black, as in ``glyphs``. The parts are also domains.

    Args:
        part: "background" (30 alphabets) or "evaluation" (20 others).
        size: pixels of a side; the files have 105.
        root: folder with the files; None means the cache folder.
        download: fetch what is missing.
        mirror: address of a folder with the same files, for ``download``.

    Raises:
        ValueError: a wrong part or size, or a broken file.
        DataMissing: the files are not there.
    """
    parts = ("background", "evaluation")
    check_part(part, parts)
    base = hub_root(root) / "omniglot-py"
    folder = base / f"images_{part}"
    if download and not folder.exists():
        fetch("Omniglot", hub_root(root), mirror, background=part == "background")
    need("omniglot", [folder], hint("omniglot"))
    files = sorted(folder.glob("*/character*/*.png"))
    need("omniglot", [] if files else [folder / "*/character*/*.png"], "")
    labels = ["/".join(file.parts[-3:-1]) for file in files]
    classes = tuple(sorted(set(labels)))
    number = {label: i for i, label in enumerate(classes)}
    return hub_dataset(
        "omniglot", 1 - read_images(files, size, channels=1),
        np.array([number[label] for label in labels]), classes, part,
        "handwritten characters of 50 alphabets, 20 writers", "MIT",
        "Lake, Salakhutdinov and Tenenbaum, Human-level concept learning, 2015",
        parts, partial(_omniglot_part, size=size, root=root),
    )  # fmt: skip


def _omniglot_part(part: str, size: int, root: str | Path | None) -> Dataset:
    return load_omniglot(part, size, root)


def load_flowers102(
    part: str = "train",
    size: int = 64,
    root: str | Path | None = None,
    download: bool = False,
    mirror: str | None = None,
) -> Dataset:
    """Flowers-102: 8,189 colour photographs of 102 flower species.

    Args:
        part: "train", "val" or "test".
        size: pixels of a side.
        root: folder with the files; None means the cache folder.
        download: fetch what is missing.
        mirror: address of a folder with the same files, for ``download``.

    Raises:
        ValueError: a wrong part or size, or a broken file.
        DataMissing: the files are not there.
    """
    check_part(part, ("train", "val", "test"))
    folder = hub_root(root) / "flowers-102"
    files = [folder / "setid.mat", folder / "imagelabels.mat", folder / "jpg"]
    if download and not all(file.exists() for file in files):
        fetch("Flowers102", hub_root(root), mirror, split=part)
    need("flowers102", files, hint("flowers102"))
    from scipy.io import loadmat

    key = {"train": "trnid", "val": "valid", "test": "tstid"}[part]
    numbers = loadmat(files[0])[key].ravel()  # from 1
    labels = loadmat(files[1])["labels"].ravel()
    pictures = [folder / "jpg" / f"image_{number:05d}.jpg" for number in numbers]
    need("flowers102", pictures, hint("flowers102"))
    return hub_dataset(
        "flowers102", read_images(pictures, size, channels=3),
        labels[numbers - 1].astype(np.int64) - 1,
        tuple(f"species {i}" for i in range(1, 103)), part,
        "photographs of flowers common in the United Kingdom",
        "no licence stated, for research",
        "Nilsback and Zisserman, Automated flower classification, 2008",
    )  # fmt: skip
