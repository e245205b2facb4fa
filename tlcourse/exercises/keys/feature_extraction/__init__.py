"""Chapter 03: what is right, and the mistakes that have a name."""

from __future__ import annotations

from tlcourse.exercises.keys.feature_extraction import (
    comparing,
    extracting,
    freezing,
    hunt,
    neighbours,
    replacing,
    ridge,
)

freeze = freezing.freeze
extract_features = extracting.extract_features
ridge_probe = ridge.ridge_probe
knn_predict = neighbours.knn_predict
linear_cka = comparing.linear_cka
replace_head = replacing.replace_head
bug_hunt = hunt.bug_hunt
