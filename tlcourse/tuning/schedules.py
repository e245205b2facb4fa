"""Learning rates over the steps of a run."""

from __future__ import annotations

import math

from tlcourse.arguments import whole


def warmup_cosine(
    step: int,
    total_steps: int,
    warmup_steps: int,
    peak: float = 1.0,
    floor: float = 0.0,
) -> float:
    r"""The learning rate of one step: a straight rise, then half a cosine down.

    Steps count from 0 to T - 1, with W = ``warmup_steps``:

    .. math:: \eta(t) = \begin{cases}
        \text{peak} \, \dfrac{t + 1}{W + 1} & t \le W \\[1ex]
        \text{floor} + \dfrac{\text{peak} - \text{floor}}{2}
        \Big(1 + \cos \pi \dfrac{t - W}{T - 1 - W}\Big) & t > W.
        \end{cases}

    The first step has a rate above 0, step W has ``peak``, the last step has
    ``floor``, and so have all later ones. The cosine is that of Loshchilov and
    Hutter (2017), eq. (5), without restarts. With ``peak=1`` it is the factor that
    ``torch.optim.lr_scheduler.LambdaLR`` wants; call ``scheduler.step()`` after
    every optimiser step, not every epoch.

    Args:
        step: t, from 0.
        total_steps: T, at least 1.
        warmup_steps: W, from 0 to T - 1; 0 for none.
        peak: the largest rate, > 0.
        floor: the last rate, in ``[0, peak]``.

    Raises:
        ValueError: a number out of range.
    """
    whole("step", step, 0)
    whole("total_steps", total_steps, 1)
    whole("warmup_steps", warmup_steps, 0)
    if warmup_steps >= total_steps:
        raise ValueError(
            f"warmup_steps must be below total_steps, got {warmup_steps} of "
            f"{total_steps}; a tenth is usual."
        )
    if not 0 <= floor <= peak < math.inf or peak == 0:
        raise ValueError(
            f"0 <= floor <= peak and peak > 0 must hold, got {floor!r} and {peak!r}."
        )
    if step <= warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    if step >= total_steps - 1:
        return float(floor)
    done = (step - warmup_steps) / (total_steps - 1 - warmup_steps)
    return floor + (peak - floor) / 2 * (1 + math.cos(math.pi * done))
