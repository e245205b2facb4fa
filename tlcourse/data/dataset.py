"""The one data object of the course: inputs, labels, domain and an honest card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tlcourse.data.card import Card, Domain
from tlcourse.data.sealed import Sealed, SealedError
from tlcourse.data.splitting import pick_few_shot, split_indices

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Inputs with labels from one domain. It never changes: methods give new ones.

    Attributes:
        x: images ``(n, c, h, w)`` float32 in [0, 1], a table ``(n, d)`` float32, or
            a list of n sentences.
        y: class numbers ``(n,)`` int64, targets ``(n,)`` float32 for regression, or
            :class:`~tlcourse.data.sealed.Sealed`.
        classes: class names, ``classes[y[i]]`` names sample i; empty for regression.
        name: what :func:`tlcourse.data.load` was asked for.
        domain: name of the domain these samples come from. Called with another
            name, ``.domain(name)``, it gives that domain with the same options.
        domains: the names that ``.domain(name)`` accepts.
        card: what it is, where it comes from, licence, size, citation.
        groups: ``(n,)`` int64 or None; samples of one group (crops of one region,
            sentences on one function) stay together in a split.
        features: column names of a table, else empty.
        reload: loads another domain with the same options.

    Raises:
        ValueError: no samples, or lengths, types or labels that do not fit.
    """

    x: torch.Tensor | list[str]
    y: torch.Tensor | Sealed
    classes: tuple[str, ...]
    name: str
    domain: Domain | str
    domains: tuple[str, ...]
    card: Card
    groups: torch.Tensor | None = None
    features: tuple[str, ...] = ()
    reload: Callable[[str], Dataset] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        domain = Domain(self.domain)
        domain.domains, domain.reload = self.domains, self.reload
        object.__setattr__(self, "domain", domain)
        _check(self)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor | str, torch.Tensor]:
        """Sample i: ``(x_i, y_i)``, as a torch ``DataLoader`` wants it.

        Raises:
            SealedError: the labels are sealed; ``dataset.x[i]`` has the input.
        """
        return self.x[i], self.y[i]

    def __repr__(self) -> str:
        """Name, domain, sizes."""
        shape = "text" if isinstance(self.x, list) else tuple(self.x.shape[1:])
        labels = f"{len(self.classes)} classes" if self.classes else "regression"
        seal = ", labels sealed" if isinstance(self.y, Sealed) else ""
        return (
            f"Dataset({self.name}/{self.domain}: {len(self)} x {shape}, "
            f"{labels}{seal}, {self.card.origin})"
        )

    def subset(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> Dataset:
        """The samples at ``indices`` (whole numbers or a boolean mask), in that order.

        Raises:
            ValueError: no index, or one that is out of range.
        """
        chosen = _indices(indices, len(self))
        if isinstance(self.x, list):
            x: torch.Tensor | list[str] = [self.x[i] for i in chosen.tolist()]
        else:
            x = self.x[chosen.to(self.x.device)]
        at = chosen.to(self.y.device)
        y = self.y.take(at) if isinstance(self.y, Sealed) else self.y[at]
        groups = None if self.groups is None else self.groups[chosen]
        return replace(self, x=x, y=y, groups=groups)

    def split(self, *fractions: float, seed: int = 0) -> tuple[Dataset, ...]:
        """Cut into parts: ``train, test = data.split(0.8, 0.2)``.

        Every sample lands in exactly one part. Classes are divided evenly (regression
        targets and sealed labels are not looked at), groups stay whole. Fractions
        that sum to less than 1 give one more part with the rest.

        Raises:
            ValueError: bad fractions, or a part would be empty.
        """
        labels = self.y.cpu().numpy() if self._has_classes() else None
        groups = None if self.groups is None else self.groups.numpy()
        parts = split_indices(fractions, labels, groups, len(self), seed)
        return tuple(self.subset(part) for part in parts)

    def few_shot(self, k: int, seed: int = 0) -> tuple[Dataset, Dataset]:
        """k labelled samples of every class, and the rest: ``(support, rest)``.

        Where samples have groups, those that share a group with the support are in
        neither of the two.

        Raises:
            ValueError: k is not in 1..(smallest class), or there are no classes.
            SealedError: the labels are sealed.
        """
        if isinstance(self.y, Sealed):
            raise SealedError(
                "few_shot needs labels and these are sealed; take it from labelled "
                "data, or unseal('why') first."
            )
        if not self._has_classes():
            raise ValueError(
                f"few_shot needs classes; {self.name!r} is a regression: use split."
            )
        groups = None if self.groups is None else self.groups.numpy()
        labels = self.y.cpu().numpy()
        support, rest = pick_few_shot(k, labels, groups, len(self.classes), seed)
        return self.subset(support), self.subset(rest)

    def sealed(self) -> Dataset:
        """The same samples with labels that cannot be read."""
        return self if isinstance(self.y, Sealed) else replace(self, y=Sealed(self.y))

    def unseal(self, reason: str) -> Dataset:
        """The same samples with readable labels; prints and records an oracle peek.

        Raises:
            ValueError: no reason, or the labels are not sealed.
        """
        if not isinstance(self.y, Sealed):
            raise ValueError("These labels are not sealed; read dataset.y.")
        return replace(self, y=self.y.open_for(self.name, str(self.domain), reason))

    def show(self, n: int = 24, columns: int = 8, title: str | None = None) -> Figure:
        """A grid of the first n pictures with their class names.

        In a notebook end the line with a semicolon, as after any plot.

        Raises:
            ValueError: the samples are not pictures, or n is below 1.
        """
        from tlcourse import plots

        if isinstance(self.x, list) or self.x.ndim != 4:
            kind = "text" if isinstance(self.x, list) else "a table"
            raise ValueError(f"show draws pictures; {self.name!r} is {kind}: print it.")
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        names = (
            [self.classes[int(y)] for y in self.y[:n]] if self._has_classes() else None
        )
        title = title or f"{self.name}: {self.domain}"
        return plots.image_grid(self.x[:n], title=title, labels=names, columns=columns)

    def to(self, device: torch.device | str) -> Dataset:
        """The same samples with inputs and labels on ``device``."""
        x = self.x if isinstance(self.x, list) else self.x.to(device)
        return replace(self, x=x, y=self.y.to(device))

    def _has_classes(self) -> bool:
        return bool(self.classes) and not isinstance(self.y, Sealed)


def _indices(indices: Any, n: int) -> torch.Tensor:
    """The indices as an int64 tensor on the CPU, negative ones resolved."""
    chosen = torch.as_tensor(indices).cpu()
    if chosen.dtype == torch.bool and chosen.shape == (n,):
        chosen = chosen.nonzero().flatten()
    numbers = chosen.dtype not in (torch.bool, torch.float32, torch.float64)
    if chosen.ndim != 1 or not len(chosen) or not numbers:
        raise ValueError(
            "subset needs at least one whole number or a mask of length "
            f"{n}, got {chosen.dtype} of shape {tuple(chosen.shape)}."
        )
    chosen = chosen.long()
    if chosen.min() < -n or chosen.max() >= n:
        raise ValueError(
            f"Indices must lie in 0..{n - 1}, got {int(chosen.min())}.."
            f"{int(chosen.max())}."
        )
    return chosen % n


def _check(data: Dataset) -> None:
    """Refuse a data set whose parts do not fit together."""
    where = f"Data set {data.name!r}"
    if not len(data.x):
        raise ValueError(f"{where} has no samples; it needs at least one.")
    if len(data.y) != len(data.x) or len(data.y.shape) != 1:
        raise ValueError(
            f"{where} has {len(data.x)} inputs and labels of shape "
            f"{tuple(data.y.shape)}; it needs one label per input."
        )
    if not isinstance(data.x, list) and data.x.dtype != torch.float32:
        raise ValueError(f"{where} needs float32 inputs, got {data.x.dtype}.")
    if data.groups is not None and data.groups.shape != (len(data.x),):
        raise ValueError(
            f"{where} needs one group per input, got {tuple(data.groups.shape)}."
        )
    if isinstance(data.y, Sealed):
        return
    wanted = torch.int64 if data.classes else torch.float32
    if data.y.dtype != wanted:
        raise ValueError(f"{where} needs {wanted} labels, got {data.y.dtype}.")
    if data.classes and not (data.y.min() >= 0 and data.y.max() < len(data.classes)):
        raise ValueError(
            f"{where} has {len(data.classes)} classes, so labels 0.."
            f"{len(data.classes) - 1}; got {int(data.y.min())}..{int(data.y.max())}."
        )
