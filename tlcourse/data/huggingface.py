"""``huggingface``: any data set the `datasets` library reads, local or from the Hub."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from tlcourse.data.card import Card
from tlcourse.data.dataset import Dataset
from tlcourse.data.missing import DataMissing
from tlcourse.data.readers import fitted_image


def load_huggingface(
    path: str,
    name: str | None = None,
    split: str = "train",
    inputs: str = "image",
    label: str = "label",
    size: int = 64,
    channels: int = 3,
    data_files: str | list[str] | None = None,
) -> Dataset:
    """A Hugging Face data set of images or sentences with class labels.

    The library's own switches hold: ``HF_ENDPOINT`` (mirror), ``HF_HUB_OFFLINE``
    and ``HF_HOME``; set them before Python starts, they are read at import.

    Args:
        path: name on the Hub, a local folder, or a format such as "csv" or "json"
            together with ``data_files``.
        name: configuration, where the set has several.
        split: "train", "test", "train[:10%]", ...
        inputs: column with images or text.
        label: column with class numbers or class names.
        size: pixels of a side, for images.
        channels: 3 or 1, for images.
        data_files: files for a local format.

    Raises:
        ValueError: a column is missing, empty, or of a kind that cannot be used.
        DataMissing: the library is not installed, or the set cannot be reached.
    """
    if importlib.util.find_spec("datasets") is None:
        raise DataMissing(
            "load('huggingface') needs the `datasets` library: install it with "
            "`pip install datasets`. Pictures also load by load('imagefolder')."
        )
    table = _table(path, name, split, data_files)
    for column in (inputs, label):
        if column not in table.column_names:
            raise ValueError(
                f"{path!r} has no column {column!r}. Its columns: "
                f"{', '.join(table.column_names)}; choose with inputs=, label=."
            )
    if not len(table):
        raise ValueError(f"The split {split!r} of {path!r} is empty.")
    classes, y = _labels(table, label)
    return Dataset(
        x=_inputs(table[inputs], inputs, size, channels),
        y=torch.tensor(y),
        classes=classes,
        name="huggingface",
        domain=split,
        domains=(),
        card=Card(
            what=f"{path}, split {split}",
            origin="real",
            source=f"Hugging Face datasets, {path!r}",
            licence=table.info.license or "see the set's own card",
            size=f"{len(table)} samples, {len(classes)} classes",
            citation=table.info.citation or "see the set's own card",
        ),
    )


def _table(path: str, name: str | None, split: str, data_files: Any) -> Any:
    """The split as a `datasets` table; what stands in the way as one sentence."""
    import datasets

    try:
        return datasets.load_dataset(path, name, split=split, data_files=data_files)
    except (OSError, RuntimeError) as error:  # offline, unknown name, no such file
        first = str(error).strip().splitlines()[0]
        raise DataMissing(
            f"The data set {path!r} cannot be reached: {first}\n"
            "Give a local folder as path=..., fill the cache (HF_HOME) on a computer "
            "with a network, or name a mirror with HF_ENDPOINT."
        ) from error


def _labels(table: Any, column: str) -> tuple[tuple[str, ...], list[int]]:
    """Class names and one class number per sample."""
    feature, values = table.features[column], list(table[column])
    if any(value is None for value in values):
        raise ValueError(f"The column {column!r} has rows without a label.")
    if hasattr(feature, "names"):
        if min(values) < 0:
            raise ValueError(
                f"The column {column!r} holds -1: this split comes without labels."
            )
        return tuple(feature.names), values
    names = sorted(set(values))
    if isinstance(values[0], float):
        raise ValueError(f"The column {column!r} holds numbers, not classes.")
    number = {value: i for i, value in enumerate(names)}
    return tuple(str(value) for value in names), [number[value] for value in values]


def _inputs(
    values: Any, column: str, size: int, channels: int
) -> torch.Tensor | list[str]:
    """Sentences as a list, images as one tensor."""
    values = list(values)
    if all(isinstance(value, str) for value in values):
        return values
    if all(hasattr(value, "convert") for value in values):
        return torch.stack([fitted_image(value, size, channels) for value in values])
    kind = type(values[0]).__name__
    raise ValueError(
        f"The column {column!r} holds {kind}, not images or text; choose inputs=..."
    )
