"""Regression tasks of one family: sine waves that differ in height and phase."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tlcourse import arguments
from tlcourse.meta.task_inputs import Batch, check_generator
from tlcourse.models.backbones import Mlp

RANGE = 5.0  # inputs lie in [-5, 5]


@dataclass(frozen=True)
class Sinusoids:
    r"""T waves, :math:`y = A\sin(x - \varphi)`, called like a function.

    Attributes:
        amplitude: :math:`A`, ``(T,)``.
        phase: :math:`\varphi` in radians, ``(T,)``.
    """

    amplitude: Tensor
    phase: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Heights ``(T, n, 1)`` of every wave at its own ``x``, ``(T, n, 1)``.

        Raises:
            ValueError: ``x`` has another shape.
        """
        if x.ndim != 3 or x.shape[0] != len(self) or x.shape[2] != 1:
            raise ValueError(
                f"x must be ({len(self)}, n, 1), one row of points per wave, got "
                f"{tuple(x.shape)}; use x.expand({len(self)}, -1, 1) for common points."
            )
        return self.amplitude[:, None, None] * torch.sin(x - self.phase[:, None, None])

    def __len__(self) -> int:
        """The number of waves T."""
        return len(self.amplitude)

    def draw(self, num_points: int, generator: torch.Generator) -> Batch:
        """Points of every wave, ``x`` uniform in [-5, 5], no noise.

        Args:
            num_points: points per wave, n.
            generator: a CPU generator; the points go to the waves' device.

        Returns:
            ``(x, y)``, each ``(T, n, 1)``.

        Raises:
            ValueError: fewer than one point, or no generator.
        """
        arguments.whole("num_points", num_points, 1)
        check_generator(generator)
        x = RANGE * (2 * torch.rand(len(self), num_points, 1, generator=generator) - 1)
        x = x.to(self.amplitude)
        return x, self(x)


def sample_sinusoids(
    num_tasks: int,
    generator: torch.Generator,
    *,
    amplitude: tuple[float, float] = (0.1, 5.0),
    phase: tuple[float, float] = (0.0, math.pi),
    device: torch.device | str = "cpu",
) -> Sinusoids:
    """Draw waves with uniform amplitude and phase (Finn et al., 2017, section 5.1).

    The defaults are the paper's. Other ranges give tasks from outside the family.

    Args:
        num_tasks: how many waves.
        generator: a CPU generator, so that every device gets the same waves.
        amplitude: least and greatest height.
        phase: least and greatest phase, radians.
        device: where the waves live.

    Raises:
        ValueError: fewer than one task, a range the wrong way round, no generator.
    """
    arguments.whole("num_tasks", num_tasks, 1)
    check_generator(generator)
    drawn = []
    for name, (low, high) in (("amplitude", amplitude), ("phase", phase)):
        if not -math.inf < low <= high < math.inf:
            raise ValueError(
                f"{name} must be (least, greatest), both finite, got {(low, high)}."
            )
        drawn.append(low + (high - low) * torch.rand(num_tasks, generator=generator))
    return Sinusoids(drawn[0].to(device), drawn[1].to(device))


def sinusoid_batch(
    num_tasks: int,
    num_shots: int,
    num_queries: int,
    generator: torch.Generator,
    *,
    device: torch.device | str = "cpu",
) -> tuple[Batch, Batch]:
    """Support and query of fresh waves, as the meta-learners take them.

    Args:
        num_tasks: waves, T.
        num_shots: support points per wave.
        num_queries: query points per wave.
        generator: a CPU generator.
        device: where the tensors shall live.

    Returns:
        ``(x, y)`` with ``(T, num_shots, 1)`` each, and ``(T, num_queries, 1)`` each.

    Raises:
        ValueError: a count below one, or no generator.
    """
    waves = sample_sinusoids(num_tasks, generator, device=device)
    return waves.draw(num_shots, generator), waves.draw(num_queries, generator)


def sinusoid_model(width: int = 40, seed: int = 0) -> Mlp:
    """The paper's regressor: 1 - width - width - 1 with ReLU; it has a ``head``.

    Args:
        width: units of each of the two hidden layers.
        seed: decides the weights; the caller's random state is left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Mlp(1, [width, width], 1)
