"""How many glyph images a second: `python benchmarks/glyph_rate.py`.

One thread; the base glyphs are rendered before the clock starts, and the first
table says what that rendering costs. The last line fails below the course's promise.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from tlcourse import data
from tlcourse.data.glyph_faces import base_glyphs, faces_of

PROMISE = 5_000  # images of 32 x 32 a second


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The best of a few runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def rendering() -> None:
    """Print what rendering the base glyphs costs, once per process."""
    print("script     faces  rendered and checked (s)")
    for script in data.scripts():
        faces_of.cache_clear()
        base_glyphs.cache_clear()
        cost = seconds(lambda script=script: faces_of(script), repeats=1)
        print(f"{script:10} {len(faces_of(script)):5}  {cost:.3f}")


def rates() -> float:
    """Print images a second for a few settings; return that of the promise."""
    print("\nscript  face        size  jitter  images/s")
    promised = 0.0
    for face, size, jitter in (
        ("DejaVuSans", 32, 1.0),
        ("all", 32, 1.0),
        ("DejaVuSans", 16, 1.0),
        ("DejaVuSans", 64, 1.0),
        ("DejaVuSans", 32, 0.0),
    ):
        options = dict(script="latin", face=face, size=size, jitter=jitter)
        data.load("glyphs", per_class=1, **options)
        cost = seconds(lambda o=options: data.load("glyphs", per_class=200, **o))
        rate = 26 * 200 / cost
        promised = promised or rate
        print(f"latin   {face:10}  {size:4}  {jitter:6}  {rate:8.0f}")
    return promised


if __name__ == "__main__":
    torch.set_num_threads(1)
    rendering()
    rate = rates()
    print(f"\npromise: {PROMISE} images/s at 32 x 32; reached {rate / PROMISE:.1f} x")
    assert rate >= PROMISE
