"""Measures of how far two domains lie apart, tests, and corrections for the shift."""

from __future__ import annotations

from tlcourse.shift.distances import coral_distance, energy_distance, sliced_wasserstein
from tlcourse.shift.domain_classifier import domain_logits, proxy_a_distance
from tlcourse.shift.estimators import MmdEstimate, mmd_linear_time, mmd_random_features
from tlcourse.shift.kernels import median_heuristic, rbf_kernel
from tlcourse.shift.mmd import mmd2
from tlcourse.shift.two_sample import PermutationTest, permutation_test
from tlcourse.shift.weighting import bbse, importance_weights

__all__ = [
    "MmdEstimate",
    "PermutationTest",
    "bbse",
    "coral_distance",
    "domain_logits",
    "energy_distance",
    "importance_weights",
    "median_heuristic",
    "mmd2",
    "mmd_linear_time",
    "mmd_random_features",
    "permutation_test",
    "proxy_a_distance",
    "rbf_kernel",
    "sliced_wasserstein",
]
