"""The class as a picture: a histogram that suits light and dark pages."""

from __future__ import annotations

import io

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlcourse.grading.pages import number
from tlcourse.grading.report.statistics import Histogram
from tlcourse.plots import STYLE

# Stands for the page's own text colour, which the browser knows and matplotlib not.
_INK = "#0a0b0c"
_SETTINGS = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "svg.hashsalt": "tlcourse",  # the same class, the same bytes
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def points_svg(bars: Histogram, median: float, full: float) -> str:
    """Histogram of points as an SVG element; the title says where the middle is."""
    with matplotlib.style.context(STYLE), matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(7.2, 3.0), facecolor="none")
        ax = figure.subplots()
        ax.set_facecolor("none")
        _draw(ax, bars, median, full)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace(_INK, "currentColor")


def _draw(ax: Axes, bars: Histogram, median: float, full: float) -> None:
    left, width = bars.edges[:-1], bars.edges[1] - bars.edges[0]
    ax.bar(left, bars.counts, width=0.94 * width, align="edge", color="C0")
    ax.axvline(median, color="C6", ls="--", lw=1.6, label=f"median {number(median)}")
    middle = f"Half of the class has {number(median)} or more of {number(full)} points"
    ax.set_title("Everyone has full marks" if _all_full(bars) else middle)
    ax.set_xlabel("points by machine (a bar counts from its left edge up to the next)")
    ax.set_ylabel("submissions")
    ax.set_xticks(left, [number(edge) for edge in left])
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.grid(False, axis="x")
    ax.margins(x=0.02)
    # Above the axes, where no bar can be.
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), borderaxespad=0)


def _all_full(bars: Histogram) -> bool:
    """Whether only the last bar, full marks, has submissions."""
    return not any(bars.counts[:-1])
