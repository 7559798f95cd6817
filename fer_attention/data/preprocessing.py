"""How a face crop becomes a tensor: one rule, saved with the weights that were trained under it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from fer_attention.faces.crop import CropRule, crop_face


@dataclass(frozen=True)
class Preprocessing:
    """Crop rule, size, channels and normalisation of a model's input.

    Attributes:
        size: (height, width) in pixels.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB.
        mean: Subtracted from pixels in [0, 1], one number per channel.
        std: Divided by afterwards.
        interpolation: `"bilinear"` (antialiased) or `"bicubic"`.
        crop: How the square around a face box is cut.
    """

    size: tuple[int, int] = (48, 48)
    channels: int = 1
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    interpolation: str = "bilinear"
    crop: CropRule = field(default_factory=CropRule)

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"channels is 1 (grey) or 3 (RGB), got {self.channels}.")
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            raise ValueError(
                f"mean and std need {self.channels} numbers each, std above 0; got {self.mean} and {self.std}."
            )

    def crop_faces(
        self, image: Image.Image, boxes: Sequence[tuple[float, float, float, float]]
    ) -> torch.Tensor:
        """uint8 (N, channels, H, W): the crops of N boxes of one photo."""
        mode = "L" if self.channels == 1 else "RGB"
        crops = [
            np.asarray(
                crop_face(image, box, self.crop, size=self.size, interpolation=self.interpolation).convert(mode)
            )
            for box in boxes
        ]
        if not crops:
            return torch.empty(0, self.channels, *self.size, dtype=torch.uint8)
        return as_batch(np.stack(crops))

    def normalize(self, crops: torch.Tensor) -> torch.Tensor:
        """uint8 (N, channels, H, W) of this size -> float32 of the same shape, on the same device."""
        expected = (self.channels, *self.size)
        if crops.dtype != torch.uint8 or crops.ndim != 4 or tuple(crops.shape[1:]) != expected:
            raise ValueError(f"Expected uint8 (N, {expected}), got {crops.dtype} {tuple(crops.shape)}.")
        mean, std = (
            torch.tensor(numbers, device=crops.device).view(-1, 1, 1) for numbers in (self.mean, self.std)
        )
        return (crops.float() / 255 - mean) / std

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Preprocessing:
        """The record of `to_json`; unknown fields are a TypeError, wrong values a ValueError."""
        record: dict[str, Any] = json.loads(text)
        tuples = {key: tuple(record.pop(key)) for key in ("size", "mean", "std")}
        return cls(crop=CropRule(**record.pop("crop")), **tuples, **record)


def as_batch(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W) or (N, H, W, C) in memory -> a uint8 tensor (N, C, H, W)."""
    batch = torch.from_numpy(np.ascontiguousarray(images))
    return batch.unsqueeze(1) if batch.ndim == 3 else batch.permute(0, 3, 1, 2).contiguous()
