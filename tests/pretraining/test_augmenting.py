import math

import pytest
import torch

from tlcourse import training
from tlcourse.pretraining import (
    Chain,
    Crop,
    Jitter,
    Noise,
    Shortcut,
    Turn,
    identity,
    two_views,
)

ALL = [
    Crop(),
    Crop(0.1, 0.2, 2),
    Jitter(),
    Noise(),
    Turn(),
    Shortcut(Jitter()),
    Chain(Crop(), Noise()),
]
every = pytest.mark.parametrize("augment", ALL, ids=repr)


def pictures(n=12, c=1, h=16, w=16, seed=0):
    return torch.rand(n, c, h, w, generator=rng(seed))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@every
def test_every_augmentation_keeps_the_rules(augment):
    x = pictures(c=3)
    before, state = x.clone(), torch.get_rng_state()
    found = augment(x, rng())
    assert found.shape == x.shape and found.dtype == x.dtype
    assert found.min() >= 0 and found.max() <= 1
    assert torch.equal(x, before) and torch.equal(torch.get_rng_state(), state)
    assert found.data_ptr() != x.data_ptr()
    assert torch.equal(augment(x, rng()), found)  # the generator decides
    assert not torch.equal(augment(x, rng(1)), found)


@every
def test_every_picture_gets_its_own_draw(augment):
    x = pictures(1).expand(64, 1, 16, 16)  # one picture, no memory of its own
    found = augment(x, rng()).flatten(1)
    different = {tuple(row.tolist()) for row in found}
    assert len(different) > (3 if isinstance(augment, Turn) else 60)


@every
def test_an_augmentation_says_what_it_needs(augment):
    for bad in (torch.rand(4, 16), torch.zeros(2, 1, 8, 8).byte(), [[1.0]]):
        with pytest.raises(ValueError, match=r"x must be float pictures"):
            augment(bad, rng())


def test_identity_and_zero_strengths_change_nothing():
    x = pictures()
    for augment in (identity, Noise(0), Jitter(0), Crop(1.0, 1.0, 1.0)):
        found = augment(x, rng())
        torch.testing.assert_close(found, x, atol=1e-5, rtol=0)
        assert found.data_ptr() != x.data_ptr()


def test_a_crop_covers_the_share_it_was_asked_for():
    """On a ramp the range of a crop is its width: known without looking inside."""
    ramp = torch.linspace(0, 1, 64).expand(2000, 1, 64, 64)
    across = Crop(0.3, 0.3, 1)(ramp, rng())
    width = (across[..., -1] - across[..., 0]).mean((1, 2)) * 64 / 64
    torch.testing.assert_close(
        width, torch.full((2000,), math.sqrt(0.3)), atol=0.02, rtol=0
    )
    left = across[:, 0, 0, 0]
    assert left.min() < 0.02 and left.max() > 1 - math.sqrt(0.3) - 0.02  # everywhere
    down = Crop(0.3, 0.9, 1.5)
    high = (lambda v: v[..., -1, 0] - v[..., 0, 0])(down(ramp.mT, rng(3)))[:, 0]
    wide = (lambda v: v[..., 0, -1] - v[..., 0, 0])(down(ramp, rng(3)))[:, 0]
    area = (high * wide)[(high < 0.95) & (wide < 0.95)]
    assert 0.27 < area.min() < 0.35 and 0.75 < area.max() < 0.93
    aspect = (wide / high)[(high < 0.95) & (wide < 0.95)]
    assert 0.64 < aspect.min() < 0.7 and 1.42 < aspect.max() < 1.55


def test_noise_has_its_deviation():
    x = torch.full((50, 1, 16, 16), 0.5)
    assert Noise(0.05)(x, rng()).std().item() == pytest.approx(0.05, rel=0.02)


def test_quarter_turns_are_all_there_and_equally_often():
    x = pictures(400, h=5, w=5)
    found = Turn()(x, rng())
    images = [x.rot90(k, (2, 3)) for k in range(4)]
    hits = torch.stack([(found == i).flatten(1).all(1) for i in images])
    assert (hits.sum(0) == 1).all()
    assert (hits.sum(1) > 70).all()
    with pytest.raises(ValueError, match="square"):
        Turn()(pictures(w=8), rng())


