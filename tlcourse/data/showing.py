"""Pictures of a data set as one figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlcourse.data.sealed import Sealed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tlcourse.data.dataset import Dataset


def picture_grid(data: Dataset, n: int, columns: int, title: str | None) -> Figure:
    """Grid of the first n pictures, each under its class name.

    The figure is closed for pyplot, so that a notebook shows it once.

    Raises:
        ValueError: the samples are not pictures, or n or columns is below 1.
    """
    if isinstance(data.x, list) or data.x.ndim != 4:
        kind = "text" if isinstance(data.x, list) else "a table"
        raise ValueError(f"show draws pictures; {data.name!r} is {kind}: print it.")
    if n < 1 or columns < 1:
        raise ValueError(f"n and columns must be at least 1, got {n} and {columns}.")
    import matplotlib.pyplot as plt

    n = min(n, len(data))
    columns = min(columns, n)
    rows = -(-n // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns, 1.2 * rows + 0.4), squeeze=False
    )
    sealed = isinstance(data.y, Sealed)
    for i, axis in enumerate(axes.flat):
        axis.axis("off")
        if i >= n:
            continue
        picture = data.x[i].detach().cpu().permute(1, 2, 0).numpy()  # (h, w, c)
        axis.imshow(
            picture if picture.shape[2] == 3 else picture[:, :, 0],
            cmap="gray", vmin=0, vmax=1,
        )  # fmt: skip
        if not sealed and data.classes:
            axis.set_title(data.classes[int(data.y[i])], fontsize=8, pad=2)
    figure.suptitle(title or f"{data.name}: {data.domain}", fontsize=10)
    figure.tight_layout(pad=0.4)
    plt.close(figure)
    return figure
