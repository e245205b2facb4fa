"""Chapter 03: what is asked about frozen features and heads."""

from __future__ import annotations

from tlcourse.exercises.probes.feature_extraction import (
    backbone,
    comparing,
    heads,
    hunt,
)

# In the order in which the chapter asks them.
freeze = backbone.freeze
extract_features = backbone.extract_features
ridge_probe = heads.ridge_probe
knn_predict = heads.knn_predict
linear_cka = comparing.linear_cka
replace_head = heads.replace_head
bug_hunt = hunt.bug_hunt
