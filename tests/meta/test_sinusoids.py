"""Waves: their range, their shape, and that nothing global is touched."""

import math

import pytest
import torch

from tlcourse import meta


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_values_are_the_formula():
    waves = meta.sample_sinusoids(3, generator())
    x, y = waves.draw(7, generator(1))
    assert x.shape == y.shape == (3, 7, 1)
    for t in range(3):
        for i in range(7):
            wanted = float(waves.amplitude[t]) * math.sin(x[t, i] - waves.phase[t])
            assert float(y[t, i]) == pytest.approx(wanted, abs=1e-5)


def test_ranges_are_filled():
    waves = meta.sample_sinusoids(4000, generator())
    x, _ = waves.draw(2, generator(1))
    found = ((waves.amplitude, 0.1, 5), (waves.phase, 0, math.pi), (x, -5, 5))
    for values, low, high in found:
        assert low <= float(values.min()) and float(values.max()) <= high
        middle, width = (low + high) / 2, high - low
        assert float(values.mean()) == pytest.approx(middle, abs=0.03 * width)
        assert float(values.std()) == pytest.approx(width / 12**0.5, rel=0.05)


def test_seed_decides_and_nothing_global_moves():
    state = torch.get_rng_state()
    first = meta.sinusoid_batch(4, 5, 6, generator(3))
    second = meta.sinusoid_batch(4, 5, 6, generator(3))
    model, twin = meta.sinusoid_model(seed=1), meta.sinusoid_model(seed=1)
    assert torch.equal(state, torch.get_rng_state())
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    assert first[0][0].shape == (4, 5, 1) and first[1][1].shape == (4, 6, 1)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)
    other = meta.sinusoid_model(seed=2)
    assert not torch.equal(other.head.weight, model.head.weight)


def test_fixed_ranges():
    waves = meta.sample_sinusoids(5, generator(), amplitude=(2, 2), phase=(1, 1))
    assert waves.amplitude.tolist() == [2] * 5 and waves.phase.tolist() == [1] * 5


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: meta.sample_sinusoids(0, generator()), "num_tasks"),
        (lambda: meta.sample_sinusoids(2, None), "generator"),
        (lambda: meta.sample_sinusoids(2, generator(), phase=(2, 1)), "phase"),
        (lambda: meta.sample_sinusoids(2, generator()).draw(0, generator()), "points"),
        (lambda: meta.sample_sinusoids(2, generator())(torch.zeros(4, 1)), "x must"),
        (lambda: meta.sinusoid_batch(2, 1.0, 3, generator()), "num_points"),
    ],
)
def test_bad_input_names_the_argument(call, word):
    with pytest.raises(ValueError, match=word):
        call()
