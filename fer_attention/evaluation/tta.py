"""Test-time augmentation: several views of each image, one answer.

A set of views is a function of a batch; `@VIEWS.register("name")` makes it a choice everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import nn
from torch.nn.functional import interpolate
from torchvision.transforms.functional import ten_crop

from fer_attention.evaluation.accuracy import predict_logits
from fer_attention.plugins import open_registry
from fer_attention.registry import Registry

Views: TypeAlias = Callable[[torch.Tensor, float], Iterator[torch.Tensor]]
"""Takes images (N, C, H, W) and the crop scale, yields views of the same shape."""

VIEWS: Registry[Views] = open_registry("test-time augmentation")


@VIEWS.register("none")
def plain(images: torch.Tensor, crop_scale: float) -> Iterator[torch.Tensor]:
    """The images as they are."""
    yield images


@VIEWS.register("flip")
def flip(images: torch.Tensor, crop_scale: float) -> Iterator[torch.Tensor]:
    """The images and their mirrors."""
    yield images
    yield images.flip(-1)


@VIEWS.register("ten-crop")
def ten_crops(images: torch.Tensor, crop_scale: float) -> Iterator[torch.Tensor]:
    """Four corners and the centre, and the same of the mirrored image (Krizhevsky et al. 2012, section 4.1).

    Each crop is resized back to the images' own size, bilinearly: so every model sees the size that it was
    built for, and the faces a little larger, as under a random crop in training.
    """
    size = (images.shape[-2], images.shape[-1])
    crop = [max(1, round(side * crop_scale)) for side in size]
    for view in ten_crop(images, crop):
        yield interpolate(view, size, mode="bilinear", align_corners=False)


def tta_logits(
    model: nn.Module,
    inputs: torch.Tensor,
    *,
    tta: str = "none",
    crop_scale: float = 44 / 48,
    batch_size: int = 256,
) -> torch.Tensor:
    """Mean of the logits over the views of each image: (N, classes), float32 on the CPU.

    The mean is over logits, not probabilities: a geometric mean of the views' distributions. The model is in
    evaluation mode meanwhile and gets its modes back.

    Args:
        model: Any classifier.
        inputs: Normalised images (N, C, H, W), moved to the model's device batch by batch.
        tta: A name in `VIEWS`: `"none"` (one plain pass), `"flip"` (2 views) or `"ten-crop"` (10).
        crop_scale: Side of a crop over the side of the image, in (0, 1]; 44 of 48 pixels is customary on
            FER2013.
        batch_size: Images per pass.

    Raises:
        UnknownNameError: There are no views of that name.
        ValueError: The crop scale is no share.
    """
    if not 0 < crop_scale <= 1:
        raise ValueError(f"crop_scale lies in (0, 1], got {crop_scale}.")
    views = VIEWS[tta](inputs, crop_scale)
    total, count = predict_logits(model, next(views), batch_size=batch_size), 1
    for view in views:  # one at a time: ten copies of a large set need not fit into memory
        total = total + predict_logits(model, view, batch_size=batch_size)
        count += 1
    return total / count
