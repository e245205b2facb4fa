"""Training on episodes and few-shot evaluation, also on the hub's Omniglot."""

import math

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from tlcourse import data, meta
from tlcourse.features import ridge_probe
from tlcourse.metrics import mean_interval
from tlcourse.models import small_resnet


def blobs(classes=8, each=12, d=6, spread=0.3, seed=0):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(classes).repeat_interleave(each)
    centres = torch.randn(classes, d, generator=g)
    return centres[y] + spread * torch.randn(len(y), d, generator=g), y


def test_accuracy_is_the_slow_loop():
    x, y = blobs(spread=0.8)
    got = meta.few_shot_accuracy(lambda v: 2 * v, (x, y), 4, 2, 3, episodes=70, seed=5)
    sampler, g = meta.EpisodeSampler(y, 4, 2, 3), torch.Generator().manual_seed(5)
    slow = []
    for _ in range(70):
        episode, right = sampler.draw(g), 0
        means = x[episode.support].mean(1)
        for c in range(4):
            for i in episode.query[c]:
                right += int(((x[i] - means) ** 2).sum(1).argmin()) == c
        slow.append(right / 12)
    assert got.accuracies.tolist() == pytest.approx(slow)
    assert got.accuracies.dtype == torch.float64
    assert got.interval == pytest.approx(mean_interval(slow))
    assert str(got).endswith("over 70 episodes")


def test_learner_accuracy_has_the_same_episodes():
    x, y = blobs(spread=0.8)
    options = dict(episodes=30, seed=2)

    def learn(support_x, support_y, query_x):
        assert support_x.shape == (8, 6) and query_x.shape == (12, 6)
        means = meta.class_prototypes(support_x, support_y, 4)
        return meta.proto_logits(query_x, means)

    one = meta.few_shot_accuracy(nn.Identity(), (x, y), 4, 2, 3, **options)
    other = meta.learner_accuracy(learn, (x, y), 4, 2, 3, **options)
    assert torch.equal(one.accuracies, other.accuracies)


def test_features_come_from_eval_mode_and_every_mode_comes_back():
    net = small_resnet(3, width=4)
    net.stage1.eval()
    x, y = torch.rand(24, 1, 16, 16), torch.arange(24) % 4
    modes = [m.training for m in net.modules()]
    before = {k: v.clone() for k, v in net.state_dict().items()}
    options = dict(num_ways=3, num_queries=2, episodes=5)
    first = meta.few_shot_accuracy(net.features, (x, y), batch_size=24, **options)
    again = meta.few_shot_accuracy(net.features, (x, y), batch_size=5, **options)
    assert torch.equal(first.accuracies, again.accuracies)
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_ridge_probe_head_is_the_probe_of_each_episode():
    x, y = blobs()
    task = meta.sample_episodes(y, 3, 4, 2, 5, torch.Generator().manual_seed(0)).take(x)
    got = meta.RidgeProbe(2.0)(task.query_x, task.support_x, task.support_y, 3)
    for e in range(5):
        w, b = ridge_probe(task.support_x[e], task.support_y[e], 3, 2.0)
        torch.testing.assert_close(got[e], task.query_x[e] @ w.T + b)
    assert got.shape == (5, 6, 3)
    single = meta.RidgeProbe(2.0)(
        task.query_x[0], task.support_x[0], task.support_y[0], 3
    )
    torch.testing.assert_close(single, got[0])


HEADS = {
    "prototypical": meta.Prototypical,
    "matching": lambda: meta.Matching(0.2),
    "relation": lambda: meta.Relation(8, 32),
    "ridge": meta.RidgeProbe,
}


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 8))


