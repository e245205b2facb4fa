"""The field's usual image sets, from files in the cache folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tlcourse.data.hub_set import Content, HubSet
from tlcourse.data.missing import need
from tlcourse.data.readers import (
    read_idx,
    read_images,
    read_libsvm,
    read_pickled,
    resized,
)

_TWO = ("train", "test")
_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def _idx_files(root: Path, part: str, folder: str) -> list[Path]:
    """Two idx files of MNIST's kind, plain, or ``.gz`` where only that exists."""
    raw, stem = root / folder / "raw", "train" if part == "train" else "t10k"
    plain = [raw / f"{stem}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    packed = [file.with_name(f"{file.name}.gz") for file in plain]
    pairs = zip(plain, packed, strict=True)
    return [z if z.exists() and not p.exists() else p for p, z in pairs]


def _read_idx(files: list[Path], size: int | None, classes: tuple) -> Content:
    images, labels = (read_idx(file) for file in files)
    x = torch.tensor(images, dtype=torch.float32)[:, None] / 255
    return resized(x, size), labels, classes


def _read_usps(files: list[Path], part: str, size: int | None) -> Content:
    values, labels = read_libsvm(files[0], 256)  # values in [-1, 1], labels 1..10
    x = torch.from_numpy((values + 1) / 2).clamp(0, 1).view(-1, 1, 16, 16)
    return resized(x, size), labels - 1, _DIGITS


def _cifar_files(root: Path, part: str) -> list[Path]:
    batches = [f"data_batch_{i}" for i in range(1, 6)]
    names = [*(batches if part == "train" else ["test_batch"]), "batches.meta"]
    return [root / "cifar-10-batches-py" / name for name in names]


def _read_cifar(files: list[Path], part: str, size: int | None) -> Content:
    *batches, meta = files
    (classes,) = read_pickled(meta, ["label_names"])
    read = [read_pickled(file, ["data", "labels"]) for file in batches]
    pixels = np.concatenate([data for data, _ in read]).reshape(-1, 3, 32, 32)
    x = resized(torch.from_numpy(pixels).float() / 255, size)
    return x, np.concatenate([labels for _, labels in read]), classes


def _read_omniglot(files: list[Path], part: str, size: int) -> Content:
    (folder,) = files
    drawings = sorted(folder.glob("*/character*/*.png"))
    need("omniglot", [] if drawings else [folder / "*/character*/*.png"], "")
    names = ["/".join(file.parts[-3:-1]) for file in drawings]
    classes, labels = np.unique(names, return_inverse=True)
    # Ink white on black, as in `glyphs`.
    return 1 - read_images(drawings, size, channels=1), labels, classes.tolist()


def _flowers_files(root: Path, part: str) -> list[Path]:
    return [root / "flowers-102" / f for f in ("setid.mat", "imagelabels.mat", "jpg")]


def _read_flowers(files: list[Path], part: str, size: int) -> Content:
    from scipy.io import loadmat

    key = {"train": "trnid", "val": "valid", "test": "tstid"}[part]
    numbers = loadmat(files[0])[key].ravel()  # from 1
    labels = loadmat(files[1])["labels"].ravel()[numbers - 1] - 1.0
    pictures = [files[2] / f"image_{number:05d}.jpg" for number in numbers]
    need("flowers102", pictures, load_flowers102.hint)
    names = [f"species {i}" for i in range(1, 103)]
    return read_images(pictures, size, channels=3), labels, names


load_mnist = HubSet(
    "mnist",
    "MNIST",
    _TWO,
    lambda root, part: _idx_files(root, part, "MNIST"),
    lambda files, part, size: _read_idx(files, size, _DIGITS),
    what="handwritten digits, ink white on black",
    licence="CC BY-SA 3.0",
    citation="LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to "
    "document recognition, 1998",
)
load_fashion_mnist = HubSet(
    "fashion_mnist",
    "FashionMNIST",
    _TWO,
    lambda root, part: _idx_files(root, part, "FashionMNIST"),
    lambda files, part, size: _read_idx(files, size, _CLOTHES),
    what="grey pictures of clothes from a shop",
    licence="MIT",
    citation="Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017",
)
load_usps = HubSet(
    "usps",
    "USPS",
    _TWO,
    lambda root, part: [root / ("usps.bz2" if part == "train" else "usps.t.bz2")],
    _read_usps,
    what="digits scanned from envelopes of the US Postal Service",
    licence="no licence stated, for research",
    citation="Hull, A database for handwritten text recognition research, 1994",
    fetch_options=lambda part: {"train": part == "train"},
)
load_cifar10 = HubSet(
    "cifar10",
    "CIFAR10",
    _TWO,
    _cifar_files,
    _read_cifar,
    what="small colour photographs",
    licence="no licence stated, for research",
    citation="Krizhevsky, Learning multiple layers of features from tiny images, 2009",
)
load_omniglot = HubSet(
    "omniglot",
    "Omniglot",
    ("background", "evaluation"),  # 30 alphabets and 20 others
    lambda root, part: [root / "omniglot-py" / f"images_{part}"],
    _read_omniglot,
    what="handwritten characters of 50 alphabets, 20 writers",
    licence="MIT",
    citation="Lake, Salakhutdinov and Tenenbaum, Human-level concept learning, 2015",
    size=32,
    fetch_options=lambda part: {"background": part == "background"},
    parts_are_domains=True,
)
load_flowers102 = HubSet(
    "flowers102",
    "Flowers102",
    ("train", "val", "test"),
    _flowers_files,
    _read_flowers,
    what="photographs of flowers common in the United Kingdom",
    licence="no licence stated, for research",
    citation="Nilsback and Zisserman, Automated flower classification, 2008",
    size=64,
    fetch_options=lambda part: {"split": part},
)
