"""The networks whose stages are asked about."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tlcourse.exercises.probes.fine_tuning.common import Row, stage


class Tied(nn.Module):
    """A table of tokens whose weights are the classifier's, too."""

    def __init__(self) -> None:
        """The table first, the classifier last."""
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.mix = nn.Linear(4, 4)
        self.out = nn.Linear(4, 7)
        self.out.weight = self.embed.weight


class TiedBackwards(nn.Module):
    """The same, but the classifier is registered first."""

    def __init__(self) -> None:
        """The classifier first, the table last."""
        super().__init__()
        self.out = nn.Linear(4, 7)
        self.mix = nn.Linear(4, 4)
        self.embed = nn.Embedding(7, 4)
        self.embed.weight = self.out.weight


class Scaled(Row):
    """A row with a parameter of its own."""

    def __init__(self, **parts: nn.Module) -> None:
        """The parts, and a scale for the output."""
        super().__init__(**parts)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        """``(b, d)`` to ``(b, 3)``."""
        return super().forward(x) * self.scale


def _plain(*widths: int) -> Row:
    pairs = zip(widths, widths[1:], strict=False)
    parts = {f"part{i}": stage(a, b) for i, (a, b) in enumerate(pairs)}
    return Row(**parts, head=nn.Linear(widths[-1], 3))


NETS = {
    "four": lambda: _plain(6, 5, 4, 4),
    "three": lambda: _plain(6, 5, 4),
    "two": lambda: _plain(6, 5),
    "twins": lambda: Row(
        body=stage(6, 5), body2=stage(5, 4), body21=stage(4, 4), head=nn.Linear(4, 3)
    ),
    "twins backwards": lambda: Row(
        body21=stage(6, 5), body2=stage(5, 4), body=stage(4, 4), head=nn.Linear(4, 3)
    ),
    "tied": Tied,
    "tied backwards": TiedBackwards,
    "scaled": lambda: Scaled(part0=stage(6, 4), head=nn.Linear(4, 3)),
    "dropout": lambda: Row(
        part0=nn.Sequential(stage(6, 5), nn.Dropout(0.1)),
        part1=nn.Sequential(stage(5, 4), nn.Dropout(0.1)),
        head=nn.Linear(4, 3),
    ),
}
