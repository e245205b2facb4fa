"""The bug hunt: what is true of every right script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlcourse.exercises.probes.fine_tuning.hunt import GROUPS, IDLE
from tlcourse.exercises.spec import Case, Property

_LEARNS, _FROZEN, _RATE, _CLEAN, _BEST = GROUPS


def _steps_counted(seen: Mapping[str, Any], case: Case) -> bool:
    # A scheduler of torch asks one step past the end.
    asked = [step for step in seen["steps asked"] if step != seen["steps"]]
    # Not range(steps): a number that is claimed can be of any size.
    return len(asked) == seen["steps"] and asked == list(range(len(asked)))


def _rates_applied(seen: Mapping[str, Any], case: Case) -> bool:
    """No weight moves in a step of rate 0; what the last step does is not seen."""
    moved = seen["steps that moved"]
    wanted = [step not in IDLE for step in range(len(moved))]
    return len(moved) == seen["steps"] - 1 and moved == wanted


def _stem_kept(seen: Mapping[str, Any], case: Case) -> bool:
    trained = len(seen["marked in training"]) > 0
    return trained and not seen["stem moved"] and not seen["stem in train mode"]


def _one(case: Case) -> float:
    return 1.5 / len(case.inputs["y_val"])  # ties and rounding: one sample


def _best_kept(seen: Mapping[str, Any], case: Case) -> bool:
    return 0 < seen["best"] < seen["accuracy"] + _one(case)


def _best_reported(seen: Mapping[str, Any], case: Case) -> bool:
    return seen["best"] > 0 and abs(seen["reported"] - seen["best"]) < _one(case)


def _all_of_it(seen: Mapping[str, Any], case: Case) -> bool:
    return set(case.inputs["x_val"][:, 0].tolist()) <= set(seen["rows in validation"])


def _fresh(seen: Mapping[str, Any], case: Case) -> bool:
    rows = seen["rows in training"]
    return len(set(rows)) > 0.9 * len(rows)


PROPERTIES = (
    Property(
        "head_learns",
        lambda seen, case: seen["head moved"] and seen["outputs"] == 4,
        "The head has the same weights in the last step as in the first, or not "
        "one output per class. Which tensors does the optimiser hold?",
        group=_LEARNS,
    ),
    Property(
        "body_learns",
        lambda seen, case: seen["body moved"],
        "The body does not learn; only the stem is meant to be frozen.",
        group=_LEARNS,
    ),
    Property(
        "body_trains",
        lambda seen, case: seen["body always in train mode"],
        "In some training passes the body's BatchNorm was in eval mode; only the "
        "stem is meant to be.",
        group=_LEARNS,
    ),
    Property(
        "stem_frozen",
        _stem_kept,
        "The frozen stem changes, or normalises by the batch: its weights, its "
        "running statistics or its mode are not what they were.",
        group=_FROZEN,
    ),
    Property(
        "rate_per_step",
        _steps_counted,
        "rate was not asked once for each of the optimiser steps, from 0 to the last.",
        group=_RATE,
    ),
    Property(
        "rate_from_step_0",
        lambda seen, case: seen["steps asked"][:1] == [0],
        "The first rate that was asked for is not that of step 0.",
        group=_RATE,
    ),
    Property(
        "rate_applied",
        _rates_applied,
        "Some steps moved the weights where rate is 0 (in this case it is, for a "
        "few steps), or the other way round: each step takes its own rate.",
        group=_RATE,
    ),
    Property(
        "validation_clean",
        lambda seen, case: (
            not any(seen["marked in validation"])
            and len(seen["marked in validation"]) > 0
        ),
        "The network was shown augmented samples in eval mode: the accuracy that "
        "picks the best epoch is measured on other data than x_val.",
        group=_CLEAN,
    ),
    Property(
        "validation_whole",
        _all_of_it,
        "Not every sample of x_val was shown to the network, as it is, in eval "
        "mode: the accuracy that picks the best epoch is about something else.",
        group=_CLEAN,
    ),
    Property(
        "validation_in_eval_mode",
        lambda seen, case: not seen["validation in train mode"],
        "The validation runs in train mode.",
        group=_CLEAN,
    ),
    Property(
        "augmented_afresh",
        _fresh,
        "The epochs train on the same augmented samples. Every batch is augmented "
        "anew.",
        group=_CLEAN,
    ),
    Property(
        "training_augmented",
        lambda seen, case: (
            all(seen["marked in training"]) and len(seen["marked in training"]) > 0
        ),
        "The network was trained on samples that had not been augmented. Only the "
        "validation is clean.",
        group=_CLEAN,
    ),
    Property(
        "best_kept",
        _best_kept,
        "The model that comes back is not the best one that was evaluated.",
        group=_BEST,
    ),
    Property(
        "best_reported",
        _best_reported,
        "What is returned is not the best validation accuracy.",
        group=_BEST,
    ),
)
