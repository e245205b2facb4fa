"""Figures of the course: one message in the title, axes with names, no colour alone.

Every function draws on ``ax`` or on a new figure and returns the axes, except
:func:`image_grid`, which returns a figure. In a notebook end the line with a
semicolon, or the return value is printed too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcourse.metrics import Interval, mean_interval

if TYPE_CHECKING:  # pyplot loads on first use
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("course.mplstyle")
MARKERS = "osD^vP*X<>"


def use_style() -> None:
    """Make the course's style the one of this process."""
    import matplotlib.style

    matplotlib.style.use(STYLE)


def learning_curve(
    x: Sequence[float],
    curves: Mapping[str, Any],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Mean curves with Student's confidence bands over repetitions.

    Args:
        x: positions ``(m,)``, for example labels per class; > 0 when ``log_x``.
        curves: name to values ``(m,)`` or ``(seeds, m)``; a band needs two seeds.
        title: the message of the figure.
        xlabel: name and unit of x.
        ylabel: name and unit of the values.
        log_x: logarithmic x axis with the positions themselves as ticks.
        level: confidence level of the band.
        ax: where to draw; a new figure without it.

    Raises:
        ValueError: a curve whose length is not that of x, or x <= 0 with ``log_x``.
    """
    x = np.asarray(x, dtype=float)
    if log_x and (x <= 0).any():
        raise ValueError(f"log_x needs positive x, got {x.min()}; drop it or log_x.")
    ax = _axes(ax, title, xlabel, ylabel)
    for index, (name, values) in enumerate(curves.items()):
        runs = np.atleast_2d(np.asarray(values, dtype=float))  # (seeds, m)
        if runs.ndim != 2 or runs.shape[1] != len(x):
            raise ValueError(
                f"curve {name!r} must be ({len(x)},) or (seeds, {len(x)}) like x, "
                f"got {np.shape(values)}."
            )
        marker = MARKERS[index % len(MARKERS)]
        (line,) = ax.plot(x, runs.mean(0), marker=marker, label=name)
        if len(runs) > 1:
            bounds = [mean_interval(column, level) for column in runs.T]
            low, high = [b.low for b in bounds], [b.high for b in bounds]
            ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, lw=0)
    if log_x:
        ax.set_xscale("log")
        ax.set_xticks(x, [f"{value:g}" for value in x])
        ax.minorticks_off()
    ax.legend()
    return ax


def embedding(
    z: Any,
    y: Any,
    *,
    title: str,
    classes: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Scatter of features: colour and marker tell the groups apart.

    More than two columns are projected on their two main axes (PCA), and the axis
    labels say how much of the variance each shows.

    Args:
        z: features ``(n, d)``, d >= 2.
        y: group numbers ``(n,)``: classes, or domains.
        title: the message of the figure.
        classes: names of the groups; the numbers without it.
        ax: where to draw; a new figure without it.

    Raises:
        ValueError: shapes that do not match.
    """
    z, y = _array(z), _array(y)
    if z.ndim != 2 or z.shape[1] < 2 or y.shape != z.shape[:1]:
        raise ValueError(
            f"need z (n, d) with d >= 2 and y (n,), got {z.shape} and {y.shape}."
        )
    labels = ("feature 1", "feature 2")
    if z.shape[1] > 2:
        z, shares = _principal_axes(z)
        labels = tuple(
            f"component {i} ({share:.0%} of variance)"
            for i, share in enumerate(shares, 1)
        )
    ax = _axes(ax, title, *labels)
    for group in np.unique(y):
        part, marker = z[y == group], MARKERS[int(group) % len(MARKERS)]
        name = classes[int(group)] if classes is not None else str(group)
        color = f"C{int(group) % 10}"
        ax.scatter(*part.T, s=14, color=color, marker=marker, lw=0, label=name)
    ax.legend(
        loc="upper left", bbox_to_anchor=(1, 1), ncols=1 + len(np.unique(y)) // 16
    )
    return ax


def image_grid(
    x: Any,
    *,
    title: str,
    labels: Sequence[str] | None = None,
    columns: int = 8,
) -> Figure:
    """Pictures in rows, each with its label above.

    Args:
        x: pictures ``(n, 1 or 3, h, w)`` with values in [0, 1].
        title: the message of the figure.
        labels: n short texts.
        columns: pictures per row.

    Raises:
        ValueError: x is no batch of pictures, or labels of another length.
    """
    import matplotlib.pyplot as plt

    x = _array(x)
    if x.ndim != 4 or x.shape[1] not in (1, 3) or len(x) == 0:
        raise ValueError(f"need pictures (n, 1 or 3, h, w), n >= 1, got {x.shape}.")
    if labels is not None and len(labels) != len(x):
        raise ValueError(f"got {len(x)} pictures but {len(labels)} labels.")
    columns = min(columns, len(x))
    rows = -(-len(x) // columns)
    cell = 0.62 if labels is None else 0.78
    size = (max(columns * 0.62, 3.0), rows * cell + 0.4)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for i, (ax, picture) in enumerate(zip(axes.flat, x, strict=False)):
        ax.imshow(picture.transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=1)
        if labels is not None:
            ax.set_title(labels[i], fontsize=7, fontweight="normal", loc="center")
    figure.suptitle(title, fontsize=10, fontweight="bold", x=0.02, ha="left")
    return figure


def confusion(
    matrix: Any, classes: Sequence[str], *, title: str, ax: Axes | None = None
) -> Axes:
    """Confusion matrix: colour is the share of the true class, text the count.

    Counts are written up to 12 classes.

    Args:
        matrix: counts ``(c, c)``, rows are true classes, as
            :func:`tlcourse.metrics.confusion_matrix` gives them.
        classes: c names.
        title: the message of the figure.
        ax: where to draw; a new figure without it.

    Raises:
        ValueError: the matrix is not ``(c, c)``.
    """
    counts = _array(matrix)
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(
            f"need a matrix ({len(classes)}, {len(classes)}) for {len(classes)} "
            f"classes, got {counts.shape}."
        )
    ax = _axes(ax, title, "predicted class", "true class", figsize=(4.2, 3.6))
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ax.figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.8)
    ax.grid(False)
    small = 8 if len(classes) <= 12 else 6
    ax.set_xticks(range(len(classes)), classes, fontsize=small)
    ax.set_yticks(range(len(classes)), classes, fontsize=small)
    if max(map(len, classes)) > 3:
        ax.tick_params("x", rotation=90)
    if len(classes) <= 12:
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if share[row, column] > 0.5 else "black"
            style = {"ha": "center", "va": "center", "fontsize": 7, "color": color}
            ax.text(column, row, f"{count:g}", **style)
    return ax


def effect_table(
    effects: Mapping[str, Interval | Any],
    *,
    title: str,
    xlabel: str,
    ax: Axes | None = None,
) -> Axes:
    """Design choices as rows: effect with its interval, drawn and written.

    A filled marker means that the interval leaves out 0, a hollow one that the
    data do not tell the sign.

    Args:
        effects: name of the choice to an estimate with ``value``, ``low`` and
            ``high``: an ``Interval`` or a ``PairedDifference``.
        title: the message of the figure.
        xlabel: what the effect is, with its unit.
        ax: where to draw; a new figure without it.

    Raises:
        ValueError: no effects.
    """
    if not effects:
        raise ValueError("effects is empty; give at least one design choice.")
    size = (5.6, 0.32 * len(effects) + 1.0)
    ax = _axes(ax, title, xlabel, "", figsize=size)
    for row, effect in enumerate(effects.values()):
        clear = effect.low > 0 or effect.high < 0
        color = "C0" if clear else "C8"
        style = {"color": color, "marker": "o", "ls": "-"}
        ax.plot([effect.low, effect.high], [row, row], color=color, ls="-", lw=2)
        ax.plot(effect.value, row, mfc=color if clear else "white", **style)
        text = f"{effect.value:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]"
        place = {"transform": ax.get_yaxis_transform(), "va": "center"}
        ax.text(1.02, row, text, fontsize=8, family="monospace", **place)
    ax.axvline(0, color="black", lw=0.8, ls="-")
    ax.set_yticks(range(len(effects)), list(effects))
    ax.set_ylim(len(effects) - 0.5, -0.5)
    return ax


def _axes(
    ax: Axes | None,
    title: str,
    xlabel: str,
    ylabel: str,
    figsize: tuple[float, float] | None = None,
) -> Axes:
    """The given axes or new ones, with title and labels."""
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=figsize)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return ax


def _array(values: Any) -> np.ndarray:
    """NumPy array of an array, a list, or a tensor on any device."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


def _principal_axes(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores ``(n, 2)`` on the two main axes, and their shares of the variance."""
    centred = z - z.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return u[:, :2] * s[:2], s[:2] ** 2 / max((s**2).sum(), 1e-30)
