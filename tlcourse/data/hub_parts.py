"""What the hub loaders share: the folder, the part, the finished data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tlcourse.data.card import Card
from tlcourse.data.dataset import Dataset
from tlcourse.data.missing import cache_folder


def hub_dataset(
    name: str,
    x: torch.Tensor,
    labels: np.ndarray,
    classes: tuple[str, ...],
    part: str,
    what: str,
    licence: str,
    citation: str,
    domains: tuple[str, ...] = (),
    reload: Callable[[str], Dataset] | None = None,
) -> Dataset:
    """A data set of the hub family with its card; labels are ``(n,)`` numbers."""
    shape = " x ".join(str(side) for side in x.shape[1:])
    return Dataset(
        x=x,
        y=torch.tensor(np.asarray(labels).astype(np.int64)),
        classes=classes,
        name=name,
        domain=part,
        domains=domains,
        card=Card(
            what=what,
            origin="real",
            source="files of the public data set, in torchvision's layout",
            licence=licence,
            size=f"{len(x)} images, {len(classes)} classes, {shape}",
            citation=citation,
        ),
        reload=reload,
    )


def hub_root(root: str | Path | None) -> Path:
    """The folder with the files: ``root``, or the cache folder."""
    return cache_folder() if root is None else Path(root).expanduser()


def check_part(part: str, known: tuple[str, ...]) -> None:
    """Raise a ValueError unless ``part`` is one of ``known``."""
    if part not in known:
        raise ValueError(f"part must be one of {known}, got {part!r}.")


def hint(name: str) -> str:
    """How the files of a set can be provided."""
    return (
        "Copy the files there, name their folder with root=..., or fetch them: "
        f"load({name!r}, download=True), with mirror='https://...' for another server."
    )
