"""Ways in which real photos are worse than a data set's: blur, noise, few pixels, JPEG, light, hidden parts.

Each works on a batch at once, every image with a strength of its own, on the device of the batch. Training
draws strengths at random (`training.DegradeConfig`); `evaluate --degrade` applies one to a whole test set.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

from fer_attention.data.records import FaceDataset
from fer_attention.plugins import open_registry
from fer_attention.registry import Registry

FILTERS = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)
"""Pillow's filters that a random change of resolution draws from, shrinking and enlarging alike."""

EYE_LINE = 0.39
"""Height of the eyes in FER2013's frames, as a share from the top (`benchmarks/face_geometry.py`)."""


Apply: TypeAlias = Callable[[Tensor, Tensor, Generator | None], Tensor]
"""Images (N, C, H, W) in [0, 1], strengths (N,) and a source of randomness -> images of the same form."""


@dataclass(frozen=True)
class Degradation:
    """One way in which an image gets worse.

    Attributes:
        apply: The function.
        unit: What a strength counts.
        low: Smallest strength allowed.
        high: Largest strength allowed.
    """

    apply: Apply
    unit: str
    low: float
    high: float


DEGRADATIONS: Registry[Degradation] = open_registry("degradation")


def _degradation(name: str, *, unit: str, low: float, high: float) -> Callable[[Apply], Apply]:
    def enter(apply: Apply) -> Apply:
        DEGRADATIONS.register(name)(Degradation(apply, unit, low, high))
        return apply

    return enter


