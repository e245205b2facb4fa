import copy
import math

import pytest
import torch
from torch import nn

from tlcourse import data, features, models
from tlcourse.losses import alignment, nt_xent, sup_con, vicreg
from tlcourse.pretraining import (
    Chain,
    Crop,
    Jitter,
    Projector,
    Shortcut,
    embed,
    pretrain,
)


def jiggle(x, generator):
    return x + 0.1 * torch.randn(x.shape, generator=generator)


def clouds(n=60, seed=0):
    """Three clusters in 4 dimensions."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    return torch.randn(3, 4, generator=g)[y] + 0.1 * torch.randn(n, 4, generator=g), y


def nets(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return models.Mlp(4, [16], 2), Projector(16, 16, 8)


def run(x=None, loss=nt_xent, **options):
    backbone, projector = nets()
    x = clouds()[0] if x is None else x
    settings = {"epochs": 3, "batch_size": 20, "progress": False} | options
    history = pretrain(backbone, projector, x, loss, jiggle, **settings)
    return backbone, projector, history


def test_the_loss_falls_and_the_run_repeats_itself():
    state = torch.get_rng_state()
    backbone, projector, history = run(epochs=10)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(history.loss) == 10 and history.loss[-1] < history.loss[0] - 0.2
    assert history.watched == []
    assert not backbone.training and not projector.training
    again, _, other = run(epochs=10)
    assert other.loss == history.loss
    for a, b in zip(backbone.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert run(epochs=10, seed=1)[2].loss != history.loss


def test_only_what_is_used_and_not_frozen_moves():
    backbone, projector = nets()
    before = copy.deepcopy(backbone.state_dict())
    head = copy.deepcopy(backbone.head.state_dict())
    features.freeze(backbone)
    pretrain(
        backbone, projector, clouds()[0], nt_xent, jiggle, epochs=1, progress=False
    )
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name])
    backbone, _, _ = run()
    assert torch.equal(backbone.head.weight, head["weight"])
    assert not torch.equal(backbone.body[1].weight, before["body.1.weight"])


def test_batches_cover_every_sample_once_and_hold_two_views_each():
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            seen.append(x.detach().clone())
            return x * self.scale

    x = torch.arange(1.0, 24).reshape(23, 1).repeat(1, 2)

    def loss(z1, z2, y):
        assert torch.equal(y, z1[:, 0].detach().round().long())  # labels travel along
        sizes.append(len(z1))
        return (z1 - z2).square().mean() + (z1 * 0).sum()

    sizes = []
    labels = torch.arange(1, 24)
    pretrain(
        Spy(),
        None,
        x,
        loss,
        lambda v, g: v.clone(),
        labels=labels,
        epochs=2,
        batch_size=10,
        progress=False,
    )
    assert sizes == [8, 8, 7] * 2
    assert [len(v) for v in seen] == [16, 16, 14] * 2  # both views as one batch
    epoch = torch.cat([v.chunk(2)[0] for v in seen[:3]])[:, 0]
    assert sorted(epoch.tolist()) == x[:, 0].tolist()
    assert epoch.tolist() != x[:, 0].tolist()


def test_the_loss_of_an_epoch_is_the_mean_over_samples():
    def loss(z1, z2):
        return (z1 * 0).sum() + len(z1)

    history = run(clouds(23)[0], loss, batch_size=10, epochs=1)[2]
    assert history.loss[0] == pytest.approx((8 * 8 + 8 * 8 + 7 * 7) / 23)


def test_watch_sees_eval_mode_without_gradients():
    backbone, projector = nets()
    modes = []

    def watch():
        modes.append((backbone.training, projector.training, torch.is_grad_enabled()))
        return {"epoch": float(len(modes))}

    x = clouds()[0]
    history = pretrain(
        backbone, projector, x, nt_xent, jiggle, epochs=2, watch=watch, progress=False
    )
    assert modes == [(False, False, False)] * 2
    assert history.watched == [{"epoch": 1.0}, {"epoch": 2.0}]


def test_embed_reads_in_eval_mode_and_leaves_no_trace():
    backbone, projector = nets()
    x = clouds()[0]
    backbone.train()
    before = copy.deepcopy(projector.state_dict())
    z = embed(backbone, x)
    assert z.shape == (60, 16) and not z.requires_grad and backbone.training
    torch.testing.assert_close(z, backbone.features(x).detach())
    heads = embed(backbone, x, projector, batch_size=7)
    assert heads.shape == (60, 8) and projector.training
    projector.eval()
    torch.testing.assert_close(heads, projector(z).detach())
    for name, value in projector.state_dict().items():
        assert torch.equal(value, before[name])
    plain = nn.Linear(4, 3)  # any module serves
    torch.testing.assert_close(embed(plain, x), plain(x).detach())


def test_projector_is_the_one_of_simclr():
    kinds = [type(m).__name__ for m in Projector(4, 8, 2)]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert Projector(4, 8, 2)(torch.rand(5, 4)).shape == (5, 2)
    for sizes in [(0, 8, 2), (4, 8.0, 2), (4, 8, True)]:
        with pytest.raises(ValueError, match="must be a whole number"):
            Projector(*sizes)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"labels": torch.zeros(3).long()}, r"labels must be a tensor of shape \(60,"),
        ({"labels": [0] * 60}, "labels"),
        ({"x": torch.ones(1, 4)}, "n >= 2"),
        ({"x": torch.ones(9, 4).long()}, "x must be a float"),
        ({"x": torch.full((9, 4), math.nan)}, "x holds nan"),
        ({"loss": lambda a, b: (a * math.inf).sum()}, "epoch 0; use a smaller lr"),
    ],
)
def test_what_does_not_serve_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        run(**options)


def test_nothing_to_train_and_nothing_to_embed_are_refused():
    backbone, projector = nets()
    features.freeze(backbone)
    features.freeze(projector)
    x = clouds()[0]
    with pytest.raises(ValueError, match="nothing to train"):
        pretrain(backbone, projector, x, nt_xent, jiggle, epochs=1)
    with pytest.raises(ValueError, match="at least one sample"):
        embed(backbone, x[:0])
    with pytest.raises(ValueError, match="batch_size"):
        embed(backbone, x, batch_size=0)


def test_no_batch_is_left_with_one_pair():
    sizes = []

    def loss(z1, z2):
        sizes.append(len(z1))
        return nt_xent(z1, z2)

    run(clouds(7)[0], loss, batch_size=2)  # 7 = 2 + 2 + 2 + 1
    assert sizes == [3, 2, 2] * 3


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", size=8).split(0.8, 0.2, seed=0)


def digit_accuracy(loss, digits, augment, labels=False):
    """Five-nearest-neighbour accuracy of features after a short pretraining."""
    train, test = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = models.small_resnet(10, width=8)
        projector = Projector(32, 64, 32)
    pretrain(
        backbone,
        projector,
        train.x,
        loss,
        augment,
        labels=train.y if labels else None,
        epochs=4,
        lr=5e-3,
        progress=False,
    )
    z, zt = embed(backbone, train.x), embed(backbone, test.x)
    found = features.knn_predict(z, train.y, zt)
    return (found == test.y).float().mean().item()


def test_each_loss_learns_digits_and_the_shortcut_does_not(digits):
    mild = Chain(Crop(0.7), Jitter(0.7))
    low = {
        "nt_xent": digit_accuracy(lambda a, b: nt_xent(a, b, 0.2), digits, mild),
        "vicreg": digit_accuracy(vicreg, digits, mild),
        "sup_con": digit_accuracy(
            lambda a, b, y: sup_con(torch.cat([a, b]), torch.cat([y, y])),
            digits,
            mild,
            labels=True,
        ),
    }
    collapsed = digit_accuracy(alignment, digits, mild)
    short = digit_accuracy(
        lambda a, b: nt_xent(a, b, 0.2), digits, Shortcut(mild, bits=8, size=1)
    )
    assert min(low.values()) > collapsed + 0.05 and min(low.values()) > short + 0.05
