"""Faithfulness of a map: the change of the answer as its positions are taken away or given back.

Deletion and insertion curves of Petsiuk et al. (2018, RISE, arXiv:1806.07421, section 4.2). A curve alone
says little, since any order of positions takes the face away in the end. So a map is compared with maps that
know nothing of the image, by the same curves on the same images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2.functional import gaussian_blur

from fer_attention.inference import predict_logits
from fer_attention.optional import needs_extra

Floats = NDArray[np.float64]

CONTROLS = ("random", "other image's", "centre")
"""The maps that a map is compared with."""


@dataclass(frozen=True)
class Advantage:
    """Advantage of a map over a control, on the same images.

    Attributes:
        control: `"random"`: noise as coarse as the map; `"other image's"`: the maps dealt out anew among the
            images; `"centre"`: a Gaussian about the middle, a third of the side wide.
        deletion: Control's area under the deletion curve minus the map's: above 0, taking the map's positions
            away hurts more.
        insertion: Map's area under the insertion curve minus the control's: above 0, giving them back helps
            more.
        deletion_interval: Of `deletion`, 95 %, BCa bootstrap over images.
        insertion_interval: Of `insertion`.
    """

    control: str
    deletion: float
    deletion_interval: tuple[float, float]
    insertion: float
    insertion_interval: tuple[float, float]


@dataclass(frozen=True)
class Faithfulness:
    """Result of `faithfulness`.

    Attributes:
        count: Images.
        deletion: Mean area under the map's deletion curve; small is good.
        insertion: Mean area under its insertion curve; large is good.
        advantages: Over each control.
    """

    count: int
    deletion: float
    insertion: float
    advantages: tuple[Advantage, ...]


def faithfulness(
    model: nn.Module,
    images: torch.Tensor,
    maps: torch.Tensor,
    *,
    steps: int = 24,
    repeats: int = 3,
    grid: int = 4,
    seed: int = 0,
) -> Faithfulness:
    """Measure deletion and insertion for maps of images, against maps that know nothing of them.

    The answer followed is the probability of the class that the model finds for the whole image. Deletion
    replaces positions by the image's mean, the map's highest first; insertion gives them back to the blurred
    image (sigma a tenth of the side). Areas are in [0, 1].

    Args:
        model: A classifier.
        images: (N, C, H, W), normalised, at least two.
        maps: (N, H, W), from `grad_cam` or anything else that orders positions.
        steps: Steps from no position to all.
        repeats: Draws of the controls "random" and "other image's", whose areas are averaged.
        grid: Positions of the random maps along each side, before they are enlarged as class activation maps
            are; choose about those of the layer that the maps come from.
        seed: Of the controls and the bootstrap.

    Raises:
        ValueError: Images and maps do not fit, or a number is out of range.
        ImportError: scipy is not installed.
    """
    _check(images, maps, steps=steps, repeats=repeats, grid=grid)
    classes = predict_logits(model, images).argmax(1)
    own = _areas(model, images, maps, classes, steps)
    generator = torch.Generator().manual_seed(seed)
    advantages = []
    for control in CONTROLS:
        draws = 1 if control == "centre" else repeats
        drawn = (_control(control, maps, grid, generator) for _ in range(draws))
        areas = np.mean([_areas(model, images, other, classes, steps) for other in drawn], axis=0)
        gains = areas[0] - own[0], own[1] - areas[1]
        deletion, insertion = ((float(gain.mean()), _interval(gain, seed)) for gain in gains)
        advantages.append(Advantage(control, *deletion, *insertion))
    return Faithfulness(len(images), float(own[0].mean()), float(own[1].mean()), tuple(advantages))


def perturbation_curves(
    model: nn.Module, images: torch.Tensor, maps: torch.Tensor, classes: torch.Tensor, *, steps: int
) -> tuple[Floats, Floats]:
    """Probability of a class while positions go, and while they come: two arrays (N, steps + 1).

    Args:
        model: A classifier.
        images: (N, C, H, W), normalised.
        maps: (N, H, W); of equal values the first in reading order counts as higher.
        classes: (N,), the class followed in each image.
        steps: Steps from no position (index 0) to all.
    """
    count, _, height, width = images.shape
    order = maps.to(images.device).flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1).view(count, 1, height, width)
    mean = images.mean((2, 3), keepdim=True).expand_as(images)
    blurred = gaussian_blur(images, kernel_size=max(height, width) // 2 | 1, sigma=max(height, width) / 10)
    deletion, insertion = np.empty((2, count, steps + 1))
    for step in range(steps + 1):
        chosen = rank < round(step / steps * height * width)
        for curve, picture in (
            (deletion, torch.where(chosen, mean, images)),
            (insertion, torch.where(chosen, images, blurred)),
        ):
            probabilities = predict_logits(model, picture).softmax(1)
            curve[:, step] = probabilities.gather(1, classes.cpu()[:, None]).squeeze(1).numpy()
    return deletion, insertion


def _areas(
    model: nn.Module, images: torch.Tensor, maps: torch.Tensor, classes: torch.Tensor, steps: int
) -> Floats:
    """Areas under the deletion and the insertion curve of each image, (2, N), by trapezia."""
    curves = np.stack(perturbation_curves(model, images, maps, classes, steps=steps))
    areas: Floats = (curves[..., 1:] + curves[..., :-1]).mean(axis=-1) / 2
    return areas


def _control(control: str, maps: torch.Tensor, grid: int, generator: torch.Generator) -> torch.Tensor:
    count, height, width = maps.shape
    if control == "other image's":
        turn = int(torch.randint(1, count, (), generator=generator))
        shuffled = torch.randperm(count, generator=generator)  # a turn along a random ring: nobody's own map
        dealt = torch.empty_like(maps)
        dealt[shuffled] = maps[shuffled.roll(turn)]
        return dealt
    if control == "random":
        noise = torch.rand(count, 1, grid, grid, generator=generator)
        return F.interpolate(noise, (height, width), mode="bilinear").squeeze(1)
    rows = (torch.arange(height) - (height - 1) / 2) / height
    columns = (torch.arange(width) - (width - 1) / 2) / width
    blob = torch.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / (2 * (1 / 3) ** 2))
    return blob.expand(count, height, width)


def _interval(values: Floats, seed: int) -> tuple[float, float]:
    with needs_extra("explain", "Bootstrap intervals come from scipy"):
        from scipy.stats import bootstrap
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = bootstrap((values,), np.mean, n_resamples=5000, rng=np.random.default_rng(seed), batch=100)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _check(images: torch.Tensor, maps: torch.Tensor, *, steps: int, repeats: int, grid: int) -> None:
    if images.ndim != 4 or len(images) < 2:
        raise ValueError(f"Expected at least two images (N, C, H, W); got {tuple(images.shape)}.")
    expected = (len(images), *images.shape[2:])
    if tuple(maps.shape) != expected:
        raise ValueError(f"Expected one map for each image, {expected}; got {tuple(maps.shape)}.")
    if not maps.isfinite().all():
        raise ValueError("The maps hold numbers that are not finite, which have no order.")
    for name, value in (("steps", steps), ("repeats", repeats), ("grid", grid)):
        if value < 1:
            raise ValueError(f"{name} is at least 1; got {value}.")