def degrade(
    images: Tensor,
    name: str,
    strength: float | Tensor,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Degrade a batch of images.

    >>> degrade(torch.full((2, 1, 48, 48), 0.25), "gamma", 0.5)[0, 0, 0, 0]
    tensor(0.5000)

    Args:
        images: Floats in [0, 1], (N, C, H, W).
        name: An entry of `DEGRADATIONS`.
        strength: In the degradation's unit: one number, or one per image, (N,).
        generator: Source of randomness on the images' device; None takes torch's global state.

    Raises:
        UnknownNameError: No degradation has this name.
        ValueError: A strength is out of the degradation's range, or images or strengths have another form.
    """
    entry = DEGRADATIONS[name]
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images are floats (N, C, H, W), got {images.dtype} {tuple(images.shape)}.")
    given = torch.as_tensor(strength)
    if given.shape not in ((), (len(images),)):
        raise ValueError(
            f"strength is one number or one per image, ({len(images)},), got {tuple(given.shape)}."
        )
    if given.numel():
        check_strength(name, *(float(end) for end in given.float().aminmax()))
    return entry.apply(images, given.to(images).expand(len(images)), generator)


def check_strength(name: str, *strengths: float) -> None:
    """Check that a degradation exists and has these strengths."""
    entry = DEGRADATIONS[name]
    for strength in strengths:
        if not entry.low <= strength <= entry.high:
            raise ValueError(
                f"The strength of {name} is {entry.low:g} to {entry.high:g} ({entry.unit}), got {strength:g}."
            )


def parse_degradation(text: str) -> tuple[str, float]:
    """Read `NAME:STRENGTH`.

    >>> parse_degradation("noise:20")
    ('noise', 20.0)

    Raises:
        UnknownNameError: No degradation has this name.
        ValueError: The text has another form, or the strength is out of range.
    """
    name, separator, number = text.partition(":")
    try:
        strength = float(number)
    except ValueError:
        separator = ""
    if not separator:
        raise ValueError(f"A degradation is NAME:STRENGTH, such as noise:20; got {text!r}.")
    check_strength(name, strength)
    return name, strength


def degrade_crops(crops: FaceDataset, name: str, strength: float, *, seed: int = 0) -> FaceDataset:
    """Degrade all images of a data set; the result is uint8, in memory.

    >>> images = np.full((2, 48, 48), 128, dtype=np.uint8)
    >>> names, splits = np.array(["a", "b"]), np.repeat("test", 2)
    >>> faces = FaceDataset(images, np.zeros(2, dtype=np.int64), names, splits, ("happy",))
    >>> noisy = degrade_crops(faces, "noise", 20)
    >>> noisy.images.shape, round(float(noisy.images.std()))
    ((2, 48, 48), 20)

    Args:
        crops: Images of one size.
        name: An entry of `DEGRADATIONS`.
        strength: In its unit, for pixels of these crops.
        seed: Seed of the random numbers; the result repeats for the same crops in the same order.

    Raises:
        UnknownNameError: No degradation has this name.
        ValueError: The strength is out of range.
    """
    check_strength(name, strength)  # before any image is read
    generator = Generator().manual_seed(seed)
    blocks = []
    for start in range(0, len(crops), 1024):
        images = torch.from_numpy(np.array(crops.images[start : start + 1024])).float() / 255
        batch = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        worse = degrade(batch, name, strength, generator=generator).mul(255).round().to(torch.uint8)
        blocks.append((worse[:, 0] if images.ndim == 3 else worse.permute(0, 2, 3, 1)).numpy())
    return replace(crops, images=np.concatenate(blocks)) if blocks else crops


@_degradation("lower_face", unit="share of the height that a bar hides from below", low=0, high=1)
def _lower_face(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    return _bar(images, 1 - strength, torch.ones_like(strength), generator)


@_degradation("eyes", unit="share of the height that a bar over the eyes hides", low=0, high=1)
def _eyes(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    return _bar(images, EYE_LINE - strength / 2, EYE_LINE + strength / 2, generator)


@_degradation("gamma", unit="exponent; above 1 darkens", low=0.1, high=10)
def _gamma(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    return images.pow(strength.view(-1, 1, 1, 1))


@_degradation("blur", unit="standard deviation of a Gaussian, pixels", low=0, high=16)
def _blur(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    rows, columns = (_gaussian(size, strength) for size in images.shape[-2:])
    return _separable(images, rows, columns)


@_degradation(
    "resolution", unit="side that the image is shrunk to and enlarged from, pixels", low=4, high=1024
)
def _resolution(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    """Shrink and enlarge bilinearly; `resampling` draws its filters."""
    chosen = torch.full((len(images), 2), FILTERS.index(Image.Resampling.BILINEAR))
    return _through(images, strength, chosen)


@_degradation("resampling", unit="as resolution, with filters drawn at random", low=4, high=1024)
def _resampling(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    chosen = torch.randint(len(FILTERS), (len(images), 2), generator=generator, device=images.device)
    return _through(images, strength, chosen)


@_degradation("noise", unit="standard deviation, grey levels of 255", low=0, high=255)
def _noise(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    drawn = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return (images + drawn * (strength / 255).view(-1, 1, 1, 1)).clamp(0, 1)


@_degradation("jpeg", unit="quality", low=1, high=100)
def _jpeg(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    """Compress with Pillow, image by image on the CPU: approximations on devices lose less than files do."""
    if images.shape[1] not in (1, 3):
        raise ValueError(f"JPEG images have 1 channel (grey) or 3 (RGB), got {images.shape[1]}.")
    pixels = images.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    for image, quality in zip(pixels, strength.tolist(), strict=True):
        file = io.BytesIO()
        grey_or_rgb = image[..., 0] if images.shape[1] == 1 else image
        Image.fromarray(grey_or_rgb).save(file, "JPEG", quality=round(quality))
        image[:] = np.asarray(Image.open(file)).reshape(image.shape)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(images) / 255


def _bar(images: Tensor, top: Tensor, bottom: Tensor, generator: Generator | None) -> Tensor:
    """Draw a bar of one random grey over the full width, from `top` to `bottom` (N,), shares of the height.

    It hides the rows whose centres it covers.
    """
    height = images.shape[-2]
    centres = (torch.arange(height, device=images.device) + 0.5) / height
    hidden = (centres >= top.view(-1, 1)) & (centres < bottom.view(-1, 1))
    greys = torch.rand(len(images), generator=generator, device=images.device, dtype=images.dtype)
    return torch.where(hidden[:, None, :, None], greys.view(-1, 1, 1, 1), images)


def _separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Compute rows @ image @ columns.T for each image, with (N, H, H) and (N, W, W), within [0, 1]."""
    return (rows.unsqueeze(1) @ images @ columns.unsqueeze(1).mT).clamp(0, 1)


def _gaussian(size: int, sigma: Tensor) -> Tensor:
    """Compute matrices (N, size, size) that blur along one axis; weights beyond the border are left out."""
    position = torch.arange(size, device=sigma.device, dtype=sigma.dtype)
    distance = (position.view(-1, 1) - position) / sigma.clamp(min=1e-3).view(-1, 1, 1)
    weights = torch.exp(-distance.square() / 2)
    return weights / weights.sum(-1, keepdim=True)


def _through(images: Tensor, side: Tensor, filters: Tensor) -> Tensor:
    """Shrink to `side` pixels (N,), rounded, and enlarge again by two filters each (N, 2), indices."""
    if not len(images):
        return images
    choices = list(zip(side.round().int().tolist(), filters.tolist(), strict=True))
    rows, columns = (
        torch.stack([_resampling_matrix(size, pixels, *two) for pixels, two in choices]).to(images)
        for size in images.shape[-2:]
    )
    return _separable(images, rows, columns)


@lru_cache(maxsize=512)  # 100 MB for images of 224×224
def _resampling_matrix(size: int, through: int, down: int, up: int) -> Tensor:
    """Compute the (size, size) effect on one axis of Pillow's resizing to `through` pixels and back.

    Resizing is linear, so the columns of a resized identity are its weights.
    """
    if through >= size:
        return torch.eye(size)
    identity = Image.fromarray(np.eye(size, dtype=np.float32))
    small = identity.resize((size, through), FILTERS[down])
    return torch.from_numpy(np.array(small.resize((size, size), FILTERS[up])))
