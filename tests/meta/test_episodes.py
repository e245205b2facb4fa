import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from tlcourse.data.sealed import Sealed, SealedError
from tlcourse.meta import EpisodeSampler, episodes, sample_episode, sample_episodes

quiet = settings(max_examples=40, deadline=None, derandomize=True)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def labelled(counts, seed=0, names=None):
    """Labels with ``counts[c]`` samples of class ``names[c]``, shuffled."""
    names = range(len(counts)) if names is None else names
    y = torch.cat(
        [torch.full((n,), name) for n, name in zip(counts, names, strict=True)]
    )
    return y[torch.randperm(len(y), generator=rng(seed))]


@quiet
@given(
    seed=st.integers(0, 2**31),
    ways=st.integers(1, 6),
    shots=st.integers(1, 4),
    queries=st.integers(1, 5),
)
def test_an_episode_is_what_it_says(seed, ways, shots, queries):
    extra = np.random.default_rng(seed).integers(0, 5, 7)
    counts = (shots + queries + extra).tolist()
    y = labelled(counts, seed, names=[5, -3, 100, 0, 17, 2, 9])
    episode = sample_episode(y, ways, shots, queries, rng(seed))
    assert episode.support.shape == (ways, shots)
    assert episode.query.shape == (ways, queries)
    assert len(set(episode.classes.tolist())) == ways == episode.num_ways
    used = torch.cat([episode.support, episode.query], dim=1)
    assert len(set(used.flatten().tolist())) == used.numel()
    assert torch.equal(y[used], episode.classes[:, None].expand_as(used))
    expected = [c for c in range(ways) for _ in range(shots)]
    assert episode.support_y.tolist() == expected
    assert torch.equal(episode.classes[episode.query_y], y[episode.query.flatten()])


@pytest.mark.parametrize("most", [2**22, 700])
def test_many_at_once_are_those_drawn_one_by_one(monkeypatch, most):
    monkeypatch.setattr(episodes, "_DRAWN", most)
    y = labelled([9, 30, 12, 6, 7, 8])
    many = sample_episodes(y, 4, 2, 3, 33, rng(5))
    sampler, generator = EpisodeSampler(y, 4, 2, 3), rng(5)
    single = [sampler.draw(generator) for _ in range(33)]
    for name in ("support", "query", "classes", "support_y", "query_y"):
        stacked = torch.stack([getattr(e, name) for e in single])
        assert torch.equal(getattr(many, name), stacked), name


def test_everything_is_drawn_equally_often():
    """Classes, samples, and both roles; chi-squared with a fixed seed."""
    y = labelled([5, 9, 12, 6])
    many = sample_episodes(y, 2, 2, 3, 6000, rng(1))
    first = many.classes[:, 0].bincount(minlength=4)
    assert chisquare(first.numpy()).pvalue > 1e-4
    for role in (many.support, many.query):
        for label in range(4):
            members = (y == label).nonzero().flatten()
            counts = role.flatten().bincount(minlength=len(y))[members]
            # Without replacement: a little less spread than independent draws.
            assert chisquare(counts.numpy()).pvalue > 1e-4


def test_order_of_classes_is_random():
    y = labelled([6] * 5)
    many = sample_episodes(y, 5, 1, 1, 3000, rng(2))
    for position in range(5):
        counts = many.classes[:, position].bincount(minlength=5)
        assert chisquare(counts.numpy()).pvalue > 1e-4


def test_only_the_generator_decides():
    y = labelled([8] * 6)
    before = torch.get_rng_state()
    torch.manual_seed(0)
    first = sample_episode(y, 5, 1, 2, rng(7))
    torch.manual_seed(1)
    second = sample_episode(y, 5, 1, 2, rng(7))
    assert torch.equal(first.support, second.support)
    generator = rng(7)
    sample_episode(y, 5, 1, 2, generator)
    third = sample_episode(y, 5, 1, 2, generator)
    assert not torch.equal(first.support, third.support)
    torch.set_rng_state(before)
    sample_episode(y, 5, 1, 2, rng(7))
    assert torch.equal(before, torch.get_rng_state())


def test_all_of_a_class_may_be_used():
    y = labelled([3, 3])
    episode = sample_episode(y, 2, 1, 2, rng())
    used = torch.cat([episode.support, episode.query], dim=1).flatten()
    assert sorted(used.tolist()) == list(range(6))


def test_take_looks_up_samples_and_labels():
    y = labelled([6] * 4)
    x = torch.arange(len(y)).float()[:, None, None].expand(-1, 2, 3)
    many = sample_episodes(y, 3, 2, 3, 5, rng())
    task = many.take(x)
    assert task.support_x.shape == (5, 6, 2, 3) and task.query_x.shape == (5, 9, 2, 3)
    assert torch.equal(task.support_x[..., 0, 0].long(), many.support.flatten(-2))
    old = many.classes.gather(1, task.query_y)
    assert torch.equal(old, y[task.query_x[..., 0, 0].long()])
    with pytest.raises(ValueError, match="x must be a tensor"):
        many.take(x[:5])


GOOD = labelled([6] * 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": GOOD.float()}, "labels must be an int64 tensor"),
        ({"labels": GOOD > 1}, "labels must be an int64 tensor"),
        ({"labels": GOOD[:, None]}, "labels must be an int64 tensor"),
        ({"labels": GOOD.tolist()}, "labels must be an int64 tensor"),
        ({"labels": GOOD[:0]}, "labels is empty"),
        ({"num_ways": 5}, "num_ways must be at most .* 4 classes"),
        ({"num_ways": 0}, "num_ways must be a whole number >= 1"),
        ({"num_ways": True}, "num_ways must be a whole number >= 1"),
        ({"num_shots": 0}, "num_shots must be a whole number >= 1"),
        ({"num_queries": 0}, "num_queries must be a whole number >= 1"),
        ({"num_queries": 2.0}, "num_queries must be a whole number >= 1"),
        ({"num_shots": 4}, "num_shots . num_queries = 7 .* class . has 6"),
        ({"generator": None}, "generator must be a torch.Generator"),
        ({"generator": 3}, "generator must be a torch.Generator"),
    ],
)
def test_bad_input_names_the_argument(change, message):
    arguments = {
        "labels": GOOD,
        "num_ways": 3,
        "num_shots": 2,
        "num_queries": 3,
        "generator": rng(),
    }
    with pytest.raises(ValueError, match=message):
        sample_episode(**arguments | change)


def test_the_small_class_is_named_and_the_number_of_episodes_checked():
    with pytest.raises(ValueError, match="class 42 has 4"):
        sample_episode(labelled([9, 4, 9], names=[7, 42, 1]), 2, 2, 3, rng())
    with pytest.raises(ValueError, match="num_episodes must be a whole number >= 1"):
        sample_episodes(GOOD, 2, 2, 3, 0, rng())


def test_sealed_labels_stay_sealed():
    with pytest.raises(SealedError):
        sample_episode(Sealed(GOOD), 2, 2, 3, rng())
