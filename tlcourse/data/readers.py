"""Readers of the field's file formats: idx, CIFAR batches, libsvm text, images.

Torchvision's own classes check whole archives by MD5 before they read. These
readers take the extracted files as they lie, so that a copied folder is enough, and
say in one sentence what is wrong with a file that cannot be read.
"""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tlcourse.arguments import whole

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes (``.gz`` or plain): MNIST's format.

    Raises:
        ValueError: the file is not in this format or is cut short.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else b""
    except (OSError, EOFError) as error:
        raise _broken(path, f"is not a whole gzip file ({error})") from error
    raw = raw or path.read_bytes()
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise _broken(path, "is not an idx file of bytes")
    ndim = raw[3]
    shape = tuple(np.frombuffer(raw, ">i4", ndim, 4)) if len(raw) > 4 * ndim else ()
    values = np.frombuffer(raw, np.uint8, offset=min(len(raw), 4 + 4 * ndim))
    if not shape or len(values) != np.prod(shape):
        raise _broken(path, f"holds {len(values)} values, its header says {shape}")
    return values.reshape(shape)


def read_libsvm(path: Path, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A bz2 file of lines ``label index:value ...``: USPS's format.

    Returns:
        values ``(n, width)`` float32 and labels ``(n,)`` int64, as written.

    Raises:
        ValueError: the file is not in this format.
    """
    try:
        lines = bz2.decompress(path.read_bytes()).decode("ascii").splitlines()
        rows = [line.split() for line in lines if line.strip()]
        labels = np.array([int(row[0]) for row in rows])
        values = np.zeros((len(rows), width), np.float32)
        for filled, row in zip(values, rows, strict=True):
            for item in row[1:]:
                column, value = item.split(":")
                filled[int(column) - 1] = float(value)
    except (OSError, ValueError, IndexError) as error:
        raise _broken(path, f"is not bz2 'label index:value' text ({error})") from error
    return values, labels


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays and plain containers; anything else is refused."""

    _ALLOWED = ("_reconstruct", "ndarray", "dtype", "scalar", "encode")

    def find_class(self, module: str, name: str) -> Any:
        home = module.split(".")[0]
        if name in self._ALLOWED and home in ("numpy", "_codecs"):
            module = module.replace("numpy.core", "numpy._core")  # renamed in NumPy 2
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not data")


def read_pickled(path: Path, wanted: Sequence[str]) -> list[Any]:
    """Entries of a pickled dictionary of arrays and lists: CIFAR's format.

    Raises:
        ValueError: the file is broken, holds more than data, or lacks an entry.
    """
    try:
        unpickler = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1")
        entries = unpickler.load()
        entries = {
            key.decode() if isinstance(key, bytes) else key: value
            for key, value in entries.items()
        }
        return [entries[key] for key in wanted]
    except (pickle.UnpicklingError, EOFError, AttributeError, KeyError) as error:
        raise _broken(path, f"is not a CIFAR batch with {wanted} ({error})") from error


def read_images(paths: Sequence[Path], size: int, channels: int) -> torch.Tensor:
    """Image files as one tensor ``(n, channels, size, size)`` in [0, 1].

    The shorter side is brought to ``size`` (with antialiasing), then the centre is
    cut out.

    Raises:
        ValueError: a file is no image, is empty, or holds NaN or infinity.
    """
    return torch.stack([_read_image(path, size, channels) for path in paths])


def _read_image(path: Path, size: int, channels: int) -> torch.Tensor:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise _broken(path, f"is not an image that can be read ({error})") from error
    if image.mode == "F":
        return _fitted(_float_image(path, image, channels), size)
    if image.mode.startswith("I"):
        raise _broken(path, f"has mode {image.mode!r}; save it with 8 bits a channel")
    return fitted_image(image, size, channels)


def fitted_image(image: Any, size: int, channels: int) -> torch.Tensor:
    """A PIL image with 8 bits a channel as ``(channels, size, size)`` in [0, 1]."""
    image = image.convert("RGB" if channels == 3 else "L")
    array = np.array(image, dtype=np.float32).reshape(*image.size[::-1], channels)
    return _fitted(torch.from_numpy(array).permute(2, 0, 1) / 255, size)


def _float_image(path: Path, image: Any, channels: int) -> torch.Tensor:
    """A one-channel float image; its values must already lie in [0, 1]."""
    array = np.array(image, dtype=np.float32)
    if not np.isfinite(array).all():
        raise _broken(path, "holds NaN or infinity; repair or remove it")
    if array.min() < 0 or array.max() > 1:
        raise _broken(path, "holds numbers outside [0, 1]; rescale it")
    return torch.from_numpy(array)[None].repeat(channels, 1, 1)


def _fitted(image: torch.Tensor, size: int) -> torch.Tensor:
    """``(c, h, w)`` resized and cut to ``(c, size, size)``."""
    high, wide = image.shape[1:]
    scale = size / min(high, wide)
    high, wide = max(size, round(high * scale)), max(size, round(wide * scale))
    image = F.interpolate(image[None], (high, wide), mode="bilinear", antialias=True)
    top, left = (high - size) // 2, (wide - size) // 2
    return image[0, :, top : top + size, left : left + size].clamp(0, 1)


def resized(x: torch.Tensor, size: int | None) -> torch.Tensor:
    """Square images ``(n, c, h, h)`` at another size; None leaves them."""
    if size is None or size == x.shape[-1]:
        return x
    whole("size", size, 8, 512)
    return F.interpolate(
        x, (size, size), mode="bilinear", antialias=True
    ).clamp(0, 1)  # fmt: skip


def _broken(path: Path, why: str) -> ValueError:
    return ValueError(f"The file {path} {why}. Replace it with a whole copy.")