def test_a_chain_keeps_its_order():
    x = pictures()
    generator = rng()
    wanted = Noise()(Crop()(x, generator), generator)
    assert torch.equal(Chain(Crop(), Noise())(x, rng()), wanted)
    assert repr(Chain(identity, Turn())).endswith("Turn())")
    for steps in [(), (Crop(), 3)]:
        with pytest.raises(ValueError, match="steps"):
            Chain(*steps)


def test_the_shortcut_is_one_code_per_picture_and_says_nothing_on_the_class():
    x = pictures(2000, h=12)
    mark = Shortcut(Chain(Crop(), Noise()), bits=10, size=2)  # 8 blocks, then 2
    one, two = two_views(x, mark, rng())
    assert torch.equal(one[:, :, :2], two[:, :, :2])
    assert torch.equal(one[:, :, 2:4, :4], two[:, :, 2:4, :4])
    assert not torch.equal(one[:, :, 4:], two[:, :, 4:])
    assert set(one[:, :, :2].unique().tolist()) == {0.0, 1.0}
    read = torch.cat([one[:, 0, 0, 0:16:2], one[:, 0, 2, 0:4:2]], 1).bool()
    assert torch.equal(read, mark.code(x))
    ones = mark.code(x).float().mean(0)  # fair coins: 6 deviations
    assert (ones - 0.5).abs().max() < 6 * 0.5 / math.sqrt(2000)
    near = x.clone()
    near[:, 0, 6, 6] = (near[:, 0, 6, 6] + 0.5) % 1  # another picture, another code
    flips = (mark.code(near) != mark.code(x)).float().mean().item()
    assert flips == pytest.approx(0.5, abs=0.03)
    assert torch.equal(mark.code(x[5:9]), mark.code(x)[5:9])  # whatever the batch


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Crop(0), "least"),
        (lambda: Crop(0.6, 0.5), "least and most"),
        (lambda: Crop(0.5, 1.5), "most"),
        (lambda: Crop(ratio=0.5), "ratio"),
        (lambda: Crop(math.nan), "least"),
        (lambda: Noise(-1), "std"),
        (lambda: Noise(math.nan), "std"),
        (lambda: Jitter(3), "strength"),
        (lambda: Jitter(outside="white"), "outside"),
        (lambda: Shortcut(identity, 0), "bits"),
        (lambda: Shortcut(identity, 2.0), "bits"),
        (lambda: Shortcut(identity, 8, 0), "size"),
        (lambda: Shortcut(identity, 32, 8)(pictures(), rng()), "fewer bits"),
        (lambda: Shortcut(identity, 1, 20)(pictures(), rng()), "fewer bits"),
    ],
)
def test_settings_out_of_range_are_refused(make, name):
    with pytest.raises(ValueError, match=name):
        make()


def test_fit_takes_them():
    x = pictures(20, h=8, w=8)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    history = training.fit(
        model,
        (x, torch.arange(20) % 2),
        epochs=1,
        augment=Chain(Crop(), Jitter()),
        progress=False,
    )
    assert len(history.train_loss) == 1


def test_two_views_are_two_draws_from_one_generator():
    x = pictures()
    one, two = two_views(x, Noise(), rng())
    generator = rng()
    assert torch.equal(one, Noise()(x, generator))
    assert torch.equal(two, Noise()(x, generator))
    assert not torch.equal(one, two)


def test_two_views_refuses_what_is_no_view():
    x = pictures()
    with pytest.raises(ValueError, match="n >= 1"):
        two_views(x[:0], identity, rng())
    with pytest.raises(ValueError, match="keep the 12 samples"):
        two_views(x, lambda v, g: v[:5], rng())
    with pytest.raises(ValueError, match="one shape"):
        two_views(x, lambda v, g: v[:, :, torch.randint(9, (), generator=g) :], rng())
    with pytest.raises(ValueError, match="x must be a tensor"):
        two_views([1, 2], identity, rng())
