"""Figures: what they show is what was given, labelled and small."""

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy import stats

from tlcourse import metrics, plots

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def course_style():
    with plt.style.context(plots.STYLE):
        yield
    plt.close("all")


def png_size(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return len(stream.getvalue())


def curves(runs=5):
    return {name: RNG.random((runs, 4)) for name in ("scratch", "probe", "fine-tune")}


def labels():
    return {"title": "Message", "xlabel": "labels per class", "ylabel": "accuracy"}


def test_style_uses_petroff_colours_each_with_a_dash():
    cycle = list(plt.rcParams["axes.prop_cycle"])
    with plt.style.context("petroff10"):
        expected = [entry["color"] for entry in plt.rcParams["axes.prop_cycle"]]
    assert ["#" + entry["color"].lstrip("#") for entry in cycle] == expected
    assert len({entry["linestyle"] for entry in cycle[:4]}) == 4


def test_learning_curve_draws_means_and_bands():
    given = curves()
    ax = plots.learning_curve([1, 2, 5, 20], given, **labels())
    for line, band, runs in zip(ax.lines, ax.collections, given.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), runs.mean(0))
        top = stats.t.interval(0.95, 4, runs.mean(0), stats.sem(runs))[1].max()
        assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(top)
    assert (ax.get_title("left"), ax.get_xlabel(), ax.get_ylabel()) == (
        "Message",
        "labels per class",
        "accuracy",
    )


def test_learning_curve_tells_curves_apart_without_colour():
    ax = plots.learning_curve([1, 2, 5, 20], curves(), **labels())
    looks = {(line.get_linestyle(), line.get_marker()) for line in ax.lines}
    assert len(looks) == 3
    assert len({line.get_marker() for line in ax.lines}) == 3


def test_learning_curve_of_one_run_has_no_band():
    ax = plots.learning_curve([1, 2], {"one": [0.1, 0.2]}, **labels())
    assert not ax.collections


def test_learning_curve_log_axis_shows_the_positions():
    ax = plots.learning_curve([1, 5, 20], {"a": [1, 2, 3]}, log_x=True, **labels())
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "5", "20"]


@pytest.mark.parametrize(
    ("x", "values", "message"),
    [([0, 1], [1, 2], "positive x"), ([1, 2], [1, 2, 3], "curve 'a' must be")],
)
def test_learning_curve_refuses_bad_input(x, values, message):
    with pytest.raises(ValueError, match=message):
        plots.learning_curve(x, {"a": values}, log_x=True, **labels())


def test_learning_curve_draws_where_it_is_told():
    _, ax = plt.subplots()
    assert plots.learning_curve([1, 2], {"a": [1, 2]}, ax=ax, **labels()) is ax


def test_embedding_keeps_two_columns_as_they_are():
    z, y = torch.randn(30, 2), torch.arange(30) % 3
    ax = plots.embedding(z, y, title="t", classes=["a", "b", "c"])
    drawn = np.concatenate([group.get_offsets() for group in ax.collections])
    np.testing.assert_allclose(drawn, torch.cat([z[y == i] for i in range(3)]))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]


def test_embedding_projects_on_the_main_axes():
    from sklearn.decomposition import PCA

    z = RNG.normal(size=(60, 5)) * [5, 3, 1, 1, 1]
    ax = plots.embedding(z, np.zeros(60, int), title="t")
    oracle = PCA(2).fit(z)
    drawn = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_allclose(np.abs(drawn), np.abs(oracle.transform(z)), atol=1e-9)
    share = oracle.explained_variance_ratio_[0]
    assert ax.get_xlabel() == f"component 1 ({share:.0%} of variance)"


def test_embedding_refuses_unequal_lengths():
    with pytest.raises(ValueError, match=r"z \(n, d\)"):
        plots.embedding(torch.randn(5, 2), torch.zeros(4), title="t")


@pytest.mark.parametrize("channels", [1, 3])
def test_image_grid_shows_every_picture(channels):
    x = torch.rand(11, channels, 8, 8)
    figure = plots.image_grid(x, title="t", labels=[str(i) for i in range(11)])
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(shown) == 11
    np.testing.assert_allclose(
        np.squeeze(shown[10]), x[10].permute(1, 2, 0).squeeze(), rtol=1e-6
    )
    assert [ax.get_title("center") for ax in figure.axes[:11]][-1] == "10"


@pytest.mark.parametrize(
    ("x", "names", "message"),
    [
        (torch.rand(3, 8, 8), None, "need pictures"),
        (torch.rand(3, 2, 8, 8), None, "need pictures"),
        (torch.rand(3, 1, 8, 8), ["a"], "3 pictures but 1 labels"),
    ],
)
def test_image_grid_refuses_bad_input(x, names, message):
    with pytest.raises(ValueError, match=message):
        plots.image_grid(x, title="t", labels=names)


def test_confusion_writes_counts_and_colours_row_shares():
    matrix = torch.tensor([[8, 2], [0, 0]])
    ax = plots.confusion(matrix, ["cat", "dog"], title="t")
    assert [text.get_text() for text in ax.texts] == ["8", "2", "0", "0"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.8, 0.2], [0, 0]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")


def test_confusion_refuses_another_number_of_classes():
    with pytest.raises(ValueError, match="for 3 classes"):
        plots.confusion(torch.ones(2, 2), ["a", "b", "c"], title="t")


def test_effect_table_draws_and_writes_each_effect():
    effects = {
        "clear": metrics.paired_difference([0.9, 0.8, 0.85], [0.5, 0.42, 0.44]),
        "unclear": metrics.Interval(0.01, -0.02, 0.04),
    }
    ax = plots.effect_table(effects, title="t", xlabel="change of accuracy")
    assert [label.get_text() for label in ax.get_yticklabels()] == list(effects)
    assert ax.texts[1].get_text() == "+0.010 [-0.020, +0.040]"
    assert list(ax.lines[2].get_xdata()) == [-0.02, 0.04]
    faces = [ax.lines[i].get_markerfacecolor() for i in (1, 3)]
    assert faces[0] != "white" and faces[1] == "white"


def test_effect_table_needs_effects():
    with pytest.raises(ValueError, match="effects is empty"):
        plots.effect_table({}, title="t", xlabel="x")


def test_figures_stay_small():
    y = np.arange(300) % 10
    axes = [
        plots.learning_curve([1, 2, 5, 20], curves(), **labels()),
        plots.embedding(RNG.normal(size=(300, 2)), y, title="t"),
        plots.confusion(RNG.integers(0, 50, (10, 10)), list("0123456789"), title="t"),
    ]
    figures = [ax.figure for ax in axes]
    disc = torch.linspace(-1, 1, 32).square()
    discs = (disc[:, None] + disc < 0.6).float().expand(24, 1, 32, 32)
    figures.append(plots.image_grid(discs, title="t"))
    assert [size for size in map(png_size, figures) if size > 60_000] == []


def test_use_style_sets_the_style():
    plots.use_style()
    assert plt.rcParams["figure.dpi"] == 100
