import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tlcourse import data
from tlcourse.data.card import Card
from tlcourse.data.dataset import Dataset
from tlcourse.data.sealed import Sealed, SealedError

CARD = Card("toy", "simulated", "made here", "none", "small", "none")


def toy(labels, groups=None, num_classes=None):
    y = torch.tensor(labels)
    n = len(y)
    return Dataset(
        x=torch.arange(n, dtype=torch.float32)[:, None],
        y=y,
        classes=tuple(str(i) for i in range(num_classes or int(y.max()) + 1)),
        name="toy",
        domain="here",
        domains=(),
        card=CARD,
        groups=None if groups is None else torch.tensor(groups),
    )


def ids(dataset):
    return dataset.x[:, 0].long().tolist()


labels = st.lists(st.integers(0, 4), min_size=30, max_size=120)
shares = st.sampled_from([(0.5, 0.5), (0.8, 0.2), (0.6, 0.2, 0.2), (0.34, 0.33, 0.33)])
quick = settings(max_examples=60, deadline=None, derandomize=True)


@quick
@given(labels, shares, st.integers(0, 2**31))
def test_split_is_a_stratified_partition(y, fractions, seed):
    whole = toy(y, num_classes=5)
    parts = whole.split(*fractions, seed=seed)
    assert sorted(sum(map(ids, parts), [])) == list(range(len(y)))
    for fraction, part in zip(fractions, parts, strict=True):
        assert abs(len(part) - fraction * len(y)) <= 3
        for label in range(5):
            there = int((part.y == label).sum())
            assert abs(there - fraction * y.count(label)) <= 2


@quick
@given(labels, st.integers(0, 100))
def test_split_gives_samples_their_own_labels_and_is_deterministic(y, seed):
    whole = toy(y, num_classes=5)
    first, second = whole.split(0.7, 0.3, seed=seed), whole.split(0.7, 0.3, seed=seed)
    assert [ids(part) for part in first] == [ids(part) for part in second]
    for part in first:
        assert part.y.tolist() == [y[i] for i in ids(part)]


@quick
@given(st.lists(st.integers(0, 20), min_size=60, max_size=150), st.integers(0, 9))
def test_split_keeps_groups_whole(groups, seed):
    whole = toy([g % 3 for g in groups], groups, num_classes=3)
    if len(set(groups)) < 6:
        return
    left, right = whole.split(0.6, 0.4, seed=seed)
    assert not set(left.groups.tolist()) & set(right.groups.tolist())
    assert sorted(ids(left) + ids(right)) == list(range(len(groups)))


@quick
@given(st.integers(1, 5), st.integers(0, 2**31))
def test_few_shot_takes_k_of_every_class(k, seed):
    y = [0] * 6 + [1] * 9 + [2] * 30
    support, rest = toy(y).few_shot(k, seed=seed)
    assert torch.bincount(support.y).tolist() == [k, k, k]
    assert sorted(ids(support) + ids(rest)) == list(range(45))


@quick
@given(st.integers(1, 6), st.integers(0, 2**31))
def test_few_shot_shares_no_group_with_the_rest(k, seed):
    groups = [i // 4 for i in range(96)]  # 24 groups of 4, 8 groups a class
    support, rest = toy([g % 3 for g in groups], groups).few_shot(k, seed=seed)
    assert torch.bincount(support.y).tolist() == [k, k, k]
    assert not set(support.groups.tolist()) & set(rest.groups.tolist())
    assert len(set(support.groups.tolist())) == 3 * -(-k // 4)  # no group is wasted


def test_seeds_differ():
    whole = toy([i % 4 for i in range(80)])
    assert ids(whole.split(0.5, 0.5, seed=0)[0]) != ids(
        whole.split(0.5, 0.5, seed=1)[0]
    )
    assert ids(whole.few_shot(3, seed=0)[0]) != ids(whole.few_shot(3, seed=1)[0])


def test_fractions_below_one_give_the_rest_as_one_more_part():
    parts = toy([i % 2 for i in range(100)]).split(0.5, 0.2)
    assert [len(part) for part in parts] == [50, 20, 30]


@pytest.mark.parametrize(
    "fractions", [(), (0.5, 0.6), (0, 1), (-0.1, 0.5), (float("nan"),), ("a",), (None,)]
)
def test_bad_fractions(fractions):
    with pytest.raises(ValueError, match="split|sum"):
        toy([0, 1] * 10).split(*fractions)


def test_an_empty_part_is_refused():
    with pytest.raises(ValueError, match="leaves a part empty"):
        toy([0, 1]).split(0.9, 0.05, 0.05)


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3"])
def test_k_must_be_a_positive_whole_number(k):
    with pytest.raises(ValueError, match="k must be"):
        toy([0, 1] * 10).few_shot(k)


def test_k_larger_than_a_class():
    with pytest.raises(ValueError, match="class 1 has 2"):
        toy([0] * 9 + [1] * 2).few_shot(3)


def test_a_class_without_samples_has_no_shots():
    with pytest.raises(ValueError, match="class 2 has 0"):
        toy([0, 1] * 5, num_classes=3).few_shot(1)


def test_few_shot_leaves_something():
    with pytest.raises(ValueError, match="leaves no sample"):
        toy([0, 0, 1, 1]).few_shot(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(x=torch.zeros(0, 1), y=torch.zeros(0, dtype=torch.int64)), "no samples"),
        (dict(y=torch.zeros(3, dtype=torch.int64)), "one label per input"),
        (dict(x=torch.zeros(4, 1, dtype=torch.float64)), "float32"),
        (dict(y=torch.zeros(4)), "int64"),
        (dict(y=torch.tensor([0, 1, 2, 0])), "2 classes"),
        (dict(groups=torch.zeros(2)), "one group"),
    ],
)
def test_parts_that_do_not_fit(change, message):
    fields = dict(vars(toy([0, 1, 0, 1]))) | change
    with pytest.raises(ValueError, match=message):
        Dataset(**fields)


