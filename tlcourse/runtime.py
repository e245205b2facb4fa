"""Where the code runs: device, seeds, threads, and the time a lesson may take."""

from __future__ import annotations

import os
import random
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch loads on first use, so that `import tlcourse` stays fast
    import torch


def num_threads() -> int:
    """Number of CPU threads the course uses.

    Small networks run slower on many threads than on few, above all when cores
    are shared. ``TLCOURSE_THREADS`` decides; otherwise one thread in a test
    worker, else half the cores, at least one and at most four.

    Raises:
        ValueError: ``TLCOURSE_THREADS`` is not a positive whole number.
    """
    wanted = os.environ.get("TLCOURSE_THREADS")
    if wanted is not None:
        if not wanted.isdigit() or int(wanted) < 1:
            raise ValueError(
                f"TLCOURSE_THREADS must be a positive whole number, got {wanted!r}; "
                "unset it to let the course choose."
            )
        return int(wanted)
    if "PYTEST_XDIST_WORKER" in os.environ:
        return 1
    return max(1, min(4, (os.cpu_count() or 1) // 2))


def device() -> torch.device:
    """The device to compute on: CUDA, else MPS, else CPU.

    ``TLCOURSE_DEVICE`` (for example ``cpu`` or ``cuda:1``) overrides the choice.
    Also applies the course's thread policy (:func:`num_threads`).

    Raises:
        ValueError: ``TLCOURSE_DEVICE`` names a device that torch cannot use here.
    """
    import torch

    torch.set_num_threads(num_threads())
    wanted = os.environ.get("TLCOURSE_DEVICE")
    if wanted:
        try:
            chosen = torch.device(wanted)
            torch.empty(0, device=chosen)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"TLCOURSE_DEVICE={wanted!r} cannot be used here "
                f"({str(error).splitlines()[0]}); set it to 'cpu' or unset it."
            ) from error
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def seed_everything(seed: int) -> int:
    """Seed Python, NumPy and torch (all devices), and return the seed.

    Args:
        seed: whole number in ``[0, 2**32)``, the range NumPy accepts.

    Raises:
        ValueError: the seed is not such a number.
    """
    import numpy as np
    import torch

    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be a whole number in [0, 2**32), got {seed!r}.")
    torch.set_num_threads(num_threads())
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return seed


@dataclass
class Budget:
    """A stopwatch for a lesson: how much of its time is spent.

    Args:
        seconds: what the lesson may take on the hardware it names.

    Example:
        >>> budget = Budget(90)
        >>> budget.left <= 90
        True
    """

    seconds: float
    _start: float = field(default_factory=time.monotonic, repr=False)

    @property
    def spent(self) -> float:
        """Seconds since the budget was made."""
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        """Seconds left; negative once the budget is overdrawn."""
        return self.seconds - self.spent


def progress_bar(
    total: int, what: str, unit: str, shown: bool = True, done: int = 0
) -> Any:
    """A bar on stdout that appears after 2 s and leaves nothing behind.

    Not on stderr: nbgrader scores a cell that writes there with 0.

    Args:
        total: units of work.
        what: its name.
        unit: name of one unit.
        shown: False for no bar at all.
        done: units that were done before.
    """
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=done,
        desc=what,
        unit=unit,
        file=sys.stdout,
        leave=False,
        delay=2,
        mininterval=0.5,
        disable=not shown,
    )
