"""Test-time augmentation: several views of each image, one answer.

A set of views is a function of a batch; `@VIEWS.register("name")` makes it a choice everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate
from torchvision.transforms.functional import ten_crop

from fer_attention.classifiers.base import Classifier, Pixels, softmax
from fer_attention.plugins import open_registry
from fer_attention.registry import Registry

Views: TypeAlias = Callable[[torch.Tensor], Iterator[torch.Tensor]]
"""Takes uint8 images (N, C, H, W), yields views of the same type and shape."""

VIEWS: Registry[Views] = open_registry("test-time augmentation")

CROP = 44 / 48
"""Side of a crop over the side of the image, customary on FER2013."""


@VIEWS.register("none")
def plain(images: torch.Tensor) -> Iterator[torch.Tensor]:
    """Return the images unchanged."""
    yield images


@VIEWS.register("flip")
def flip(images: torch.Tensor) -> Iterator[torch.Tensor]:
    """Return the images and their mirror images."""
    yield images
    yield images.flip(-1)


@VIEWS.register("ten-crop")
def ten_crops(images: torch.Tensor) -> Iterator[torch.Tensor]:
    """Crop the four corners and the centre, of the image and its mirror image (Krizhevsky et al. 2012, 4.1).

    Each crop is resized back to the images' own size, bilinearly: so every model sees the size that it was
    built for, and the faces a little larger, as under a random crop in training.
    """
    size = (images.shape[-2], images.shape[-1])
    crop = [max(1, round(side * CROP)) for side in size]
    for view in ten_crop(images, crop):
        resized = interpolate(view.float(), size, mode="bilinear", align_corners=False)
        yield resized.round().to(images.dtype)


def tta_probabilities(
    classifier: Classifier,
    crops: Pixels,
    *,
    tta: str = "none",
    batch_size: int = 256,
) -> NDArray[np.float64]:
    """Predict the probabilities (N, classes) over the views of each crop: their geometric mean, normalised.

    For a softmax, this is the mean of the logits over the views.

    >>> from fer_attention.classifiers import load_classifier
    >>> classifier = load_classifier("resnetv2_18_eca_elu.fer2013")
    >>> tta_probabilities(classifier, np.zeros((2, 1, 48, 48), dtype=np.uint8), tta="flip").shape
    (2, 7)

    Args:
        classifier: Any classifier.
        crops: uint8 (N, channels, H, W).
        tta: A name in `VIEWS`: `"none"` (one plain pass), `"flip"` (2 views) or `"ten-crop"` (10).
        batch_size: Images per pass.

    Raises:
        UnknownNameError: The views are unknown.
        ValueError: The classifier refuses the crops.
    """
    logs: NDArray[np.float64] = np.zeros((len(crops), len(classifier.labels)))
    count = 0
    for view in VIEWS[tta](torch.from_numpy(crops)):  # one at a time, to save memory
        found = classifier.probabilities(view.numpy(), batch_size=batch_size)
        logs += np.log(np.maximum(found, np.finfo(np.float64).tiny))
        count += 1
    return softmax(logs / count)
