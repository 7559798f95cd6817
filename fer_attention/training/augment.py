"""Random changes of a whole batch at once, each sample its own, on the device of the batch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from fer_attention.training.config import AugmentConfig


def augmentation(config: AugmentConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function on float images (N, C, H, W) in [0, 1]; draws from torch's global random state.

    Raises:
        ImportError: kornia is not installed.
    """
    try:
        import kornia.augmentation as kornia  # noqa: PLC0415  (optional, loaded where it is used)
    except ImportError as error:
        raise ImportError("Training augments with kornia: pip install 'fer_attention[train]'.") from error
    c = config
    geometry = kornia.RandomAffine(
        degrees=c.rotate,
        translate=(c.translate, c.translate),
        scale=(1 - c.scale, 1 + c.scale),
        padding_mode="border",
        p=1.0 if c.rotate or c.translate or c.scale else 0.0,
    )
    steps = [
        kornia.RandomHorizontalFlip(p=c.flip),
        geometry,
        kornia.RandomBrightness((1 - c.brightness, 1 + c.brightness), p=1.0 if c.brightness else 0.0),
        kornia.RandomContrast((1 - c.contrast, 1 + c.contrast), p=1.0 if c.contrast else 0.0),
        kornia.RandomErasing(scale=(0.02, 0.1), p=c.erase),
    ]
    return kornia.AugmentationSequential(*(step for step in steps if step.p or step.p_batch))
