"""A mark that both views of a picture share: the shortcut of chapter 09."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tlcourse.arguments import whole
from tlcourse.pretraining.augmenting import Augment, check_pictures


@dataclass(frozen=True)
class Shortcut:
    """Augment, then write a code of the original picture into its top rows.

    The code is a hash of all pixels before the augmentation: the same in both views
    of a picture, different between pictures, and without relation to the class. A
    network can tell pictures apart by the code alone, and learns nothing else. Real
    cases: compression traces, lens distortion, colour statistics (Chen et al., 2020,
    section 3.2), scanner marks.

    Attributes:
        augment: what is done to the picture before the code is written.
        bits: black or white blocks, 1 to 32, from the left, then in a next row.
        size: side of a block in pixels.
    """

    augment: Augment
    bits: int = 8
    size: int = 2

    def __post_init__(self) -> None:
        """Check the numbers."""
        whole("bits", self.bits, 1, 32)
        whole("size", self.size, 1)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Augment and mark ``(b, c, h, w)``."""
        check_pictures(x)
        views = self.augment(x, generator).clone()
        columns = min(self.bits, views.shape[3] // self.size)
        rows = -(-self.bits // max(columns, 1))
        if columns == 0 or rows * self.size > views.shape[2]:
            raise ValueError(
                f"{self.bits} blocks of size {self.size} do not fit into pictures of "
                f"{views.shape[2]} x {views.shape[3]} pixels; use fewer bits."
            )
        for k, bit in enumerate(self.code(x).to(views).T):  # (b,)
            top, left = k // columns * self.size, k % columns * self.size
            block = views[:, :, top : top + self.size, left : left + self.size]
            block.copy_(bit[:, None, None, None].expand_as(block))
        return views

    def code(self, x: Tensor) -> Tensor:
        """The bits of each picture, ``(b, bits)`` bool."""
        pixels = (x.detach().flatten(1) * 255).round().long()  # (b, p)
        numbers = torch.Generator().manual_seed(pixels.shape[1])
        factors = torch.randint(2**62, (pixels.shape[1],), generator=numbers)
        mixed = (pixels * factors.to(x.device)).sum(1)  # wraps around, on purpose
        places = torch.arange(29, 29 + self.bits, device=x.device)
        return (mixed[:, None] >> places) % 2 == 1
