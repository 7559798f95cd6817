"""How a face crop becomes a tensor: one rule, saved with the weights that were trained under it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fer_attention.data.files import ImageFiles
from fer_attention.faces.crop import CropRule, Interpolation
from fer_attention.faces.cropper import cut_face
from fer_attention.faces.face import Face, FaceDetector
from fer_attention.registry import unknown_name


@dataclass(frozen=True)
class Preprocessing:
    """Crop rule, size, channels and normalisation of a model's input.

    Attributes:
        size: (height, width) in pixels.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB.
        mean: Subtracted from pixels in [0, 1], one number per channel.
        std: Divided by afterwards.
        interpolation: `"bilinear"`, `"bicubic"`, `"lanczos"` (all antialiased) or `"nearest"`.
        crop_rule: Which square of a photo belongs to a face's box.
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

    def crop(self, photo: Image.Image, face: Face, detector: FaceDetector | None = None) -> torch.Tensor:
        """uint8 (channels, H, W): a face of an upright RGB or grey photo.

        Args:
            photo: What `load_image` gives.
            face: A face in it.
            detector: Who found it; detectors draw different boxes (`faces.BoxShape`).

        Raises:
            ValueError: The face lies outside the photo, or the crop rule needs landmarks that it lacks.
        """
        crop, _ = cut_face(
            photo,
            face,
            self.crop_rule,
            detector=detector,
            size=self.size,
            interpolation=self.interpolation,
        )
        return as_batch(np.asarray(crop.convert(self._mode))[None])[0]

    def prepare(self, images: NDArray[np.uint8] | ImageFiles) -> torch.Tensor:
        """uint8 (N, channels, H, W) of whole crops, (N, h, w) grey or (N, h, w, 3) RGB of any size."""
        if images.shape[1:] == (*self.size, *((3,) if self.channels == 3 else ())):
            return as_batch(images[:])
        height, width = self.size
        method = Image.Resampling[self.interpolation.upper()]
        crops = [Image.fromarray(image).resize((width, height), method) for image in images]
        return as_batch(np.stack([np.asarray(crop.convert(self._mode)) for crop in crops]))

    @property
    def _mode(self) -> str:
        return "L" if self.channels == 1 else "RGB"

    def normalize(self, crops: torch.Tensor) -> torch.Tensor:
        """uint8 (N, channels, H, W) of this size -> float32 of the same shape, on the same device."""
        expected = (self.channels, *self.size)
        if crops.dtype != torch.uint8 or crops.ndim != 4 or tuple(crops.shape[1:]) != expected:
            raise ValueError(f"Expected uint8 (N, {expected}), got {crops.dtype} {tuple(crops.shape)}.")
        return self.standardize(crops.float() / 255)

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


def as_batch(images: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 (N, H, W) or (N, H, W, C) in memory -> a uint8 tensor (N, C, H, W)."""
    batch = torch.from_numpy(np.array(images, order="C"))  # a copy: Pillow's arrays are read-only
    return batch.unsqueeze(1) if batch.ndim == 3 else batch.permute(0, 3, 1, 2).contiguous()
