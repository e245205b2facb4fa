"""What one outer step of MAML costs in three ways: `python benchmarks/maml.py`.

One thread, one process, best of several runs. The sinusoid learner is a perceptron
1-40-40-1; the picture learner is Conv4, four blocks of 64 channels with GroupNorm on
28 x 28 pixels, 5-way 1-shot. Under ``vmap`` every task has its own filters, and torch
computes that as one convolution with as many groups as tasks: on a CPU no faster than
task by task, and all tasks' graphs are held at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from timing import seconds
from torch import Tensor, nn

from tlcourse import meta

Work = Callable[[], tuple[dict[str, Tensor], Tensor]]
TASKS, STEPS = 32, 5


def sinusoids() -> dict[str, Work]:
    """MAML on waves, K = 10."""
    loss = meta.module_loss(meta.sinusoid_model(), F.mse_loss)
    data = meta.sinusoid_batch(TASKS, 10, 10, torch.Generator().manual_seed(0))
    step = partial(meta.maml_grad, loss, loss.params(), *data, 0.01, STEPS)
    return {way: partial(step, tasks=way) for way in ("loop", "vmap", "batched")}


def conv4(num_tasks: int, steps: int) -> dict[str, Work]:
    """MAML on pictures (random ones: the time does not depend on them)."""
    torch.manual_seed(0)
    blocks: list[nn.Module] = []
    for channels in (1, 64, 64, 64):
        conv = nn.Conv2d(channels, 64, 3, padding=1)
        blocks += [conv, nn.GroupNorm(8, 64), nn.ReLU(), nn.MaxPool2d(2)]
    loss = meta.module_loss(nn.Sequential(*blocks, nn.Flatten(), nn.Linear(64, 5)))
    x, y = torch.rand(num_tasks, 5, 1, 28, 28), torch.arange(5).expand(num_tasks, 5)
    step = partial(meta.maml_grad, loss, loss.params(), (x, y), (x, y), 0.1, steps)
    return {way: partial(step, tasks=way) for way in ("loop", "vmap")}


def check(ways: dict[str, Work]) -> None:
    """All ways give the loop's gradient; this is the warm-up, too."""
    wanted, _ = ways["loop"]()
    norm = torch.cat([g.flatten() for g in wanted.values()]).norm()
    for name, work in ways.items():
        off = torch.cat([(g - wanted[n]).flatten() for n, g in work()[0].items()])
        assert off.norm() < 1e-3 * norm, name


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{'learner':42}  {'way':7}  {'ms':>7}  loop / way")
    for title, ways, rounds in (
        (f"sinusoids, {TASKS} tasks x {STEPS} inner steps", sinusoids(), 15),
        (f"Conv4-64, {TASKS} tasks x 1 inner step", conv4(TASKS, 1), 2),
    ):
        check(ways)
        best = {way: seconds(work, rounds) for way, work in ways.items()}
        for way, spent in best.items():
            ratio = best["loop"] / spent
            print(f"{title:42}  {way:7}  {spent * 1e3:7.1f}  {ratio:10.1f}")


if __name__ == "__main__":
    main()
