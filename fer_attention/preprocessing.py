"""The records of a model's input: the part of a photo that is a face, and how it becomes a tensor.

They are saved with the weights that were trained under them. `faces` cuts by them, `models` keeps them.
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

from fer_attention.registry import unknown_name

Shape: TypeAlias = Literal["square", "box", "aligned"]
Reference: TypeAlias = Literal["height", "width", "longest"]
Border: TypeAlias = Literal["clamp", "pad"]
Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos"]

_SCALES: dict[str, float] = {"square": 0.95, "box": 1.0, "aligned": 1.0}


@dataclass(frozen=True)
class CropRule:
    """Which part of the photo belongs to a face.

    The default, a square of 0.95 times the height of MTCNN's box, is how FER2013's frames lie about faces.
    `dataclasses.asdict` gives a JSON-able record.

    Args:
        scale: Factor, above 0. Of a square, its side over the reference length; of a box, both of its sides
            over the detector's; of an aligned crop, its side over that of FER2013's frame. None is the
            shape's usual one: 0.95, 1 and 1.
        reference: The length of the box that counts for a square: its "height", its "width" or the "longest".
        border: What happens at the photo's border. "clamp" takes true pixels only: it shifts a square inside
            and, if it does not fit, shrinks it to the photo's shorter side, so that a face at the border is
            off centre; it cuts a box off. "pad" keeps place and size and continues the outermost pixels
            outwards, as aligned crops always do.
        shape: "square": a square about the box's centre, in true proportions. "box": the box itself, which a
            square size stretches (the paper's crop). "aligned": the square in which eyes and mouth lie where
            they do in FER2013's frames on average, turned upright; it needs landmarks.

    Raises:
        ValueError: The scale is not a finite number above 0, or the shape, reference or border is unknown.
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
            if value not in get_args(known):
                raise unknown_name(kind, value, get_args(known))
        if self.scale is None:
            object.__setattr__(self, "scale", _SCALES[self.shape])
        elif not 0 < self.scale < math.inf:
            raise ValueError(f"scale is a finite number above 0, for instance 0.95; got {self.scale}.")


class Images(Protocol):
    """Whole crops of one size: uint8 (N, h, w) grey or (N, h, w, 3) RGB, an array or read from files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, h, w) or (N, h, w, 3)."""

    def __getitem__(self, index: slice, /) -> NDArray[np.uint8]:
        """The chosen images, in memory."""

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """One image at a time."""


@dataclass(frozen=True)
class Preprocessing:
    """Crop rule, size, channels and normalisation of a model's input.

    Attributes:
        size: (height, width) in pixels.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB.
        mean: Subtracted from pixels in [0, 1], one number per channel.
        std: Divided by afterwards.
        interpolation: `"bilinear"`, `"bicubic"`, `"lanczos"` (all antialiased) or `"nearest"`.
        crop_rule: The part of a photo that belongs to a face.

    Raises:
        UnknownNameError: There is no such interpolation.
        ValueError: A number is out of range, or the channels disagree with `mean` and `std`.
    """

    size: tuple[int, int] = (48, 48)
    channels: int = 1
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    interpolation: Interpolation = "bilinear"
    crop_rule: CropRule = field(default_factory=CropRule)

    def __post_init__(self) -> None:
        if self.interpolation not in get_args(Interpolation):
            raise unknown_name("interpolation", self.interpolation, get_args(Interpolation))
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size is (height, width) in pixels, got {self.size}.")
        if self.channels not in (1, 3):
            raise ValueError(f"channels is 1 (grey) or 3 (RGB), got {self.channels}.")
        if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in (*self.mean, *self.std)):
            raise ValueError(f"mean and std are finite numbers, got {self.mean} and {self.std}.")
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            raise ValueError(
                f"mean and std need {self.channels} numbers each, std above 0; got {self.mean}, {self.std}."
            )

    def prepare(self, images: Images) -> NDArray[np.uint8]:
        """uint8 (N, channels, H, W) of whole crops, (N, h, w) grey or (N, h, w, 3) RGB of any size."""
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
        """uint8 (N, channels, H, W) of this size -> float32 of the same shape, on the same device."""
        self.check(crops)
        pixels = torch.from_numpy(crops) if isinstance(crops, np.ndarray) else crops
        return self.standardize(pixels.float() / 255)

    def standardize(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) in [0, 1] -> the same, minus the mean, over the standard deviation."""
        mean, std = (
            torch.tensor(numbers, device=pixels.device).view(-1, 1, 1) for numbers in (self.mean, self.std)
        )
        return (pixels - mean) / std

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Preprocessing:
        """The record of `to_json`; unknown fields are a TypeError, wrong values a ValueError."""
        record: dict[str, Any] = json.loads(text)
        record |= {key: tuple(record[key]) for key in ("size", "mean", "std")}
        return cls(**{**record, "crop_rule": CropRule(**record["crop_rule"])})


def _channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W) or (N, H, W, C) in memory -> a copy (N, C, H, W): Pillow's arrays are read-only."""
    return np.array(images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2), order="C")
