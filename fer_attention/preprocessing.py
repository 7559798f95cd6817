"""Preprocessing of a model's input: the crop of a face, and its size, channels and normalisation.

These records are saved with the weights; `faces` cuts crops accordingly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fer_attention.bounded import bounded
from fer_attention.registry import check_choice

MAX_SIDE = 4096
"""Longest side of a model's input, pixels: larger ones come from damaged files."""

MAX_SCALE = 100

Shape: TypeAlias = Literal["square", "box", "aligned"]
Reference: TypeAlias = Literal["height", "width", "longest"]
Border: TypeAlias = Literal["clamp", "pad"]
Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos"]

_SCALES: dict[str, float] = {"square": 0.95, "box": 1.0, "aligned": 1.0}


@dataclass(frozen=True)
class CropRule:
    """The part of a photo that is cut out for a face.

    The default, a square of 0.95 times the height of MTCNN's box, matches the frames of FER2013.

    >>> CropRule(shape="box").scale
    1.0

    Args:
        scale: Factor above 0: the side of a square over the reference length; both sides of a box over the
            detector's; the side of an aligned crop over FER2013's frame. None is 0.95, 1 and 1, by shape.
        reference: The length of the box that a square refers to: its "height", "width" or "longest" side.
        border: Behaviour at the photo's border. "clamp" uses existing pixels only: it shifts a square inside
            the photo, shrinks it to the shorter side if it does not fit, and cuts a box off. "pad" keeps
            position and size and repeats the outermost pixels, as aligned crops always do.
        shape: "square": a square around the box's centre, undistorted. "box": the box itself, stretched to
            a square input (the paper's crop). "aligned": an upright square with eyes and mouth at their
            average positions in FER2013's frames; it needs landmarks.

    Raises:
        UnknownNameError: The shape, reference or border is unknown.
        ValueError: The scale is not a number above 0 or too large.
    """

    scale: float | None = None
    reference: Reference = "height"
    border: Border = "clamp"
    shape: Shape = "square"

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("crop shape", self.shape, Shape),
            ("reference length", self.reference, Reference),
            ("border rule", self.border, Border),
        ):
            check_choice(kind, value, get_args(known))
        if self.scale is None:
            object.__setattr__(self, "scale", _SCALES[self.shape])
        elif not isinstance(self.scale, (int, float)) or not 0 < self.scale <= MAX_SCALE:
            raise ValueError(
                f"scale is a number above 0, at most {MAX_SCALE}, such as 0.95; got {bounded(self.scale)}."
            )


class Images(Protocol):
    """Whole crops of one size, an array or files: uint8 (N, h, w) grey or (N, h, w, 3) RGB."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, h, w) or (N, h, w, 3)."""

    def __getitem__(self, index: slice, /) -> NDArray[np.uint8]:
        """Return the selected images, in memory."""

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Iterate over single images."""


@dataclass(frozen=True)
class Preprocessing:
    """Crop rule, size, channels and normalisation of a model's input.

    >>> crops = Preprocessing(size=(48, 48)).prepare(np.zeros((2, 60, 60, 3), dtype=np.uint8))
    >>> crops.shape
    (2, 1, 48, 48)

    Attributes:
        size: (height, width) in pixels.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB.
        mean: Mean of pixels in [0, 1], per channel, which is subtracted.
        std: Standard deviation per channel, by which the difference is divided.
        interpolation: `"bilinear"`, `"bicubic"`, `"lanczos"` (all antialiased) or `"nearest"`.
        crop_rule: The part of a photo that is cut out for a face.

    Raises:
        UnknownNameError: The interpolation is unknown.
        ValueError: A number is out of range, or `mean` and `std` do not match the channels.
    """

    size: tuple[int, int] = (48, 48)
    channels: int = 1
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    interpolation: Interpolation = "bilinear"
    crop_rule: CropRule = field(default_factory=CropRule)

    def __post_init__(self) -> None:
        check_choice("interpolation", self.interpolation, get_args(Interpolation))
        sides = [side for side in self.size if type(side) is int and 1 <= side <= MAX_SIDE]
        if len(self.size) != 2 or len(sides) != 2:
            raise ValueError(
                f"size is (height, width), whole pixels from 1 to {MAX_SIDE}; got {bounded(self.size)}."
            )
        if type(self.channels) is not int or self.channels not in (1, 3):
            raise ValueError(f"channels is 1 (grey) or 3 (RGB), got {bounded(self.channels)}.")
        if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in (*self.mean, *self.std)):
            raise ValueError(f"mean and std are finite numbers, got {bounded((self.mean, self.std))}.")
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            raise ValueError(
                f"mean and std need {self.channels} numbers each, std above 0; got "
                f"{bounded(self.mean)}, {bounded(self.std)}."
            )

    def prepare(self, images: Images) -> NDArray[np.uint8]:
        """Convert whole crops, (N, h, w) grey or (N, h, w, 3) RGB, to uint8 (N, channels, H, W)."""
        if images.shape[1:] == (*self.size, *((3,) if self.channels == 3 else ())):
            return _channels_first(images[:])
        height, width = self.size
        method = Image.Resampling[self.interpolation.upper()]
        crops = [Image.fromarray(image).resize((width, height), method) for image in images]
        mode = "L" if self.channels == 1 else "RGB"
        return _channels_first(np.stack([np.asarray(crop.convert(mode)) for crop in crops]))

    def check(self, crops: torch.Tensor | NDArray[np.uint8]) -> None:
        """Check that crops are uint8 (N, channels, H, W) of this size.

        Raises:
            ValueError: They have another type or shape.
        """
        form = (self.channels, *self.size)
        if str(crops.dtype).removeprefix("torch.") != "uint8" or tuple(crops.shape[1:]) != form:
            raise ValueError(
                f"Crops are uint8 (N, {', '.join(map(str, form))}); got {crops.dtype} {tuple(crops.shape)}. "
                "Preprocessing.prepare() makes them from whole crops, faces.cut_input() from photos."
            )

    def normalize(self, crops: torch.Tensor | NDArray[np.uint8]) -> torch.Tensor:
        """Normalise uint8 crops (N, channels, H, W) to float32 of the same shape, on the same device."""
        self.check(crops)
        pixels = torch.from_numpy(crops) if isinstance(crops, np.ndarray) else crops
        return self.standardize(pixels.float() / 255)

    def standardize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Subtract mean from pixels (N, channels, H, W) in [0, 1], then divide by std."""
        mean, std = (
            torch.tensor(numbers, device=pixels.device, dtype=pixels.dtype).view(-1, 1, 1)
            for numbers in (self.mean, self.std)
        )
        return (pixels - mean) / std

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Preprocessing:
        """Read a record from JSON; unknown fields raise a TypeError, invalid values a ValueError."""
        record: dict[str, Any] = json.loads(text)
        record |= {key: tuple(record[key]) for key in ("size", "mean", "std")}
        return cls(**{**record, "crop_rule": CropRule(**record["crop_rule"])})


def _channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Copy (N, H, W) or (N, H, W, C) to (N, C, H, W); a copy, since Pillow's arrays are read-only."""
    return np.array(images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2), order="C")
