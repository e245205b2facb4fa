"""Transfer by features: freeze a network, read it, fit a head, compare layers."""

from __future__ import annotations

from tlcourse.features.extraction import extract_features
from tlcourse.features.freezing import freeze, unfreeze
from tlcourse.features.heads import knn_predict, nearest, ridge_probe
from tlcourse.features.similarity import linear_cka

__all__ = [
    "extract_features",
    "freeze",
    "knn_predict",
    "linear_cka",
    "nearest",
    "ridge_probe",
    "unfreeze",
]
