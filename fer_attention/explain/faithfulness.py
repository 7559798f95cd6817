"""Faithfulness of maps: the effect of deleting and inserting their positions on the prediction.

Deletion and insertion curves of Petsiuk et al. (2018, RISE, arXiv:1806.07421, section 4.2). A curve alone is
hard to interpret, since any order of positions deletes the face in the end. Therefore maps are compared with
controls that do not depend on the image, by the same curves on the same images.
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
"""Controls that maps are compared with."""


@dataclass(frozen=True)
class Advantage:
    """Advantage of a map over a control, on the same images.

    Attributes:
        control: `"random"`: noise as coarse as the map; `"other image's"`: the maps of other images;
            `"centre"`: a Gaussian at the centre with a standard deviation of a third of the side.
        deletion: Control's area under the deletion curve minus the map's; positive if deleting the map's
            positions lowers the probability more.
        insertion: Map's area under the insertion curve minus the control's; positive if inserting the map's
            positions raises the probability more.
        deletion_interval: 95 % interval of `deletion`, by BCa bootstrap over images.
        insertion_interval: 95 % interval of `insertion`.

    >>> gain = Advantage("random", deletion=0.1, deletion_interval=(0.06, 0.14),
    ...                  insertion=0.02, insertion_interval=(-0.01, 0.05))
    >>> gain.deletion_interval[0] > 0, gain.insertion_interval[0] > 0
    (True, False)
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
        count: Number of images.
        deletion: Mean area under the deletion curve; smaller is better.
        insertion: Mean area under the insertion curve; larger is better.
        advantages: Advantage over each control.

    >>> found = Faithfulness(count=300, deletion=0.21, insertion=0.6, advantages=())
    >>> f"{found.deletion:.2f} {found.insertion:.2f} (n = {found.count})"
    '0.21 0.60 (n = 300)'
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
    """Measure deletion and insertion of maps, compared with controls that do not depend on the image.

    Both follow the probability of the class that the model predicts for the original image. Deletion replaces
    positions by the image's mean, starting with the highest values of the map; insertion restores them in the
    blurred image (sigma is a tenth of the side). Areas are in [0, 1].

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    >>> images = torch.randn(6, 1, 8, 8)
    >>> found = faithfulness(model, images, images.abs().squeeze(1), steps=2, repeats=1)
    >>> found.count, [advantage.control for advantage in found.advantages]
    (6, ['random', "other image's", 'centre'])

    Args:
        model: A classifier.
        images: (N, C, H, W), normalised, at least two.
        maps: (N, H, W), from `grad_cam` or any other method that ranks positions.
        steps: Number of steps from no position to all.
        repeats: Draws of the controls "random" and "other image's", whose areas are averaged.
        grid: Side length of the random maps before they are enlarged like class activation maps; choose about
            the side length of the layer that the maps come from.
        seed: Seed of the controls and the bootstrap.

    Raises:
        ValueError: Images and maps do not match, or a number is out of range.
        ImportError: scipy is not installed: `fer_attention[explain]`.
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
    """Compute the deletion and insertion curves of images: two arrays (N, steps + 1) of probabilities.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    >>> images, classes = torch.randn(3, 1, 8, 8), torch.tensor([0, 1, 1])
    >>> deletion, insertion = perturbation_curves(model, images, images[:, 0], classes, steps=4)
    >>> deletion.shape
    (3, 5)

    Args:
        model: A classifier.
        images: (N, C, H, W), normalised.
        maps: (N, H, W); equal values rank in reading order.
        classes: (N,), the class whose probability is followed in each image.
        steps: Number of steps from no position (index 0) to all.
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
    """Compute the areas under each image's deletion and insertion curve, (2, N), by the trapezoidal rule."""
    curves = np.stack(perturbation_curves(model, images, maps, classes, steps=steps))
    areas: Floats = (curves[..., 1:] + curves[..., :-1]).mean(axis=-1) / 2
    return areas


def _control(control: str, maps: torch.Tensor, grid: int, generator: torch.Generator) -> torch.Tensor:
    count, height, width = maps.shape
    if control == "other image's":
        shift = int(torch.randint(1, count, (), generator=generator))
        order = torch.randperm(count, generator=generator)  # rotating a random cycle moves every map
        others = torch.empty_like(maps)
        others[order] = maps[order.roll(shift)]
        return others
    if control == "random":
        noise = torch.rand(count, 1, grid, grid, generator=generator)
        return F.interpolate(noise, (height, width), mode="bilinear").squeeze(1)
    rows = (torch.arange(height) - (height - 1) / 2) / height
    columns = (torch.arange(width) - (width - 1) / 2) / width
    blob = torch.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / (2 * (1 / 3) ** 2))
    return blob.expand(count, height, width)


def _interval(values: Floats, seed: int) -> tuple[float, float]:
    with needs_extra("explain", "Bootstrap intervals are computed with scipy"):
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
        raise ValueError("The maps contain values that are not finite, which cannot be ranked.")
    for name, value in (("steps", steps), ("repeats", repeats), ("grid", grid)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}.")
