"""What the feature form of linear CKA saves: `python benchmarks/cka.py`.

One thread, best of a few runs in one process. The floor is the three matrix
products alone; the Gram form builds the n x n matrices as the definition does.
"""

from __future__ import annotations

import torch
from timing import seconds
from torch import Tensor

from tlcourse.features import linear_cka


def gram_form(a: Tensor, b: Tensor) -> Tensor:
    """CKA from centred Gram matrices (n, n)."""
    a, b = a - a.mean(0), b - b.mean(0)
    k, m = a @ a.T, b @ b.T  # (n, n)
    return (k * m).sum() / (k.norm() * m.norm())


def products(a: Tensor, b: Tensor) -> list[Tensor]:
    """The three products (d, d) that no form can do without."""
    return [b.T @ a, a.T @ a, b.T @ b]


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("   n     d  Gram (ms)  plain (ms)  debiased (ms)  floor (ms)  Gram / plain")
    for n, d in ((1000, 96), (4000, 256)):
        a, b = torch.randn(n, d), torch.randn(n, d)
        exact = gram_form(a.double(), b.double())
        assert torch.allclose(exact, linear_cka(a.double(), b.double()))
        times = [
            1e3 * seconds(work)
            for work in (
                lambda a=a, b=b: gram_form(a, b),
                lambda a=a, b=b: linear_cka(a, b),
                lambda a=a, b=b: linear_cka(a, b, debiased=True),
                lambda a=a, b=b: products(a, b),
            )
        ]
        columns = "  ".join(f"{t:9.1f}" for t in times)
        print(f"{n:4}  {d:4}  {columns}  {times[0] / times[1]:9.1f}")
