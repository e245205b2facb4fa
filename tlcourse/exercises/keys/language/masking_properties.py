"""What every right masking satisfies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlcourse.exercises.keys.language.masking_counts import chosen, excess, near
from tlcourse.exercises.keys.language.masking_fates import FATES
from tlcourse.exercises.spec import Case, Property

CHOSEN, LABELS, DRAWS = "which tokens", "labels", "the generator decides"


def _is_pair(seen: Mapping[str, Any], case: Case) -> bool:
    arrays = seen["inputs"], seen["labels"]
    shape = case.inputs["ids"].shape
    return all(a.shape == shape and a.dtype == np.int64 for a in arrays)


def _specials_stay(seen: Mapping[str, Any], case: Case) -> bool:
    return not chosen(seen, case)[case.inputs["special"]].any()


def _share(seen: Mapping[str, Any], case: Case) -> bool:
    ordinary = ~case.inputs["special"]
    count = chosen(seen, case)[ordinary].sum()
    return near(count, ordinary.sum(), case.inputs["probability"])


def _uneven(seen: Mapping[str, Any], case: Case, axis: int) -> float:
    p = case.inputs["probability"]
    ordinary = ~case.inputs["special"]
    return 0.0 if p == 1 else excess(chosen(seen, case), ordinary, p, axis)


def _may_be_none(seen: Mapping[str, Any], case: Case) -> bool:
    """Some text has no chosen token, if 50 are expected to have none."""
    ordinary, p = ~case.inputs["special"], case.inputs["probability"]
    expected = ((1 - p) ** ordinary.sum(1)).sum()
    return expected < 50 or 0 in (chosen(seen, case) & ordinary).sum(1)


def _labels_right(seen: Mapping[str, Any], case: Case) -> bool:
    labels = seen["labels"]
    return bool(((labels == -100) | (labels == case.inputs["ids"])).all())


def _labels_complete(seen: Mapping[str, Any], case: Case) -> bool:
    changed = seen["inputs"] != case.inputs["ids"]
    return bool((seen["labels"][changed] != -100).all())


def _labels_of_chosen_only(seen: Mapping[str, Any], case: Case) -> bool:
    p = case.inputs["probability"]
    share = (seen["labels"] != -100)[~case.inputs["special"]].mean()
    return p / 2 < share < p + 0.2


PROPERTIES = (
    Property(
        "pair of int64 tensors",
        _is_pair,
        "Return two int64 tensors of the shape of ids: inputs and labels.",
    ),
    Property(
        "specials stay",
        _specials_stay,
        "A special position was changed or has a label. Nothing may be chosen "
        "where `special` is True.",
        CHOSEN,
    ),
    Property(
        "may be none",
        _may_be_none,
        "There is a chosen token in every text, however short it is. Where each "
        "position is chosen by itself, the number varies, and may be 0.",
        CHOSEN,
    ),
    Property(
        "numbers vary",
        lambda seen, case: _uneven(seen, case, 1) > -8,
        "Each text has the same number of chosen tokens. Where each position is "
        "chosen by itself, the number varies.",
        CHOSEN,
    ),
    Property(
        "share chosen",
        _share,
        "The share of ordinary tokens that are chosen is not `probability`.",
        CHOSEN,
    ),
    Property(
        "places differ",
        lambda seen, case: _uneven(seen, case, 0) < 8,
        "The same positions are chosen in all texts of the batch.",
        CHOSEN,
    ),
    Property(
        "texts differ",
        lambda seen, case: _uneven(seen, case, 1) < 8,
        "Some texts have far too many chosen tokens and others too few: each "
        "position must be chosen by itself.",
        CHOSEN,
    ),
    Property(
        "labels are the originals",
        _labels_right,
        "A label is neither -100 nor the original token of its position.",
        LABELS,
    ),
    Property(
        "every changed token has a label",
        _labels_complete,
        "A token was changed and its label is -100: the model is not asked for it.",
        LABELS,
    ),
    Property(
        "only chosen tokens have labels",
        _labels_of_chosen_only,
        "Tokens that were not chosen have labels, or chosen ones have none.",
        LABELS,
    ),
    Property(
        "equal seeds, equal results",
        lambda seen, case: seen["equal seeds, equal results"],
        "Two generators with one seed gave two results.",
        DRAWS,
    ),
    Property(
        "a text remains",
        lambda seen, case: (seen["inputs"] == case.inputs["ids"]).mean() > 0.5,
        "With probability 0.15 most tokens must stay as they are.",
        DRAWS,
    ),
    Property(
        "a later call, another result",
        lambda seen, case: seen["a later call, another result"],
        "Two calls with the same generator gave the same result.",
        DRAWS,
    ),
    Property(
        "another seed, another result",
        lambda seen, case: seen["another seed, another result"],
        "Another seed of the generator gave the same result.",
        DRAWS,
    ),
    Property(
        "the global state stays",
        lambda seen, case: seen["the global state stays"],
        "torch's global random state was changed.",
        DRAWS,
    ),
    *FATES,
)
