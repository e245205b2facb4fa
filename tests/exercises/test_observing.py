import itertools
import random
import signal
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from toys import PROBE, TOY, doubled, toy

from tlcourse.exercises import Limits, judge
from tlcourse.exercises.containing import MAX_PRINTED
from tlcourse.exercises.observing import observe

posix = pytest.mark.skipif(sys.platform == "win32", reason="no timers there")


def test_an_endless_iterator_is_cut():
    run = observe(PROBE, lambda x: itertools.count(), PROBE.make(0))
    assert len(run.observations[0].values["y"].value) == PROBE.limits.items


def _spins(x):
    while True:
        pass


def _swallows(x):
    while True:
        try:  # noqa: SIM105
            sum(range(10))
        except:  # noqa: E722
            pass


def _swallows_a_loop(x):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


def _ends_badly(x):
    try:
        while True:
            pass
    finally:
        while True:
            pass


@posix
@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("loop", [_spins, _swallows, _swallows_a_loop, _ends_badly])
def test_an_endless_loop_is_stopped(loop, guarded):
    exercise = toy(limits=Limits(seconds=0.2))
    before = sys.gettrace(), sys.getprofile(), signal.getsignal(signal.SIGALRM)
    start = time.perf_counter()
    run = observe(exercise.probe, loop, PROBE.make(0), guarded=guarded)
    assert run.out_of_time
    assert time.perf_counter() - start < 3
    assert signal.getitimer(signal.ITIMER_REAL)[1] == 0  # ours repeats
    after = sys.gettrace(), sys.getprofile(), signal.getsignal(signal.SIGALRM)
    assert after == before


@posix
def test_a_stopped_answer_earns_nothing_and_hears_why():
    report = judge(toy(limits=Limits(seconds=0.1)), _spins)
    assert (report.status, report.points) == ("out of time", 0)
    assert "0.1 s" in report.message


def test_output_is_kept_aside(capfd):
    def noisy(x):
        print("hello")
        print("to stderr", file=sys.stderr)
        warnings.warn("careful", stacklevel=1)
        return doubled(x)

    run = observe(PROBE, noisy, PROBE.make(0)[:1])
    assert run.printed == "hello\nto stderr\n"
    assert capfd.readouterr() == ("", "")


def test_long_output_is_cut():
    def chatty(x):
        print("x" * 10 * MAX_PRINTED)

    printed = observe(PROBE, chatty, PROBE.make(0)[:1]).printed
    assert len(printed) < MAX_PRINTED + 100
    assert printed.endswith("characters cut)")


def test_the_callers_world_is_left_alone():
    def rude(x):
        random.seed(7)
        np.random.seed(7)
        torch.manual_seed(7)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return doubled(x)

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    wanted = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    observe(PROBE, rude, PROBE.make(0))
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == wanted
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_every_candidate_gets_the_same_randomness():
    def draws(x):
        return torch.rand(3) + random.random() + np.random.rand()

    one, two = (observe(PROBE, draws, PROBE.make(0)) for _ in range(2))
    first = one.observations[0].values["y"].value
    np.testing.assert_array_equal(first, two.observations[0].values["y"].value)
    assert not np.array_equal(first, one.observations[1].values["y"].value)


def test_cases_are_fresh_for_every_run():
    cases = PROBE.make(0)
    before = [np.copy(case.inputs["x"]) for case in cases]

    def spoils(x):
        return x.zero_() if not isinstance(x, str) else x

    run = observe(PROBE, spoils, cases)
    assert run.observations[0].changed == ("x",)
    for case, x in zip(cases, before, strict=True):
        np.testing.assert_array_equal(case.inputs["x"], x)


def test_an_interrupt_goes_through():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(TOY, interrupted)
