"""The field's usual image sets, from files in the cache folder.

Nothing is fetched unless the caller says ``download=True``. The folders are laid
out as torchvision lays them out, so a folder that torchvision filled works, and so
does a copied one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tlcourse.data.dataset import Dataset
from tlcourse.data.fetching import fetch
from tlcourse.data.hub_parts import check_part, hint, hub_dataset, hub_root
from tlcourse.data.missing import need
from tlcourse.data.readers import read_idx, read_libsvm, read_pickled, resized

_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def load_mnist(
    part: str = "train",
    size: int | None = None,
    root: str | Path | None = None,
    download: bool = False,
    mirror: str | None = None,
) -> Dataset:
    """MNIST: 70,000 handwritten digits, 28 x 28, ink white on black.

    Args:
        part: "train" or "test".
        size: pixels of a side; None keeps 28.
        root: folder with the files; None means the cache folder.
        download: fetch what is missing.
        mirror: address of a folder with the same files, for ``download``.

    Raises:
        ValueError: a wrong part or size, or a broken file.
        DataMissing: the files are not there.
    """
    return _idx("mnist", "MNIST", _DIGITS, part, size, root, download, mirror)


def load_fashion_mnist(
    part: str = "train",
    size: int | None = None,
    root: str | Path | None = None,
    download: bool = False,
    mirror: str | None = None,
) -> Dataset:
    """Fashion-MNIST: 70,000 pictures of clothes, 28 x 28.

    Arguments and errors as for :func:`load_mnist`.
    """
    return _idx(
        "fashion_mnist", "FashionMNIST", _CLOTHES, part, size, root, download, mirror
    )


def load_usps(
    part: str = "train",
    size: int | None = None,
    root: str | Path | None = None,
    download: bool = False,
    mirror: str | None = None,
) -> Dataset:
    """USPS: 9,298 digits from envelopes, 16 x 16, ink white on black.

    Arguments and errors as for :func:`load_mnist`.
    """
    check_part(part, ("train", "test"))
    folder = hub_root(root)
    file = folder / ("usps.bz2" if part == "train" else "usps.t.bz2")
    if download and not file.exists():
        fetch("USPS", folder, mirror, train=part == "train")
    need("usps", [file], hint("usps"))
    values, labels = read_libsvm(file, 256)  # values in [-1, 1], labels 1..10
    x = torch.from_numpy((values + 1) / 2).clamp(0, 1).view(-1, 1, 16, 16)
    return hub_dataset(
        "usps", resized(x, size), labels - 1, _DIGITS, part,
        "digits scanned from envelopes of the US Postal Service",
        "no licence stated, for research",
        "Hull, A database for handwritten text recognition research, 1994",
    )  # fmt: skip


def load_cifar10(
    part: str = "train",
    size: int | None = None,
    root: str | Path | None = None,
    download: bool = False,
    mirror: str | None = None,
) -> Dataset:
    """CIFAR-10: 60,000 colour photographs of ten things, 32 x 32.

    Arguments and errors as for :func:`load_mnist`.
    """
    check_part(part, ("train", "test"))
    folder = hub_root(root) / "cifar-10-batches-py"
    batches = [f"data_batch_{i}" for i in range(1, 6)]
    files = [folder / name for name in (batches if part == "train" else ["test_batch"])]
    files.append(folder / "batches.meta")
    if download and not all(file.exists() for file in files):
        fetch("CIFAR10", hub_root(root), mirror)
    need("cifar10", files, hint("cifar10"))
    (classes,) = read_pickled(files.pop(), ["label_names"])
    read = [read_pickled(file, ["data", "labels"]) for file in files]
    pixels = np.concatenate([data for data, _ in read]).reshape(-1, 3, 32, 32)
    return hub_dataset(
        "cifar10", resized(torch.from_numpy(pixels).float() / 255, size),
        np.concatenate([labels for _, labels in read]), tuple(classes), part,
        "small colour photographs", "no licence stated, for research",
        "Krizhevsky, Learning multiple layers of features from tiny images, 2009",
    )  # fmt: skip


def _idx(
    name: str,
    class_name: str,
    classes: tuple[str, ...],
    part: str,
    size: int | None,
    root: str | Path | None,
    download: bool,
    mirror: str | None,
) -> Dataset:
    """A set of MNIST's kind: two idx files, plain or ``.gz``."""
    check_part(part, ("train", "test"))
    raw = hub_root(root) / class_name / "raw"
    stem = "train" if part == "train" else "t10k"
    names = [f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"]
    if download and not all(_plain_or_gz(raw / file).exists() for file in names):
        fetch(class_name, hub_root(root), mirror)
    files = [_plain_or_gz(raw / file) for file in names]
    need(name, files, hint(name))
    images, labels = (read_idx(file) for file in files)
    x = torch.tensor(images, dtype=torch.float32)[:, None] / 255
    what, licence, citation = {
        "mnist": (
            "handwritten digits",
            "CC BY-SA 3.0",
            "LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to "
            "document recognition, 1998",
        ),
        "fashion_mnist": (
            "grey pictures of clothes from a shop",
            "MIT",
            "Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017",
        ),
    }[name]
    return hub_dataset(
        name, resized(x, size), labels, classes, part, what, licence, citation
    )


def _plain_or_gz(path: Path) -> Path:
    """The plain file, or its ``.gz`` where only that exists."""
    packed = path.with_name(path.name + ".gz")
    return packed if packed.exists() and not path.exists() else path
