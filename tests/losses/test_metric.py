import itertools
import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcourse.losses import contrastive_loss, triplet_loss

LOSSES = [contrastive_loss, triplet_loss]
quiet = settings(max_examples=30, deadline=None, derandomize=True)
drawn = {
    "seed": st.integers(0, 2**31),
    "n": st.integers(2, 9),
    "margin": st.floats(0.05, 4),
}


def draw(seed, n, d=3, classes=3):
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=g, dtype=torch.float64)
    return z, torch.randint(classes, (n,), generator=g)


def slow_triplets(z, labels, margin):
    rows, y = z.tolist(), labels.tolist()
    found = []
    for a, p, n in itertools.product(range(len(y)), repeat=3):
        if a != p and y[a] == y[p] and y[a] != y[n]:
            near, far = (
                math.dist(rows[a], rows[p]) ** 2,
                math.dist(rows[a], rows[n]) ** 2,
            )
            if near < far < near + margin:
                found.append(near - far + margin)
    return sum(found) / len(found) if found else 0.0


def slow_pairs(z, labels, margin):
    rows, y = z.tolist(), labels.tolist()
    found = []
    for i, j in itertools.combinations(range(len(y)), 2):
        d = math.dist(rows[i], rows[j])
        found.append(d**2 / 2 if y[i] == y[j] else max(0.0, margin - d) ** 2 / 2)
    return sum(found) / len(found)


@pytest.mark.parametrize(
    ("loss", "slow"), [(triplet_loss, slow_triplets), (contrastive_loss, slow_pairs)]
)
@quiet
@given(**drawn)
def test_is_the_slow_loop(loss, slow, seed, n, margin):
    z, y = draw(seed, n)
    assert loss(z, y, margin).item() == pytest.approx(slow(z, y, margin), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_triplets_are_those_of_pytorch_metric_learning(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_metric_learning import distances, losses, miners, reducers
    distance = distances.LpDistance(power=2, normalize_embeddings=False)
    miner = miners.TripletMarginMiner(
        margin=1.0, type_of_triplets="semihard", distance=distance
    )
    oracle = losses.TripletMarginLoss(
        margin=1.0, distance=distance, reducer=reducers.MeanReducer()
    )
    z, y = draw(seed, 24, classes=4)
    triplets = miner(z, y)
    assert len(triplets[0]) > 20
    torch.testing.assert_close(triplet_loss(z, y, 1.0), oracle(z, y, triplets))


@pytest.mark.parametrize("loss", LOSSES)
@quiet
@given(**drawn)
def test_order_rotation_and_shift_do_not_count(loss, seed, n, margin):
    z, y = draw(seed, n)
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(n, generator=g)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=g, dtype=torch.float64))
    moved = loss((z @ turn + 5.0)[order], y[order], margin)
    torch.testing.assert_close(moved, loss(z, y, margin), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient(loss):
    z, y = draw(3, 9)
    assert loss(z, y, 1.0) > 0
    assert torch.autograd.gradcheck(lambda e: loss(e, y, 1.0), z.requires_grad_())


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_points_have_a_finite_gradient(loss):
    z = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.3, 0.0]])
    z.requires_grad_()
    loss(z, torch.tensor([0, 0, 1, 1]), 1.0).backward()
    assert z.grad.isfinite().all() and z.grad.abs().sum() > 0


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [0, 0, 1]])
def test_without_semi_hard_triplets_loss_and_gradient_are_zero(labels):
    z = torch.tensor([[0.0], [1.0], [100.0]], requires_grad=True)
    loss = triplet_loss(z, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0 and z.grad.count_nonzero() == 0


def test_far_from_the_origin_close_points_keep_their_distances():
    z = torch.tensor([[0.0, 0.0], [0.25, 0.0], [0.0, 0.5]])
    y = torch.tensor([0, 0, 1])
    want = triplet_loss(z.double(), y)
    got = triplet_loss(z + 1024, y).double()  # a product form would lose 0.25
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("z", "labels"),
    [
        (torch.zeros(3), torch.zeros(3).long()),
        (torch.zeros(0, 3), torch.zeros(0).long()),
        (torch.zeros(2, 3).long(), torch.zeros(2).long()),
        (torch.zeros(2, 3), torch.zeros(2)),
        (torch.zeros(2, 3), torch.zeros(3).long()),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(loss, z, labels):
    with pytest.raises(ValueError, match="must be"):
        loss(z, labels)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan])
def test_a_margin_that_is_not_positive_is_refused(loss, margin):
    with pytest.raises(ValueError, match="margin"):
        loss(torch.zeros(2, 3), torch.tensor([0, 1]), margin)


def test_a_pair_needs_two():
    with pytest.raises(ValueError, match="pair"):
        contrastive_loss(torch.zeros(1, 3), torch.tensor([0]))
