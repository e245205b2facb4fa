"""A set of the hub family: where its files lie, how they are read, its card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlcourse.data.card import Card
from tlcourse.data.dataset import Dataset
from tlcourse.data.fetching import fetch
from tlcourse.data.missing import cache_folder, need

Content = tuple[torch.Tensor, np.ndarray, Sequence[str]]


@dataclass(frozen=True)
class HubSet:
    """A public image set, read from files laid out as torchvision lays them out.

    Call it to load one part. Nothing is fetched unless the caller says
    ``download=True``.

    Args:
        name: as ``tlcourse.data.load`` knows it.
        remote: its class in ``torchvision.datasets``, which fetches it.
        parts: names of its parts; the first is the default.
        files: ``files(root, part)``, what must be there.
        read: ``read(files, part, size)`` gives x, labels ``(n,)`` and class names.
        what: for the card, as are ``licence`` and ``citation``.
        size: pixels of a side by default; None keeps the files' own.
        fetch_options: ``fetch_options(part)``, further arguments of the class.
        parts_are_domains: whether the parts differ in kind, not only in samples.
    """

    name: str
    remote: str
    parts: tuple[str, ...]
    files: Callable[[Path, str], list[Path]]
    read: Callable[[list[Path], str, Any], Content]
    what: str
    licence: str
    citation: str
    size: int | None = None
    fetch_options: Callable[[str], dict[str, Any]] = lambda part: {}
    parts_are_domains: bool = False

    def __call__(
        self,
        part: str | None = None,
        size: int | None = None,
        root: str | Path | None = None,
        download: bool = False,
        mirror: str | None = None,
    ) -> Dataset:
        """Load one part.

        Args:
            part: one of ``parts``.
            size: pixels of a side.
            root: folder with the files; None means the cache folder.
            download: fetch what is missing.
            mirror: address of a folder with the same files, for ``download``.

        Raises:
            ValueError: a wrong part or size, or a broken file.
            DataMissing: the files are not there.
        """
        part, size = part or self.parts[0], size or self.size
        if part not in self.parts:
            raise ValueError(f"part must be one of {self.parts}, got {part!r}.")
        folder = cache_folder() if root is None else Path(root).expanduser()
        wanted = self.files(folder, part)
        if download and not all(file.exists() for file in wanted):
            fetch(self.remote, folder, mirror, **self.fetch_options(part))
            wanted = self.files(folder, part)
        need(self.name, wanted, self.hint)
        x, labels, classes = self.read(wanted, part, size)
        return Dataset(
            x=x,
            y=torch.tensor(np.asarray(labels).astype(np.int64)),
            classes=tuple(classes),
            name=self.name,
            domain=part,
            domains=self.parts if self.parts_are_domains else (),
            card=self._card(x, classes),
            reload=(lambda other: self(other, size, root))
            if self.parts_are_domains
            else None,
        )

    @property
    def hint(self) -> str:
        """How the files can be provided."""
        return (
            "Copy the files there, name their folder with root=..., or fetch them: "
            f"load({self.name!r}, download=True), with mirror='https://...' for "
            "another server."
        )

    def _card(self, x: torch.Tensor, classes: Sequence[str]) -> Card:
        shape = " x ".join(str(side) for side in x.shape[1:])
        return Card(
            what=self.what,
            origin="real",
            source="files of the public data set, in torchvision's layout",
            licence=self.licence,
            size=f"{len(x)} images, {len(classes)} classes, {shape}",
            citation=self.citation,
        )
