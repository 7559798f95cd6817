"""Augmentation of whole batches on their device, drawn for each sample."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from fer_attention.data import degrade
from fer_attention.optional import needs_extra
from fer_attention.training.config import AugmentConfig

Mixing = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def augmentation(config: AugmentConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """Build the augmentation of float images (N, C, H, W) in [0, 1].

    It draws from torch's global random state.

    Raises:
        ImportError: kornia is not installed: `fer_attention[train]`.
    """
    with needs_extra("train", "Training augments with kornia"):
        import kornia.augmentation as kornia  # noqa: PLC0415  (optional, loaded where it is used)
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
    sequence = kornia.AugmentationSequential(*(step for step in steps if step.p or step.p_batch))

    @cache  # one module for all batches, since the images of a run have one size
    def crop_of(height: int, width: int) -> Callable[[torch.Tensor], torch.Tensor]:
        area = (c.crop**2, c.crop**2)
        crop = {"scale": area, "ratio": (1.0, 1.0), "cropping_mode": "resample", "p": 1.0}
        return kornia.RandomResizedCrop((height, width), **crop)

    def augmented(images: torch.Tensor) -> torch.Tensor:
        if c.crop < 1:
            images = crop_of(*images.shape[-2:])(images)
        return _degraded(sequence(images), c)

    return augmented


def _degraded(images: torch.Tensor, config: AugmentConfig) -> torch.Tensor:
    for name, options in config.degrade.items():
        chosen = torch.rand(len(images), device=images.device) < options.probability
        strength = torch.empty(len(images), device=images.device).uniform_(options.low, options.high)[chosen]
        if len(strength):
            images = images.clone()
            images[chosen] = degrade(images[chosen].clamp(0, 1), name, strength)
    return images


def mixing(config: AugmentConfig) -> Mixing:
    """Build mixup (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et al. 2019, arXiv:1905.04899).

    The function takes images (N, C, H, W) and target distributions (N, classes). If both are enabled, each
    batch is mixed by one of them, chosen with equal probability. It draws from torch's global random state.
    """
    from torchvision.transforms import v2  # noqa: PLC0415  (slow to import)

    each: tuple[tuple[Any, float], ...] = ((v2.MixUp, config.mixup), (v2.CutMix, config.cutmix))
    enabled: list[Mixing] = [transform(alpha=alpha) for transform, alpha in each if alpha]
    if not enabled:
        return lambda images, targets: (images, targets)
    return enabled[0] if len(enabled) == 1 else v2.RandomChoice(enabled)
