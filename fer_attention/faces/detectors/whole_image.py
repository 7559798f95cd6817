"""The whole picture as the face, for sets that are cropped already."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fer_attention.faces.calibration import BoxCalibration
from fer_attention.faces.detectors.registry import DETECTORS
from fer_attention.faces.face import Face
from fer_attention.faces.images import ImageSource, load_image, require_several
from fer_attention.preprocessing import CropRule

_CALIBRATION = BoxCalibration(height=1 / (CropRule().scale or 1))  # the usual square cuts out the picture


@DETECTORS.register("none")
class WholeImage:
    """No detection: each picture is one face, as in FER2013.

    Its box is the picture, its score 1, and there are no landmarks.

    Args:
        device: Taken for the sake of the other detectors' form; nothing runs anywhere.
    """

    name = "none"

    def __init__(self, *, device: str | torch.device = "auto") -> None:
        del device

    def detect(self, images: Sequence[ImageSource]) -> list[list[Face]]:
        """One face for each picture: all of it."""
        require_several(images)
        return [[whole_image(load_image(source).size)] for source in images]


def whole_image(size: tuple[int, int]) -> Face:
    """The face that fills a picture of (width, height)."""
    box = (0.0, 0.0, float(size[0]), float(size[1]))
    return Face(box, 1.0, common_box=_CALIBRATION.common_box(box))
