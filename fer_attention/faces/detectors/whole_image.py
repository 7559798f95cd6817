"""The whole image as the face, for data sets that are already cropped."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fer_attention.faces.detectors.registry import DETECTORS
from fer_attention.faces.face import BoxCalibration, Face
from fer_attention.faces.images import ImageSource, load_image, require_sequence
from fer_attention.preprocessing import CropRule

_CALIBRATION = BoxCalibration(height=1 / (CropRule().scale or 1))  # so that the default crop is the image


@DETECTORS.register("none")
class WholeImage:
    """No detection: each image is one face with score 1 and without landmarks, as in FER2013.

    Args:
        device: Accepted as in the other detectors, and ignored.
    """

    name = "none"

    def __init__(self, *, device: str | torch.device = "auto") -> None:
        del device

    def detect(self, images: Sequence[ImageSource]) -> list[list[Face]]:
        """Return one face for each image: all of it."""
        require_sequence(images)
        return [[whole_image(load_image(source).size)] for source in images]


def whole_image(size: tuple[int, int]) -> Face:
    """Return the face that fills an image of (width, height)."""
    box = (0.0, 0.0, float(size[0]), float(size[1]))
    return Face(box, 1.0, common_box=_CALIBRATION.common_box(box))
