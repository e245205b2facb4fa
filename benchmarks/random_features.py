"""MMD² of large samples: `python benchmarks/random_features.py`.

One thread. Random features and the linear-time estimate, each with its standard
error, beside mmd2 on as many samples as it can take in a few seconds.
"""

from __future__ import annotations

import time

import torch

from tlcourse.shift import mmd2, mmd_linear_time, mmd_random_features

N, PART, D, SIGMA = 100_000, 10_000, 64, 8.0


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.randn(N, D), torch.randn(N, D) + 0.1
    print(f"d = {D}        n = m  seconds       MMD²  standard error")
    start = time.perf_counter()
    exact = float(mmd2(x[:PART], y[:PART], SIGMA))
    spent = time.perf_counter() - start
    print(f"{'mmd2':10}{PART:10,}{spent:9.2f}{exact:11.5f}  (all pairs)")
    for features in (256, 1024):
        start = time.perf_counter()
        found = mmd_random_features(x, y, SIGMA, features)
        spent = time.perf_counter() - start
        name, error = f"{features} feat.", float(found.variance) ** 0.5
        print(f"{name:10}{N:10,}{spent:9.2f}{float(found.value):11.5f}  {error:.5f}")
        assert abs(float(found.value) - exact) < 6 * error + 0.1 * abs(exact)
    start = time.perf_counter()
    found = mmd_linear_time(x, y, SIGMA)
    spent = time.perf_counter() - start
    error = float(found.variance) ** 0.5
    print(f"{'linear':10}{N:10,}{spent:9.2f}{float(found.value):11.5f}  {error:.5f}")


if __name__ == "__main__":
    main()
