"""Further degradations: motion, turned and scaled faces, coarse pixels, and other light."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample

from fer_attention.data.degradations import FILTERS, degradation, through

EXPOSURES = 33
"""Positions of a moving image that `motion_blur` averages."""


@degradation("pixelate", unit="side in blocks of one grey each", low=4, high=1024)
def _pixelate(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    """Box filters both ways."""
    return through(images, strength, torch.full((len(images), 2), FILTERS.index(Image.Resampling.BOX)))


@degradation("motion_blur", unit="length of a straight motion, pixels", low=0, high=64)
def _motion_blur(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    """Mean over positions on a line through the centre, in a random direction; borders are repeated."""
    angle = torch.rand(len(images), generator=generator, device=images.device) * torch.pi
    height, width = images.shape[-2:]
    identity = torch.eye(2, device=images.device).expand(len(images), 2, 2)
    step = 2 * torch.stack([angle.cos() / width, angle.sin() / height], dim=1)
    total = torch.zeros_like(images, dtype=torch.float32)
    for share in torch.linspace(-0.5, 0.5, EXPOSURES).tolist():
        shift = share * strength.float().view(-1, 1) * step
        total += _moved(images.float(), torch.cat([identity, shift.unsqueeze(2)], dim=2))
    return (total / EXPOSURES).to(images.dtype).clamp(0, 1)


@degradation("contrast", unit="factor of the differences from the image's mean", low=0, high=1)
def _contrast(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    mean = images.mean((1, 2, 3), keepdim=True)
    return (mean + (images - mean) * strength.view(-1, 1, 1, 1)).clamp(0, 1)


@degradation("brightness", unit="share of the range, added or subtracted", low=0, high=1)
def _brightness(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    return (images + (strength * _sign(images, generator)).view(-1, 1, 1, 1)).clamp(0, 1)


@degradation("rotation", unit="degrees, to either side", low=0, high=180)
def _rotation(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    """Bilinear, about the centre; borders are repeated."""
    angle = torch.deg2rad(strength.float()) * _sign(images, generator).float()
    height, width = images.shape[-2:]
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [[cosine, sine * (height / width), zero], [-sine * (width / height), cosine, zero]]
    turned = _moved(images.float(), torch.stack([torch.stack(row, dim=1) for row in rows], dim=1))
    return turned.to(images.dtype).clamp(0, 1)


@degradation("scale", unit="factor by which the face is larger or smaller", low=1, high=4)
def _scale(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    """Bilinear, about the centre; borders are repeated."""
    factor = strength.float() ** _sign(images, generator).float()
    zoom = torch.eye(2, 3, device=images.device) * factor.view(-1, 1, 1)
    return _moved(images.float(), zoom).to(images.dtype).clamp(0, 1)


def _sign(images: Tensor, generator: Generator | None) -> Tensor:
    """Draw +1 or -1 for each image."""
    heads = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(heads, 1.0, -1.0).to(images.dtype)


def _moved(images: Tensor, transform: Tensor) -> Tensor:
    """Sample images at affine transforms (N, 2, 3) of their normalised coordinates, bilinearly."""
    if not len(images):
        return images
    grid = affine_grid(transform, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)
