"""Sets that ship with scikit-learn: handwritten digits, clinical and wine tables."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tlcourse.arguments import whole
from tlcourse.data.card import Card
from tlcourse.data.dataset import Dataset

_SOURCE = "scikit-learn's own copy of the UCI Machine Learning Repository set"


def load_digits(size: int = 8) -> Dataset:
    """1,797 real handwritten digits, ink white on black.

    Same classes, order and range as ``load("glyphs", script="digits", size=size)``:
    together they make the synthetic-to-real pair of the course.

    Args:
        size: pixels of a side, 8 to 64; above 8 the images are resized bilinearly.

    Raises:
        ValueError: size is out of range.
    """
    whole("size", size, 8, 64)
    from sklearn.datasets import load_digits as read

    raw = read()
    x = torch.tensor(raw.images, dtype=torch.float32)[:, None] / 16  # (n, 1, 8, 8)
    if size != 8:
        x = F.interpolate(x, (size, size), mode="bilinear", align_corners=False)
    card = Card(
        what="handwritten digits of 13 writers, counts of inked pixels in 4 x 4 blocks",
        origin="real",
        source=_SOURCE + " (test part of 'Optical Recognition of Handwritten Digits')",
        licence="CC BY 4.0",
        size=f"{len(x)} images, 10 classes, 1 x {size} x {size}",
        citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998",
    )
    return Dataset(
        x=x,
        y=torch.tensor(raw.target, dtype=torch.int64),
        classes=tuple("0123456789"),
        name="digits",
        domain="handwritten",
        domains=(),
        card=card,
    )


def load_tumours() -> Dataset:
    """Breast tumours: 30 measures of cell nuclei, malignant (0) or benign (1)."""
    from sklearn.datasets import load_breast_cancer

    return _table(
        "tumours",
        load_breast_cancer(),
        "measures of cell nuclei in images of fine needle aspirates",
        "CC BY 4.0",
        "Street, Wolberg and Mangasarian, Nuclear feature extraction for breast "
        "tumor diagnosis, 1993",
    )


def load_wine() -> Dataset:
    """Wines of three growers: 13 chemical measures."""
    from sklearn.datasets import load_wine as read

    return _table(
        "wine",
        read(),
        "chemical analysis of Italian wines from three cultivars",
        "CC BY 4.0",
        "Aeberhard and Forina, Wine, UCI Machine Learning Repository, 1992",
    )


def load_diabetes() -> Dataset:
    """Diabetes patients: 10 measures, disease progression after a year.

    The features are the raw measures (years, mmHg, ...), not scikit-learn's scaled
    ones; the target is a number between 25 and 346, so ``classes`` is empty.
    """
    from sklearn.datasets import load_diabetes as read

    return _table(
        "diabetes",
        read(scaled=False),
        "age, sex, body mass, blood pressure and six serum measures of patients",
        "published with the paper, no licence stated",
        "Efron, Hastie, Johnstone and Tibshirani, Least Angle Regression, 2004",
        source="scikit-learn's own copy of the Least Angle Regression data",
    )


def _table(
    name: str, raw: Any, what: str, licence: str, citation: str, source: str = _SOURCE
) -> Dataset:
    """A table in its own units: scaling belongs to the training split."""
    classes = tuple(str(label) for label in getattr(raw, "target_names", ()))
    x = torch.tensor(raw.data, dtype=torch.float32)  # (n, d)
    kind = f"{len(classes)} classes" if classes else "regression"
    return Dataset(
        x=x,
        y=torch.tensor(raw.target, dtype=torch.int64 if classes else torch.float32),
        classes=classes,
        name=name,
        domain="clinic" if name != "wine" else "laboratory",
        domains=(),
        card=Card(
            what=what,
            origin="real",
            source=source,
            licence=licence,
            size=f"{len(x)} rows, {x.shape[1]} columns, {kind}",
            citation=citation,
        ),
        features=tuple(str(feature) for feature in raw.feature_names),
    )
