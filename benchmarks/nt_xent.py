"""What row blocks save in NT-Xent: `python benchmarks/nt_xent.py`.

One thread, forward and backward, best of a few runs in one process, each after one to
warm up. Plain cross-entropy is the form of most tutorials: all 2n x 2n similarities,
the diagonal filled with -inf, `cross_entropy`. The floor is the three matrix products
that any form with row blocks needs. Peak memory is that of a fresh process, beyond
what it held before (Linux only).
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import seconds
from torch import Tensor

from tlcourse.losses import nt_xent

PAIRS, D, TAU = 4096, 128, 0.5


def plain(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of the whole similarity matrix."""
    n = len(z1)
    u = F.normalize(torch.cat([z1, z2]), dim=1)
    own = torch.eye(2 * n, dtype=torch.bool)
    logits = (u @ u.T / temperature).masked_fill(own, -math.inf)
    return F.cross_entropy(logits, (torch.arange(2 * n) + n) % (2 * n))


def lightly_form(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """The same by lightly."""
    from lightly.loss import NTXentLoss

    return NTXentLoss(temperature)(z1, z2)


FORMS = {"lightly": lightly_form, "plain": plain, "nt_xent": nt_xent}


def with_gradient(form: Callable[..., Tensor], n: int = PAIRS) -> tuple[Tensor, Tensor]:
    """Value, and gradient of the first view."""
    generator = torch.Generator().manual_seed(0)
    z1, z2 = torch.randn(2, n, D, generator=generator)
    z1, z2 = z1.requires_grad_(), z2.requires_grad_()
    value = form(z1, z2, TAU)
    value.backward()
    return value.detach(), z1.grad


def floor() -> None:
    """The matrix products alone."""
    u = torch.randn(2 * PAIRS, D)
    s = torch.empty(256, 2 * PAIRS)
    total = torch.zeros_like(u)
    for rows in u.split(256):
        torch.mm(rows, u.T, out=s)
        s @ u
        total.addmm_(s.T, rows)


def peak(form: str) -> float:
    """Peak memory in MB of one run in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, form], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def report_peak(form: str) -> None:
    """Print by how much this process grew at most."""
    torch.set_num_threads(1)
    with_gradient(FORMS[form], 64)  # libraries load
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    with_gradient(FORMS[form])
    print(_memory("VmHWM") - before)


def _memory(field: str) -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) / 1024


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    values = {name: with_gradient(form) for name, form in FORMS.items()}
    for value, gradient in values.values():
        torch.testing.assert_close(value, values["plain"][0], rtol=1e-5, atol=0)
        torch.testing.assert_close(gradient, values["plain"][1], rtol=1e-3, atol=1e-9)
    times = {
        name: seconds(lambda f=f: with_gradient(f), 3) for name, f in FORMS.items()
    }
    bottom = seconds(floor, 3)
    print(f"{PAIRS} pairs, d = {D}, forward and backward; floor {bottom:.2f} s")
    print("form      seconds  x nt_xent  peak memory (MB)")
    linux = Path("/proc/self/clear_refs").exists()
    for name, spent in times.items():
        memory = f"{peak(name):16.0f}" if linux else f"{'-':>16}"
        print(f"{name:8} {spent:8.2f} {spent / times['nt_xent']:10.1f}  {memory}")


if __name__ == "__main__":
    report_peak(sys.argv[1]) if len(sys.argv) > 1 else main()