@pytest.mark.parametrize(
    "indices", [[], [9], [-5], [0.5], [[0]], torch.zeros(3).bool()]
)
def test_bad_indices(indices):
    with pytest.raises(ValueError, match="subset|Indices"):
        toy([0, 1, 0, 1]).subset(indices)


def test_subset_takes_numbers_masks_and_keeps_order():
    whole = toy([0, 1, 0, 1])
    assert ids(whole.subset([3, 0, -3])) == [3, 0, 1]
    assert ids(whole.subset(np.array([True, False, True, False]))) == [0, 2]


def test_dataloader():
    batches = list(DataLoader(toy([0, 1] * 5), batch_size=4))
    assert [len(y) for _, y in batches] == [4, 4, 2]
    assert torch.cat([x for x, _ in batches])[:, 0].tolist() == list(range(10))


def test_pickle_keeps_the_domain_callable():
    glyphs = data.load("glyphs", per_class=1, size=8)
    again = pickle.loads(pickle.dumps(glyphs))
    assert torch.equal(again.domain("cmr10").x, glyphs.domain("cmr10").x)


def test_card_origin():
    with pytest.raises(ValueError, match="origin"):
        Card("x", "invented", "", "", "", "")


SEALED = Sealed(torch.tensor([1, 0, 1]))


@pytest.mark.parametrize(
    "look",
    [
        lambda y: y[0],
        lambda y: y[:2],
        lambda y: list(y),
        lambda y: y == 1,
        lambda y: y != torch.ones(3),
        lambda y: 1 in y,
        lambda y: y + 1,
        lambda y: 1 - y,
        lambda y: y < 2,
        lambda y: bool(y),
        lambda y: int(y),
        lambda y: np.asarray(y),
        lambda y: np.mean(y),
        lambda y: np.add(y, 1),
        lambda y: torch.tensor(y),
        lambda y: torch.as_tensor(y),
        lambda y: torch.sum(y),
        lambda y: torch.stack([y]),
        lambda y: torch.zeros(3).eq(y),
        lambda y: torch.nn.functional.cross_entropy(torch.zeros(3, 2), y),
        lambda y: y.sum(),
        lambda y: y.numpy(),
        lambda y: y.tolist(),
        lambda y: y.data,
        lambda y: pickle.dumps(y),
        lambda y: __import__("copy").deepcopy(y),
    ],
)
def test_sealed_labels_refuse_and_say_how_to_unseal(look):
    with pytest.raises(SealedError, match="unseal"):
        look(SEALED)


def test_sealed_labels_show_length_and_shape_only():
    assert len(SEALED) == 3
    assert SEALED.shape == (3,)
    assert repr(SEALED) == "Sealed(n=3)"


def test_sealed_dataset_still_splits_without_looking():
    sealed = toy([0, 1] * 20).sealed()
    other = toy([0] * 20 + [1] * 20).sealed()
    parts = sealed.split(0.5, 0.5)
    assert all(isinstance(part.y, Sealed) for part in parts)
    assert ids(parts[0]) == ids(other.split(0.5, 0.5)[0])
    with pytest.raises(SealedError):
        sealed.few_shot(1)
    with pytest.raises(SealedError):
        sealed[0]


def test_unseal_prints_records_and_gives_the_labels(capsys):
    whole = toy([0, 1, 1, 0])
    part = whole.sealed().subset([2, 3])
    before = len(data.oracle_peeks())
    opened = part.unseal("final accuracy")
    assert opened.y.tolist() == [1, 0]
    assert capsys.readouterr().out == (
        "oracle peek: 2 labels of toy/here: final accuracy\n"
    )
    (peek,) = data.oracle_peeks()[before:]
    assert (peek.dataset, peek.domain, peek.n, peek.reason) == (
        "toy", "here", 2, "final accuracy",
    )  # fmt: skip


@pytest.mark.parametrize("reason", ["", "  ", None])
def test_unseal_needs_a_reason(reason):
    before = data.oracle_peeks()
    with pytest.raises(ValueError, match="reason"):
        toy([0, 1]).sealed().unseal(reason)
    assert data.oracle_peeks() == before


def test_unseal_of_open_labels():
    with pytest.raises(ValueError, match="not sealed"):
        toy([0, 1]).unseal("why")
