import random
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import tlcourse
from tlcourse.runtime import Budget, device, num_threads, seed_everything

HEAVY = ("numpy", "torch", "matplotlib", "torchvision", "transformers")


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, tlcourse; print([m for m in {HEAVY} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]")


def test_names_load_on_first_use():
    assert tlcourse.device is device
    assert tlcourse.Budget is Budget
    assert {"data", "check", "hint", "progress"} <= set(dir(tlcourse))
    with pytest.raises(AttributeError, match="'devise'"):
        _ = tlcourse.devise


def test_the_device_can_be_chosen(monkeypatch):
    monkeypatch.setenv("TLCOURSE_DEVICE", "cpu")
    assert device() == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "abacus", "cpu:zero"])
def test_a_device_that_is_not_there_is_an_error(monkeypatch, name):
    monkeypatch.setenv("TLCOURSE_DEVICE", name)
    with pytest.raises(ValueError, match="TLCOURSE_DEVICE.*'cpu' or unset"):
        device()


@pytest.mark.parametrize(
    ("cuda", "mps", "wanted"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_best_device_is_taken(monkeypatch, cuda, mps, wanted):
    monkeypatch.delenv("TLCOURSE_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device().type == wanted


def test_a_seed_repeats_everything():
    def draw():
        return random.random(), np.random.rand(), torch.rand(()).item()

    assert seed_everything(5) == 5
    first = draw()
    seed_everything(5)
    assert draw() == first
    seed_everything(6)
    assert draw() != first


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "1", True, None])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="seed must be"):
        seed_everything(seed)


@pytest.mark.parametrize(
    ("cores", "wanted"), [(None, 1), (1, 1), (2, 1), (6, 3), (64, 4)]
)
def test_half_the_cores_at_most_four(monkeypatch, cores, wanted):
    monkeypatch.delenv("TLCOURSE_THREADS", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert num_threads() == wanted
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    assert num_threads() == 1
    monkeypatch.setenv("TLCOURSE_THREADS", "3")
    assert num_threads() == 3


@pytest.mark.parametrize("value", ["0", "-1", "two", "", "1.5"])
def test_bad_numbers_of_threads_are_refused(monkeypatch, value):
    monkeypatch.setenv("TLCOURSE_THREADS", value)
    with pytest.raises(ValueError, match="TLCOURSE_THREADS"):
        num_threads()


def test_threads_are_applied(monkeypatch):
    before = torch.get_num_threads()
    try:
        monkeypatch.setenv("TLCOURSE_THREADS", "2")
        device()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_budget_runs_down():
    budget, empty = Budget(10), Budget(0)
    time.sleep(0.01)
    assert 0.01 <= budget.spent < 5
    assert budget.left == pytest.approx(10 - budget.spent, abs=0.1)
    assert empty.left < 0
