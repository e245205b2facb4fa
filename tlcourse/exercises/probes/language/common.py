"""What all of this chapter's probes use."""

from __future__ import annotations

import numpy as np


def words(
    rng: np.random.Generator, lengths: list[int], size: int, extra: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Token numbers ``(b, t)`` padded with 0 on the right, and their mask."""
    t = max(lengths) + extra
    mask = (np.arange(t) < np.array(lengths)[:, None]).astype(np.int64)
    return rng.integers(1, size, (len(lengths), t)) * mask, mask
