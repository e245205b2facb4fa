"""What many episodes at once save: `python benchmarks/episodes.py`.

One thread, one process. 100 prototypical episodes of 5 ways, 1 shot and 15 queries on
features that lie ready: prototypes, logits and accuracy. *Textbook* goes class by class
in every episode, as most published code does; *one by one* calls the package's own
functions for every episode; *batched* calls them once. The last column but one is
drawing the episodes themselves.
"""

from __future__ import annotations

import torch
from timing import seconds
from torch import Tensor

from tlcourse.meta import EpisodeSampler, class_prototypes, proto_logits

EPISODES, WAYS, SHOTS, QUERIES = 100, 5, 1, 15


def textbook(support_z: Tensor, support_y: Tensor, query_z: Tensor, y: Tensor) -> float:
    """One episode: means class by class, all differences, share of right answers."""
    rows = [support_z[support_y == k].mean(0) for k in range(WAYS)]
    prototypes = torch.stack(rows)  # (N, d)
    logits = -(query_z[:, None] - prototypes).square().sum(2)  # (m, N)
    return (logits.argmax(1) == y).float().mean().item()


def batched(support_z: Tensor, support_y: Tensor, query_z: Tensor, y: Tensor) -> Tensor:
    """Any number of episodes: accuracy for each."""
    logits = proto_logits(query_z, class_prototypes(support_z, support_y, WAYS))
    return (logits.argmax(-1) == y).float().mean(-1)


def row(d: int) -> str:
    """One line of the table."""
    torch.manual_seed(0)
    labels = torch.arange(60).repeat_interleave(20)
    z = torch.randn(len(labels), d)
    sampler = EpisodeSampler(labels, WAYS, SHOTS, QUERIES)
    tasks = sampler.draw(torch.Generator().manual_seed(0), EPISODES).take(z)
    parts = (tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)
    single = list(zip(*parts, strict=True))
    slow = torch.tensor([textbook(*task) for task in single])
    assert torch.allclose(slow, batched(*parts))

    def draw_one_by_one() -> list[object]:
        generator = torch.Generator().manual_seed(0)
        return [sampler.draw(generator) for _ in range(EPISODES)]

    times = [
        1e3 * seconds(work, 20)
        for work in (
            lambda: [textbook(*task) for task in single],
            lambda: [batched(*task) for task in single],
            lambda: batched(*parts),
            draw_one_by_one,
            lambda: sampler.draw(torch.Generator().manual_seed(0), EPISODES),
        )
    ]
    columns = "  ".join(f"{t:10.2f}" for t in times[:3])
    ratios = f"{times[0] / times[2]:18.0f}  {times[1] / times[2]:20.0f}"
    return f"{d:3}  {columns}  {ratios}  {times[3] / times[4]:13.0f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(
        "  d  textbook (ms)  one by one (ms)  batched (ms)  textbook / batched  "
        "one by one / batched  the same, drawing"
    )
    for width in (64, 256):
        print(row(width))
