"""Metrics against SciPy, scikit-learn and slow loops."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as sk

from tlcourse import metrics


def test_accuracy_counts_the_largest_logit():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, -1.0]])
    assert metrics.accuracy(logits, torch.tensor([0, 0, 0])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("shapes", [((3, 2), (2,)), ((3,), (3,)), ((0, 2), (0,))])
def test_accuracy_refuses_wrong_shapes(shapes):
    with pytest.raises(ValueError, match="logits \\(n, c\\)"):
        metrics.accuracy(torch.zeros(shapes[0]), torch.zeros(shapes[1]).long())


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("counts", [(0, 5), (3, 7), (81, 100), (9, 9), (1, 1)])
def test_wilson_equals_scipy(counts, level):
    ours = metrics.accuracy_interval(*counts, level)
    oracle = stats.binomtest(*counts).proportion_ci(level, method="wilson")
    assert ours.value == counts[0] / counts[1]
    assert ours.low == pytest.approx(oracle.low, abs=1e-12)
    assert ours.high == pytest.approx(oracle.high, abs=1e-12)


@pytest.mark.parametrize("counts", [(-1, 3), (4, 3), (0, 0)])
def test_wilson_refuses_impossible_counts(counts):
    with pytest.raises(ValueError, match="0 <= correct <= n"):
        metrics.accuracy_interval(*counts)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_level_is_a_probability(level):
    with pytest.raises(ValueError, match="level must lie in"):
        metrics.accuracy_interval(1, 2, level)


@pytest.mark.parametrize("n", [2, 5, 40])
def test_mean_interval_equals_scipy(n):
    values = np.random.default_rng(n).normal(3, 2, n)
    ours = metrics.mean_interval(values, 0.9)
    oracle = stats.t.interval(0.9, n - 1, values.mean(), stats.sem(values))
    assert ours == pytest.approx((values.mean(), *oracle))


@pytest.mark.parametrize("values", [[1.0], [1.0, math.nan], [[1.0, 2.0]]])
def test_mean_interval_refuses_what_has_no_interval(values):
    with pytest.raises(ValueError, match="at least 2 finite numbers"):
        metrics.mean_interval(values)


def test_paired_difference_equals_scipys_paired_test():
    rng = np.random.default_rng(0)
    b = rng.normal(size=8)
    a = b + rng.normal(0.3, 0.1, size=8)
    ours = metrics.paired_difference(a, b)
    oracle = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx(tuple(oracle))
    assert ours.value == pytest.approx((a - b).mean())


def test_paired_difference_counts_ties_as_no_win():
    result = metrics.paired_difference([1, 2, 5, 0], [1, 1, 4, 3])
    assert (result.wins, result.n) == (2, 4)


def test_paired_difference_is_antisymmetric():
    a, b = [0.7, 0.9, 0.8], [0.6, 0.5, 0.9]
    there, back = metrics.paired_difference(a, b), metrics.paired_difference(b, a)
    assert (there.value, there.low) == pytest.approx((-back.value, -back.high))


def test_paired_difference_needs_pairs():
    with pytest.raises(ValueError, match="paired by seed"):
        metrics.paired_difference([1, 2, 3], [1, 2])


def test_interval_reads_well():
    assert str(metrics.Interval(0.8321, 0.81, 0.852)) == "0.832 [0.810, 0.852]"
    text = str(metrics.PairedDifference(0.041, 0.02, 0.062, 5, 5))
    assert text == "+0.041 [+0.020, +0.062], higher in 5 of 5"


def test_confusion_matrix_equals_sklearn():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (200,), generator=generator)
    predicted = torch.randint(0, 5, (200,), generator=generator)  # class 4 never true
    ours = metrics.confusion_matrix(predicted, y, 5)
    oracle = sk.confusion_matrix(y, predicted, labels=range(5))
    assert ours.dtype == torch.int64
    np.testing.assert_array_equal(ours, oracle)


def test_confusion_matrix_refuses_unknown_classes():
    with pytest.raises(ValueError, match="predicted must lie in 0..2"):
        metrics.confusion_matrix(torch.tensor([3]), torch.tensor([0]), 3)


def test_confusion_matrix_refuses_logits():
    with pytest.raises(ValueError, match="argmax"):
        metrics.confusion_matrix(torch.zeros(4, 3), torch.zeros(4).long(), 3)


def loop_ece(p, y, bins):
    total = 0.0
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        inside = [i for i in range(len(y)) if low < max(p[i]) <= high and max(p[i]) > 0]
        if inside:
            confidence = sum(max(p[i]) for i in inside) / len(inside)
            right = sum(p[i].index(max(p[i])) == y[i] for i in inside) / len(inside)
            total += len(inside) / len(y) * abs(right - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_error_equals_a_slow_loop(bins):
    generator = torch.Generator().manual_seed(bins)
    p = torch.randn(300, 3, generator=generator).mul(2).softmax(1).double()
    y = torch.randint(0, 3, (300,), generator=generator)
    ours = metrics.expected_calibration_error(p, y, bins)
    assert ours == pytest.approx(loop_ece(p.tolist(), y.tolist(), bins), abs=1e-12)


def test_calibration_error_of_a_sure_liar_is_one():
    p = torch.eye(2)[[0, 1, 0]]
    assert metrics.expected_calibration_error(p, torch.tensor([1, 0, 1])) == 1
    assert metrics.expected_calibration_error(p, torch.tensor([0, 1, 0])) == 0


def test_calibration_error_refuses_logits():
    with pytest.raises(ValueError, match="softmax"):
        metrics.expected_calibration_error(torch.ones(2, 3), torch.tensor([0, 1]))
