"""Augmentations of pictures: what they change, the embedding learns to ignore.

Each is called as ``augment(x, generator)`` with pictures ``(b, c, h, w)`` in [0, 1] and
a CPU generator, draws anew for every picture, and returns new pictures of that shape on
the same device. ``training.fit`` and ``pretrain`` take them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.arguments import positive
from tlcourse.data.jitter import check_strength, jittered

Augment = Callable[[Tensor, torch.Generator], Tensor]


def identity(x: Tensor, generator: torch.Generator) -> Tensor:
    """Change nothing: two equal views, from which nothing can be learnt."""
    return x.clone()


class Chain:
    """Several augmentations, one after the other.

    Args:
        *steps: augmentations; the first one is applied first.
    """

    def __init__(self, *steps: Augment) -> None:
        """Remember the steps."""
        if not steps or not all(callable(step) for step in steps):
            raise ValueError(
                f"steps must be augmentations, at least one, got {steps!r}."
            )
        self.steps = steps

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """All steps on ``(b, c, h, w)``."""
        for step in self.steps:
            x = step(x, generator)
        return x

    def __repr__(self) -> str:
        """Its steps."""
        return f"Chain({', '.join(map(repr, self.steps))})"


@dataclass(frozen=True)
class Crop:
    """A random part of the picture, enlarged to its full size (Inception's crop).

    Attributes:
        least: smallest share of the area, in (0, most].
        most: largest share of the area, at most 1.
        ratio: the part's aspect is log-uniform in [1/ratio, ratio]; at least 1.
    """

    least: float = 0.5
    most: float = 1.0
    ratio: float = 4 / 3

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.least <= self.most <= 1:
            raise ValueError(
                "least and most must satisfy 0 < least <= most <= 1 (shares of the "
                f"area), got {self.least!r} and {self.most!r}."
            )
        if not 1 <= self.ratio < math.inf:
            raise ValueError(f"ratio must be a finite number >= 1, got {self.ratio!r}.")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Crop each of ``(b, c, h, w)``."""
        check_pictures(x)
        area, aspect, right, down = torch.rand(4, len(x), generator=generator)
        side = (self.least + (self.most - self.least) * area).sqrt()
        stretch = torch.exp((aspect - 0.5) * math.log(self.ratio))
        wide, high = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
        zero = torch.zeros(len(x))
        rows = [wide, zero, (2 * right - 1) * (1 - wide)]
        rows += [zero, high, (2 * down - 1) * (1 - high)]
        theta = torch.stack(rows, 1).view(-1, 2, 3).to(x.device, x.dtype)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Jitter:
    """Geometry, stroke, light and noise, as :func:`tlcourse.data.jitter_images`.

    Attributes:
        strength: in [0, 2]; 0 changes nothing.
        outside: what moves in from beyond the border: "black" or "mirror".
    """

    strength: float = 1.0
    outside: str = "black"

    def __post_init__(self) -> None:
        """Check both."""
        check_strength(self.strength)
        if self.outside not in ("black", "mirror"):
            raise ValueError(
                f"outside must be 'black' or 'mirror', got {self.outside!r}."
            )

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Jitter each of ``(b, c, h, w)``."""
        check_pictures(x)
        index = torch.arange(len(x), device=x.device)
        size = tuple(x.shape[-2:])
        return jittered(x, index, self.strength, generator, size, self.outside)


@dataclass(frozen=True)
class Noise:
    """Independent Gaussian noise on every pixel, clipped to [0, 1].

    Attributes:
        std: its standard deviation, >= 0.
    """

    std: float = 0.1

    def __post_init__(self) -> None:
        """Check the deviation."""
        positive("std", self.std, zero=True)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Add noise to each of ``(b, c, h, w)``."""
        check_pictures(x)
        noise = torch.randn(x.shape, generator=generator).to(x.device, x.dtype)
        return (x + self.std * noise).clamp_(0, 1)


@dataclass(frozen=True)
class Turn:
    """A random quarter turn of each square picture: 0, 90, 180 or 270 degrees."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Turn each of ``(b, c, h, w)``, h = w."""
        check_pictures(x)
        if x.shape[2] != x.shape[3]:
            raise ValueError(f"Turn needs square pictures, got {tuple(x.shape)}.")
        quarter = torch.randint(4, (len(x),), generator=generator).to(x.device)
        turned = torch.stack([x.rot90(k, (2, 3)) for k in range(4)])  # (4, b, ..)
        return turned[quarter, torch.arange(len(x), device=x.device)]


def check_pictures(x: Tensor) -> None:
    """Refuse what is not a batch of float pictures, with a ValueError."""
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
        got = f"{tuple(x.shape)} of {x.dtype}" if isinstance(x, Tensor) else type(x)
        raise ValueError(
            f"x must be float pictures (b, c, h, w) with values in [0, 1], got {got}; "
            "divide 8-bit pictures by 255."
        )
