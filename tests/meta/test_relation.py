import pytest
import torch
import torch.nn.functional as F

from tlcourse.meta import Relation, RelationHead, RelationMapHead, relation_loss


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_scores_are_those_of_each_pair_alone(lead):
    head = RelationHead(5, hidden=8)
    q, p = torch.randn(*lead, 4, 5), torch.randn(*lead, 3, 5)
    scores = head(q, p)
    assert scores.shape == (*lead, 4, 3) and ((scores > 0) & (scores < 1)).all()
    flat_q, flat_p = q.view(-1, 4, 5), p.view(-1, 3, 5)
    for e, one in enumerate(scores.view(-1, 4, 3)):
        for i in range(4):
            for k in range(3):
                pair = torch.cat([flat_p[e, k], flat_q[e, i]])
                torch.testing.assert_close(one[i, k], head.body(pair)[0].sigmoid())


@pytest.mark.parametrize("lead", [(), (2,)])
def test_maps_are_scored_pair_by_pair(lead):
    head = RelationMapHead(3, hidden=4)
    q, p = torch.randn(*lead, 5, 3, 4, 4), torch.randn(*lead, 2, 3, 4, 4)
    scores = head(q, p)
    assert scores.shape == (*lead, 5, 2) and ((scores > 0) & (scores < 1)).all()
    at = (0,) * len(lead)
    alone = head(q[at][3:4], p[at][1:2])
    torch.testing.assert_close(scores[at][3, 1], alone[0, 0])


def test_the_score_need_not_be_symmetric_and_learns():
    """A likeness that no distance has: the sign of one feature of the class."""
    torch.manual_seed(0)
    head = RelationHead(2, hidden=16)
    q, p = torch.randn(64, 2), torch.randn(8, 2)
    wanted = (p[:, 0] > 0).float().expand(64, -1)
    start = F.mse_loss(head(q, p), wanted).item()
    for _ in range(300):
        loss = F.mse_loss(head(q, p), wanted)
        grads = torch.autograd.grad(loss, list(head.parameters()))
        with torch.no_grad():
            for w, g in zip(head.parameters(), grads, strict=True):
                w -= 1.0 * g
    assert loss.item() < 0.3 * start


def test_loss_by_hand_and_its_plateau():
    scores = torch.tensor([[0.9, 0.2], [0.5, 0.5]])
    loss = relation_loss(scores, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx((0.01 + 0.04 + 0.25 + 0.25) / 4)
    constant = torch.full((10, 5), 0.2)
    plateau = relation_loss(constant, torch.arange(10) % 5)
    assert plateau.item() == pytest.approx(0.2 * 0.8)
    batch = relation_loss(scores.expand(3, -1, -1), torch.tensor([[0, 1]] * 3))
    torch.testing.assert_close(batch, loss)


@pytest.mark.parametrize("maps", [False, True])
def test_the_head_compares_with_class_means(maps):
    shape = (3, 2, 2) if maps else (3,)
    head = Relation(3, hidden=4, maps=maps)
    support, query = torch.randn(2, 6, *shape), torch.randn(2, 5, *shape)
    y = torch.tensor([[0, 0, 1, 1, 2, 2], [2, 1, 0, 0, 1, 2]])
    means = torch.stack(
        [
            torch.stack([support[e][y[e] == c].mean(0) for c in range(3)])
            for e in range(2)
        ]
    )
    torch.testing.assert_close(head(query, support, y, 3), head.pairs(query, means))


@pytest.mark.parametrize(
    ("q", "p", "message"),
    [
        (torch.randn(4, 6), torch.randn(3, 6), "query_z must have 5 features"),
        (torch.randn(4, 5), torch.randn(3, 6), "may differ only"),
        (torch.randn(4, 5), torch.randn(1, 3, 5), "may differ only"),
        (torch.randn(5), torch.randn(3, 5), "query_z must be a float tensor"),
        (torch.randn(4, 5), torch.randn(3, 5) * torch.nan, "prototypes holds nan"),
        (torch.randn(4, 5), torch.randn(3, 5).double(), "one dtype"),
    ],
)
def test_bad_pairs(q, p, message):
    with pytest.raises(ValueError, match=message):
        RelationHead(5)(q, p)


def test_bad_sizes_and_targets():
    for build in (RelationHead, RelationMapHead):
        with pytest.raises(ValueError, match="must be a whole number >= 1, got 0"):
            build(0)
        with pytest.raises(ValueError, match="hidden must be a whole number >= 1"):
            build(4, hidden=0)
    scores = torch.rand(4, 3)
    for targets in (torch.rand(4), torch.zeros(3).long()):
        with pytest.raises(ValueError, match="targets must be int64"):
            relation_loss(scores, targets)
    with pytest.raises(ValueError, match="targets must lie in 0..2, got 0..3"):
        relation_loss(scores, torch.arange(4))
