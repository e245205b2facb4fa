"""What every right pair of views satisfies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlcourse.exercises.spec import Case, Property

VIEWS, PICTURES, DRAWS = (
    "two views of each picture",
    "each picture by itself",
    "the generator decides",
)
_SIDE = 8


def _offsets(view: np.ndarray) -> np.ndarray:
    """The offset of each picture as one number; its mark is its brightest pixel."""
    return view[:, 0].reshape(len(view), -1).argmax(1)


def _added(view: np.ndarray, case: Case) -> np.ndarray:
    """How much was added to each picture's second channel."""
    before = case.inputs["x"][:, 1]
    return np.sort(view[:, 1].reshape(len(view), -1)) - np.sort(
        before.reshape(len(view), -1)
    )


def _both(seen: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return seen["v1"], seen["v2"]


def _is_pair(seen: Mapping[str, Any], case: Case) -> bool:
    shape = case.inputs["x"].shape
    return all(v.shape == shape and v.dtype == np.float32 for v in _both(seen))


def _own_pictures(seen: Mapping[str, Any], case: Case) -> bool:
    """Row i of each view is picture i, shifted; the first channel shows it."""
    x = case.inputs["x"][:, 0]
    for view in _both(seen):
        for i, offset in enumerate(_offsets(view)):
            moved = np.roll(x[i], divmod(int(offset), _SIDE), (0, 1))
            if not np.allclose(moved, view[i, 0]):
                return False
    return True


def _augmented(seen: Mapping[str, Any], case: Case) -> bool:
    return all((_added(v, case) > 0.5).all() for v in _both(seen))


def _once(seen: Mapping[str, Any], case: Case) -> bool:
    return all((_added(v, case) < 1.5).all() for v in _both(seen))


def _views_differ(seen: Mapping[str, Any], case: Case) -> bool:
    """Each of 200 pairs agrees with probability 1/64: a fifth is never reached."""
    first, second = map(_offsets, _both(seen))
    return len(first) < 50 or (first == second).mean() < 0.2


def _pictures_differ(seen: Mapping[str, Any], case: Case) -> bool:
    """200 draws of 64 offsets leave about 3 out; half of them never."""
    first, second = map(_offsets, _both(seen))
    return all(len(set(o.tolist())) > _SIDE**2 // 2 for o in (first, second))


PROPERTIES = (
    Property(
        "a pair of views",
        _is_pair,
        "Return two tensors, v1 and v2, each of the shape and dtype of x.",
    ),
    Property(
        "row i shows picture i",
        _own_pictures,
        "Row i of a view does not show picture i: rows were mixed, or the picture "
        "was changed by something else than augment.",
    ),
    Property(
        "both are augmented",
        _augmented,
        "A view is the clean picture. Both views go through augment.",
    ),
    Property(
        "augmented once",
        _once,
        "A view was augmented twice. Each view is one call on the original picture.",
    ),
    Property(
        "the views differ",
        _views_differ,
        "The two views of most pictures are equal. Each needs draws of its own.",
        VIEWS,
    ),
    Property(
        "pictures differ",
        _pictures_differ,
        "All pictures were shifted alike. augment draws once per call: call it "
        "for each picture.",
        PICTURES,
    ),
    Property(
        "equal seeds, equal results",
        lambda seen, case: seen["equal seeds, equal results"],
        "Two generators with one seed gave two results.",
        DRAWS,
    ),
    Property(
        "a later call, another result",
        lambda seen, case: seen["a later call, another result"],
        "Two calls with the same generator gave the same views: every epoch would "
        "repeat the first.",
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
        "A global random state, of torch, NumPy or Python, was changed.",
        DRAWS,
    ),
)
