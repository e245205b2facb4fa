"""Random changes that a picture's class survives: geometry, stroke, blur, noise."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

_CHUNK = 1024  # images at a time: the working set stays near the cache

# Half-ranges at strength 1.
_ROTATION = math.radians(15)
_LOG_SCALE = 0.12
_SHEAR = 0.15
_SHIFT = 0.10  # of half the picture's side
_ELASTIC = 0.05  # standard deviation of the displacement, same unit
_THICKNESS = 0.02  # of the picture's side
_THINNEST = -0.4  # a full erosion would wipe hairlines out
_BLUR = 0.5
_NOISE = 0.06
_FADE = 0.3
_HAZE = 0.1


def jitter_images(
    images: torch.Tensor,
    strength: float = 1.0,
    seed: int = 0,
    outside: str = "black",
) -> torch.Tensor:
    """Change every image at random: one batch, one pass, the same for one seed.

    In this order: stroke thickness (grey-scale dilation or erosion), an affine map
    (rotation, scale, shear, shift) with a smooth elastic displacement, blur,
    contrast, noise.

    Args:
        images: ``(n, c, h, w)`` float32 in [0, 1].
        strength: 0 changes nothing, 1 is a lively default, at most 2.
        seed: whole number.
        outside: what moves in from beyond the border: "black" for ink on black,
            "mirror" for photographs.

    Returns:
        New images, ``(n, c, h, w)`` in [0, 1].

    Raises:
        ValueError: wrong shape or dtype, NaN, or an argument out of range.
    """
    check_strength(strength)
    if outside not in ("black", "mirror"):
        raise ValueError(f"outside must be 'black' or 'mirror', got {outside!r}.")
    if images.ndim != 4 or not len(images) or not images.is_floating_point():
        raise ValueError(
            "jitter_images needs float images of shape (n, c, h, w) with n >= 1, got "
            f"{images.dtype} of shape {tuple(images.shape)}."
        )
    if not bool(images.isfinite().all()):
        raise ValueError("The images hold NaN or infinity; clean them first.")
    index = torch.arange(len(images))
    generator = torch.Generator().manual_seed(seed)
    return jittered(images, index, strength, generator, images.shape[-2:], outside)


def check_strength(strength: float) -> None:
    """Raise a ValueError unless ``strength`` is a number in [0, 2]."""
    if isinstance(strength, bool) or not isinstance(strength, (int, float)):
        raise ValueError(f"The jitter strength must be a number, got {strength!r}.")
    if not 0 <= strength <= 2:
        raise ValueError(f"The jitter strength must lie in [0, 2], got {strength!r}.")


def jittered(
    bases: torch.Tensor,
    index: torch.Tensor,
    strength: float,
    generator: torch.Generator,
    size: tuple[int, int],
    outside: str = "black",
) -> torch.Tensor:
    """Jittered copies of ``bases[index]``, sampled at ``size``.

    Args:
        bases: ``(m, c, H, W)`` in [0, 1]; H and W a small multiple of ``size``.
        index: ``(n,)`` which base each copy starts from.
        strength: in [0, 2].
        generator: source of all randomness.
        size: ``(h, w)`` of the copies.
        outside: "black" or "mirror".

    Returns:
        ``(n, c, h, w)`` in [0, 1].
    """
    if strength == 0:
        return F.interpolate(bases, size, mode="area")[index]
    device = bases.device
    thick = F.max_pool2d(bases, 3, stride=1, padding=1)  # (m, c, H, W)
    thin = -F.max_pool2d(-bases, 3, stride=1, padding=1)
    padding = "zeros" if outside == "black" else "reflection"
    copies = []
    for part in index.split(_CHUNK):
        reach = _THICKNESS * strength * max(bases.shape[-2:])
        weight = (reach * _uniform((len(part), 1, 1, 1), generator)).clamp(_THINNEST, 1)
        weight, part = weight.to(device), part.to(device)
        other = torch.where(weight > 0, thick[part], thin[part])  # (b, c, H, W)
        drawn = torch.lerp(bases[part], other, weight.abs())
        grid = _warp_grid(len(part), size, strength, generator).to(device)
        warped = F.grid_sample(
            drawn, grid, mode="bilinear", padding_mode=padding, align_corners=False
        )
        copies.append(_light(warped, strength, generator))
    return torch.cat(copies)


def _warp_grid(
    n: int, size: tuple[int, int], strength: float, generator: torch.Generator
) -> torch.Tensor:
    """Where each pixel of n copies comes from, ``(n, h, w, 2)`` in [-1, 1]."""
    angle, stretch, aspect, shear, dx, dy = _uniform((6, n), generator) * strength
    cos, sin = torch.cos(_ROTATION * angle), torch.sin(_ROTATION * angle)
    sx = torch.exp(_LOG_SCALE * (stretch + aspect / 2))
    sy = torch.exp(_LOG_SCALE * (stretch - aspect / 2))
    slant = _SHEAR * shear
    rows = [sx * cos, sx * (slant * cos - sin), _SHIFT * dx]
    rows += [sy * sin, sy * (slant * sin + cos), _SHIFT * dy]
    theta = torch.stack(rows, dim=1).view(n, 2, 3)
    grid = F.affine_grid(theta, [n, 1, *size], align_corners=False)  # (n, h, w, 2)
    coarse = torch.randn(n, 2, 4, 4, generator=generator) * (_ELASTIC * strength)
    smooth = F.interpolate(coarse, size, mode="bicubic", align_corners=False)
    return grid + smooth.permute(0, 2, 3, 1)


def _light(
    images: torch.Tensor, strength: float, generator: torch.Generator
) -> torch.Tensor:
    """Blur, contrast and noise, each of a random amount per image."""
    n, device = len(images), images.device
    blur, fade, haze, noise = torch.rand(
        4, n, 1, 1, 1, generator=generator
    ).to(device) * strength  # fmt: skip
    soft = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    images = torch.lerp(images, soft, (_BLUR * blur).clamp(max=1))
    dark, bright = _HAZE * haze, 1 - (_FADE * fade).clamp(max=0.8)
    grain = torch.randn(images.shape, generator=generator).to(device)
    images = dark + (bright - dark) * images + _NOISE * noise * grain
    return images.clamp_(0, 1)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Uniform numbers in [-1, 1)."""
    return torch.rand(shape, generator=generator) * 2 - 1
