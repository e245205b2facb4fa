import pytest
import torch

from tlcourse.data import jitter as module
from tlcourse.data import jitter_images


def bars(n=64, side=32):
    images = torch.zeros(n, 1, side, side)
    images[:, :, 8:24, 14:18] = 1
    return images


def only(monkeypatch, *kept):
    """Switch every change off but the named ones."""
    for name in (
        "_ROTATION", "_LOG_SCALE", "_SHEAR", "_SHIFT", "_ELASTIC", "_THICKNESS",
        "_BLUR", "_NOISE", "_FADE", "_HAZE",
    ):  # fmt: skip
        if name not in kept:
            monkeypatch.setattr(module, name, 0.0)


def spread(images):
    """Centre ``(n, 2)`` and angle ``(n,)`` of the ink, by moments."""
    ink = images[:, 0]
    axis = torch.arange(ink.shape[-1], dtype=torch.float32)
    mass = ink.sum((1, 2))
    cy = (ink.sum(2) * axis).sum(1) / mass
    cx = (ink.sum(1) * axis).sum(1) / mass
    dy, dx = axis[None] - cy[:, None], axis[None] - cx[:, None]
    cov = torch.einsum("nyx,ny,nx->n", ink, dy, dx)
    vy, vx = (ink.sum(2) * dy**2).sum(1), (ink.sum(1) * dx**2).sum(1)
    return torch.stack([cy, cx], 1), 0.5 * torch.atan2(2 * cov, vy - vx)


def test_strength_zero_changes_nothing():
    images = torch.rand(5, 3, 12, 12)
    assert torch.equal(jitter_images(images, 0), images)


def test_all_switched_off_is_the_identity(monkeypatch):
    only(monkeypatch)
    images = torch.rand(5, 1, 16, 16)
    assert torch.allclose(jitter_images(images, 1.0), images, atol=1e-5)


def test_deterministic_and_each_image_differs():
    images = bars(8)
    assert torch.equal(jitter_images(images, seed=1), jitter_images(images, seed=1))
    out = jitter_images(images, seed=1)
    assert not torch.equal(out, jitter_images(images, seed=2))
    assert len({image.numpy().tobytes() for image in out}) == 8


def test_the_input_is_left_alone():
    images = bars(4)
    before = images.clone()
    jitter_images(images)
    assert torch.equal(images, before)


def test_rotation_turns_and_does_not_move(monkeypatch):
    only(monkeypatch, "_ROTATION")
    centre, angle = spread(jitter_images(bars(), seed=0))
    assert (centre - 15.5).abs().max() < 0.2
    assert angle.abs().max() <= module._ROTATION + 0.02
    assert angle.std() == pytest.approx(module._ROTATION / 3**0.5, rel=0.3)


def test_shift_moves_and_does_not_turn(monkeypatch):
    only(monkeypatch, "_SHIFT")
    centre, angle = spread(jitter_images(bars(), seed=0))
    moved = (centre - 15.5).abs()
    assert 0.8 * module._SHIFT * 16 < moved.max() <= module._SHIFT * 16 + 0.01
    assert angle.abs().max() < 0.01


def test_scale_changes_the_ink_both_ways(monkeypatch):
    only(monkeypatch, "_LOG_SCALE")
    area = jitter_images(bars(), seed=0).sum((1, 2, 3)) / bars(1).sum()
    assert area.min() < 0.9 and area.max() > 1.1


def test_stroke_thickness_changes_the_ink_both_ways(monkeypatch):
    only(monkeypatch, "_THICKNESS")
    ink = jitter_images(bars(), seed=0).sum((1, 2, 3)) / bars(1).sum()
    assert ink.min() < 0.9 and ink.max() > 1.1


def test_elastic_bends_without_adding_or_losing_much(monkeypatch):
    only(monkeypatch, "_ELASTIC")
    out = jitter_images(bars(), seed=0)
    assert (out - bars()).abs().mean() > 0.005
    assert (out.sum((1, 2, 3)) / bars(1).sum() - 1).abs().mean() < 0.15


def test_stronger_is_farther():
    images = bars()
    change = [
        (jitter_images(images, s) - images).abs().mean() for s in (0.25, 0.5, 1, 2)
    ]
    assert change == sorted(change)


def test_mirror_brings_no_black_border(monkeypatch):
    only(monkeypatch, "_SHIFT", "_ROTATION")
    white = torch.ones(16, 3, 20, 20)
    assert jitter_images(white, 2.0).min() < 0.5
    assert jitter_images(white, 2.0, outside="mirror").min() > 0.99


def test_many_images_stay_in_range():
    out = jitter_images(torch.rand(1500, 1, 8, 8), 2.0)
    assert out.shape == (1500, 1, 8, 8)
    assert out.min() >= 0 and out.max() <= 1


@pytest.mark.parametrize(
    ("images", "options"),
    [
        (torch.zeros(3, 8, 8), {}),
        (torch.zeros(0, 1, 8, 8), {}),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), {}),
        (torch.full((2, 1, 8, 8), float("nan")), {}),
        (torch.zeros(2, 1, 8, 8), {"strength": 2.5}),
        (torch.zeros(2, 1, 8, 8), {"strength": None}),
        (torch.zeros(2, 1, 8, 8), {"outside": "grey"}),
    ],
)
def test_bad_input(images, options):
    with pytest.raises(ValueError, match="needs float|NaN|strength|outside"):
        jitter_images(images, **options)