@pytest.mark.parametrize("name", HEADS)
def test_training_on_episodes_learns(name):
    """Two features carry the class, four larger ones are noise."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(16).repeat_interleave(12)
    angle = torch.arange(16)[y] * 2 * math.pi / 16
    x = torch.stack([angle.cos(), angle.sin()], 1)
    x = torch.cat([x, 0.7 * torch.randn(len(y), 4, generator=g)], 1)
    net, head = perceptron(), HEADS[name]()
    start = [p.clone() for p in head.parameters()]
    history = meta.train_episodes(
        net, (x, y), num_ways=4, num_shots=2, num_queries=5, steps=200,
        episodes_per_step=4, lr=5e-3, head=head, progress=False,
    )  # fmt: skip
    assert len(history.loss) == len(history.accuracy) == 200
    first, last = history.accuracy[:20], history.accuracy[-20:]
    assert sum(last) / 20 > sum(first) / 20 + 0.15
    assert not net.training and not head.training
    ends = zip(start, head.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in ends)


def test_training_follows_from_the_seed_and_touches_nothing_global():
    x, y = blobs()
    options = dict(num_ways=3, num_shots=1, num_queries=2, steps=4, progress=False)

    def weights(seed, **more):
        net = nn.Sequential(perceptron(), nn.Dropout(0.5))
        state = torch.get_rng_state()
        meta.train_episodes(net, (x, y), seed=seed, **options, **more)
        assert torch.equal(state, torch.get_rng_state())
        torch.rand(3)
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))

    def noise(x, generator):
        return x + torch.rand(x.shape, generator=generator)

    assert torch.equal(weights(1, augment=noise), weights(1, augment=noise))
    assert not torch.equal(weights(1), weights(1, augment=noise))


def test_one_step_by_hand():
    """The loss of the first step, and plain SGD on it."""
    x, y = blobs()
    net = perceptron()
    task = meta.sample_episode(y, 3, 2, 4, torch.Generator().manual_seed(9)).take(x)
    means = [net(task.support_x)[task.support_y == c].mean(0) for c in range(3)]
    gaps = net(task.query_x)[:, None] - torch.stack(means)
    loss = F.cross_entropy(-gaps.square().sum(2), task.query_y)
    grads = torch.autograd.grad(loss, list(net.parameters()))
    wanted = [p - 0.1 * g for p, g in zip(net.parameters(), grads, strict=True)]
    sgd = torch.optim.SGD(net.parameters(), 0.1)
    history = meta.train_episodes(
        net, (x, y), num_ways=3, num_shots=2, num_queries=4, steps=1, optimizer=sgd,
        seed=9,
    )  # fmt: skip
    assert history.loss[0] == pytest.approx(loss.item(), rel=1e-5)
    for p, want in zip(net.parameters(), wanted, strict=True):
        torch.testing.assert_close(p, want, rtol=1e-4, atol=1e-6)


def test_what_cannot_train_says_so():
    x, y = blobs()
    options = dict(num_ways=3, num_shots=1, num_queries=2)
    with pytest.raises(ValueError, match="embed must be a module"):
        meta.train_episodes(lambda v: v, (x, y), steps=1, **options)
    with pytest.raises(ValueError, match="nothing to train"):
        meta.train_episodes(nn.Identity(), (x, y), steps=1, **options)
    with pytest.raises(ValueError, match="steps must be a whole number >= 1"):
        meta.train_episodes(perceptron(), (x, y), steps=0, **options)
    huge = torch.optim.SGD((net := perceptron()).parameters(), 1e30)
    with pytest.raises(ValueError, match="nan or inf|loss became"):
        meta.train_episodes(net, (x, y), steps=9, optimizer=huge, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episodes": 1}, "episodes must be a whole number >= 2"),
        ({"num_ways": 9}, "num_ways must be at most"),
        ({"num_shots": 12}, "num_shots . num_queries"),
        ({"seed": -1}, "seed must be a whole number >= 0"),
    ],
)
def test_bad_settings_of_an_evaluation(change, message):
    options = dict(num_ways=4, num_shots=1, num_queries=2, episodes=5) | change
    with pytest.raises(ValueError, match=message):
        meta.few_shot_accuracy(nn.Identity(), blobs(), **options)
    with pytest.raises(ValueError, match=message):
        meta.learner_accuracy(lambda *a: None, blobs(), **options)
    with pytest.raises(ValueError, match="one row per query"):
        meta.learner_accuracy(
            lambda s, y, q: q[:-1], blobs(), 4, num_queries=2, episodes=2
        )


def write_omniglot(root):
    """A stand-in in the true folders: every character is a bar of its own height."""
    for part, letters in (("background", ("Greek", "Latin")), ("evaluation", ("Oj",))):
        for a, alphabet in enumerate(letters):
            for c in range(4):
                folder = root / "omniglot-py" / f"images_{part}" / alphabet
                folder = folder / f"character{c + 1:02d}"
                folder.mkdir(parents=True)
                for i in range(6):
                    paper = Image.new("1", (105, 105), 1)
                    top = 8 + 24 * c + 4 * a
                    paper.paste(0, (20 + i, top, 80, top + 8))
                    paper.save(folder / f"{c:04d}_{i:02d}.png")


def test_omniglot_takes_the_same_code(tmp_path):
    write_omniglot(tmp_path)
    seen = data.load("omniglot", root=tmp_path, size=16)
    unseen = seen.domain("evaluation")
    assert len(seen.classes) == 8 and len(unseen.classes) == 4
    net = small_resnet(8, width=4)
    history = meta.train_episodes(
        net.features, seen, num_ways=4, num_shots=1, num_queries=2, steps=15
    )
    assert sum(history.loss[-5:]) < sum(history.loss[:5])
    result = meta.few_shot_accuracy(net.features, unseen, 3, 1, 4, episodes=20)
    assert result.interval.value > 1 / 3
