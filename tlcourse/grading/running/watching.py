"""Run canary cells, and see whether they do what they must."""

from __future__ import annotations

from tlcourse.grading.running.canaries import (
    FORGET,
    REMEMBER,
    asserting,
    turned_round,
    value,
)
from tlcourse.grading.running.kernels import Kernel
from tlcourse.grading.running.outputs import Outputs


async def watch(
    kernel: Kernel,
    test: str,
    own_names: frozenset[str],
    seconds: float,
    *,
    passed: bool = False,
) -> bool:
    """Run canaries for a test; whether all did what they must.

    Args:
        kernel: where the test runs.
        test: its source.
        own_names: see :func:`tlcourse.grading.running.canaries.asserting`.
        seconds: for each canary.
        passed: the test has run and passed, so it can be turned into a wrong claim.

    Raises:
        KernelEnded: the kernel is gone.
    """
    turned = [turned_round(test)] if passed else []
    for canary in (*asserting(test, own_names), *filter(None, turned)):
        reply = await kernel.execute(canary.source, seconds, Outputs(0), silent=True)
        said = str(reply.content.get("evalue"))
        asserted = reply.content.get("ename") == "AssertionError"
        right = asserted and canary.token in said
        wrong = canary.beyond in said if canary.beyond else not right
        if reply.status == "ok" or wrong:
            return False
    valuing = value(test)
    if valuing is None:
        return True
    outputs = Outputs(0)
    await kernel.execute(FORGET, seconds, outputs, silent=True)
    await kernel.execute(valuing.source, seconds, outputs, store_history=False)
    await kernel.execute(REMEMBER, seconds, outputs, silent=True)
    return outputs.values == [valuing.token]
