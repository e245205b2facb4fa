import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.models import Mlp, small_resnet
from tlcourse.tuning import greedy_soup, uniform_soup, wise_ft

COUNTER = "stem.1.num_batches_tracked"


def state(seed, dtype=torch.float32):
    torch.manual_seed(seed)
    model = small_resnet(3, width=2).to(dtype)
    for buffer in model.buffers():
        if buffer.dtype == torch.int64:
            buffer.fill_(seed + 3)
        else:
            buffer.uniform_(0.5, 1.5)
    return model.state_dict()


def floats(mapping):
    return {k: v for k, v in mapping.items() if v.is_floating_point()}


def assert_equal(a, b):
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(a=st.integers(0, 99), b=st.integers(0, 99), half=st.booleans())
def test_wise_ft_endpoints_are_exact(a, b, half):
    dtype = torch.float16 if half else torch.float32
    source, tuned = state(a, dtype), state(b, dtype)
    assert_equal(wise_ft(source, tuned, 1), tuned)
    assert_equal(floats(wise_ft(source, tuned, 0)), floats(source))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(a=st.integers(0, 99), alpha=st.floats(0, 1))
def test_wise_ft_is_the_line_and_symmetric(a, alpha):
    source, tuned = state(a, torch.float64), state(a + 1, torch.float64)
    mixed, turned = wise_ft(source, tuned, alpha), wise_ft(tuned, source, 1 - alpha)
    for name, value in floats(mixed).items():
        want = torch.lerp(source[name], tuned[name], alpha)
        torch.testing.assert_close(value, want)
        torch.testing.assert_close(value, turned[name])
    same = wise_ft(source, source, alpha)
    for name in source:
        torch.testing.assert_close(same[name], source[name])


def test_wise_ft_counters_and_memory():
    source, tuned = state(0), state(1)
    kept = copy.deepcopy([source, tuned])
    mixed = wise_ft(source, tuned, 0.25)
    assert mixed[COUNTER].dtype == torch.int64 and mixed[COUNTER] == 4
    small_resnet(3, width=2).load_state_dict(mixed)
    for alpha in (0, 0.25, 1):
        for value in wise_ft(source, tuned, alpha).values():
            value.fill_(7)
            assert not value.requires_grad
    assert_equal(source, kept[0])
    assert_equal(tuned, kept[1])


def test_wise_ft_takes_named_parameters_too():
    a, b = Mlp(3, [4], 2), Mlp(3, [4], 2)
    mixed = wise_ft(dict(a.named_parameters()), dict(b.named_parameters()), 0.5)
    assert not mixed["head.weight"].requires_grad


def test_uniform_soup_is_the_mean_entry_by_entry():
    states = [state(seed) for seed in range(3)]
    soup = uniform_soup(iter(states))
    for name, value in floats(soup).items():
        want = sum(s[name].double() for s in states) / 3
        torch.testing.assert_close(value.double(), want, rtol=1e-6, atol=1e-7)
    assert soup[COUNTER] == 5
    assert_equal(uniform_soup(states[:1]), states[0])


def one(value):
    return {"w": torch.tensor([float(value)])}


def test_greedy_soup_by_hand():
    # The optimum is 0. Alone: 1 is best, then -1.5, then 4. The mean of 1 and -1.5
    # is -0.25, better; with 4 it is 1.17, worse.
    states = [one(4), one(1), one(-1.5)]
    soup, taken = greedy_soup(states, lambda s: -abs(s["w"].item()))
    assert taken == [1, 2] and soup["w"].item() == -0.25


def test_greedy_soup_keeps_an_ingredient_that_changes_nothing():
    soup, taken = greedy_soup([one(1), one(1), one(2)], lambda s: -s["w"].item())
    assert taken == [0, 1] and soup["w"].item() == 1


@settings(max_examples=50, deadline=None, derandomize=True)
@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_greedy_soup_is_never_worse_than_the_best_alone(values):
    def score(s):
        return -abs(s["w"].item() - 1)

    states = [one(v) for v in values]
    soup, taken = greedy_soup(states, score)
    assert score(soup) >= max(map(score, states)) - 1e-6
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("head.bias"), "only one has 'head.bias'"),
        (lambda s: s.update(more=torch.zeros(1)), "only one has 'more'"),
        (lambda s: s.update({"head.bias": torch.zeros(9)}), r"\(3,\).*\(9,\)"),
        (lambda s: s.update({"head.bias": s["head.bias"].double()}), "float64"),
        (lambda s: s.clear(), "at least one state"),
    ],
)
def test_states_that_do_not_fit(change, says):
    source, tuned = state(0), dict(state(1))
    change(tuned)
    with pytest.raises(ValueError, match=says):
        wise_ft(source, tuned, 0.5)
    with pytest.raises(ValueError, match=says):
        uniform_soup([source, tuned])


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_out_of_range(alpha):
    with pytest.raises(ValueError, match="alpha must lie in"):
        wise_ft(state(0), state(1), alpha)


def test_empty_soups_and_bad_scores():
    with pytest.raises(ValueError, match="at least one state"):
        uniform_soup([])
    with pytest.raises(ValueError, match="nan"):
        greedy_soup([one(1)], lambda s: float("nan"))
