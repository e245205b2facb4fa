"""What one matrix product for all splits saves: `python benchmarks/permutation.py`.

One thread, one process. The loop permutes the rows and columns of the kernel matrix,
which is made once; it is timed on fewer permutations and scaled up. The floor is the
product of the kernel matrix with the 0/1 matrix of all splits.
"""

from __future__ import annotations

import torch
from timing import seconds
from torch import Tensor

from tlcourse.shift import permutation_test, rbf_kernel

N, D, PERMUTATIONS, TIMED = 1000, 20, 1000, 20


def loop(x: Tensor, y: Tensor, sigma: float, permutations: int) -> Tensor:
    """Permute the kernel matrix and take the means of its blocks."""
    z, n = torch.cat([x, y]), len(x)
    k = rbf_kernel(z, z, sigma)
    generator = torch.Generator().manual_seed(0)
    null = []
    for _ in range(permutations):
        order = torch.randperm(len(z), generator=generator)
        p = k[order][:, order]
        xx, yy = p[:n, :n], p[n:, n:]
        own = sum((a.sum() - a.trace()) / (len(a) * (len(a) - 1)) for a in (xx, yy))
        null.append(own - 2 * p[:n, n:].mean())
    return torch.stack(null)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y, sigma = torch.randn(N, D), torch.randn(N, D), 5.0
    found = permutation_test(x, y, num_permutations=TIMED, bandwidth=sigma)
    exact = loop(x.double(), y.double(), sigma, TIMED)
    assert torch.allclose(found.null, exact, atol=1e-6)
    slow = (
        seconds(lambda: loop(x, y, sigma, TIMED), 3)
        - seconds(lambda: loop(x, y, sigma, 1), 3)
    ) / (TIMED - 1)
    fast = seconds(lambda: permutation_test(x, y, bandwidth=sigma), 5)
    k, splits = torch.rand(2 * N, 2 * N), torch.rand(2 * N, PERMUTATIONS)
    floor = seconds(lambda: k @ splits, 5)
    print(f"n = m = {N}, {PERMUTATIONS} permutations")
    print("loop (s)  permutation_test (s)  floor (s)  loop / permutation_test")
    total = slow * PERMUTATIONS
    print(f"{total:8.1f}  {fast:20.2f}  {floor:9.2f}  {total / fast:23.0f}")


if __name__ == "__main__":
    main()
