"""What the block form of MMD² saves: `python benchmarks/mmd.py`.

One thread, best of a few runs in one process. The pooled form is the one most often
seen: torch.cdist of the pooled samples, then five kernels on the whole matrix. The
separate form does the same on three smaller matrices. The floor is the three matrix
products x x', y y' and x y' alone; the block form needs half of the first two.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from timing import seconds
from torch import Tensor

from tlcourse.shift import median_heuristic, mmd2

N, D = 2000, 256
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def _kernel(a: Tensor, b: Tensor, sigmas: list[float]) -> Tensor:
    squared = torch.cdist(a, b) ** 2
    return sum(torch.exp(-squared / (2 * s**2)) for s in sigmas) / len(sigmas)


def _estimate(xx: Tensor, yy: Tensor, xy: Tensor) -> Tensor:
    n, m = xy.shape
    within_x = (xx.sum() - xx.diagonal().sum()) / (n * (n - 1))
    within_y = (yy.sum() - yy.diagonal().sum()) / (m * (m - 1))
    return within_x + within_y - 2 * xy.mean()


def pooled_form(x: Tensor, y: Tensor, sigmas: list[float] | None) -> Tensor:
    """One matrix of the pooled samples; its off-diagonal median by default."""
    z, n = torch.cat([x, y]), len(x)
    if sigmas is None:
        distances = torch.cdist(z.detach(), z.detach())
        off = ~torch.eye(len(z), dtype=torch.bool)
        sigma = float(distances[off].median())
        sigmas = [sigma * f**0.5 for f in FACTORS]
    k = _kernel(z, z, sigmas)
    return _estimate(k[:n, :n], k[n:, n:], k[:n, n:])


def separate_form(x: Tensor, y: Tensor, sigmas: list[float]) -> Tensor:
    """Three matrices."""
    return _estimate(*(_kernel(a, b, sigmas) for a, b in ((x, x), (y, y), (x, y))))


def with_gradient(form: Callable[..., Tensor], x: Tensor, y: Tensor, s: object) -> None:
    """Value and gradient of both samples."""
    a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
    form(a, b, s).backward()


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.randn(N, D), torch.randn(N, D) + 0.1
    sigma = float(median_heuristic(x, y))
    sigmas = [sigma * f**0.5 for f in FACTORS]
    exact = float(separate_form(x.double(), y.double(), sigmas))
    error = abs(float(mmd2(x, y, sigmas)) / exact - 1)
    assert error < 1e-4
    forms = {"pooled": pooled_form, "separate": separate_form, "mmd2": mmd2}
    works = {
        "value, five kernels": {
            name: lambda f=f: f(x, y, sigmas) for name, f in forms.items()
        },
        "value and gradient": {
            name: lambda f=f: with_gradient(f, x, y, sigmas)
            for name, f in forms.items()
        },
        "value, median included": {
            "pooled": lambda: pooled_form(x, y, None),
            "mmd2": lambda: mmd2(x, y),
        },
    }
    print(f"n = m = {N}, d = {D}; error of mmd2 in float32: {error:.0e} of its value")
    print(f"floor: {1e3 * seconds(lambda: (x @ x.T, y @ y.T, x @ y.T), 7):.0f} ms\n")
    print(f"{'ms':24}{'pooled':>9}{'separate':>10}{'mmd2':>7}{'pooled / mmd2':>15}")
    for title, row in works.items():
        ms = {
            name: 1e3 * seconds(f, 7 if name == "mmd2" else 3)
            for name, f in row.items()
        }
        separate = f"{ms['separate']:10.0f}" if "separate" in ms else f"{'':10}"
        ratio = ms["pooled"] / ms["mmd2"]
        print(f"{title:24}{ms['pooled']:9.0f}{separate}{ms['mmd2']:7.0f}{ratio:15.1f}")


if __name__ == "__main__":
    main()
