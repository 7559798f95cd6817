"""Every detector draws other boxes about the same face: how they lie about MTCNN's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fer_attention.faces.crop import CropRule
from fer_attention.faces.face import Box, Face, FaceDetector


@dataclass(frozen=True)
class BoxShape:
    """How a detector's boxes lie about MTCNN's, for which crop rules are stated.

    The numbers of the detectors here are medians over 59 faces in photos and a video that both found, rounded
    to their intervals (benchmarks/face_geometry.py). A detector states its own as the attribute `box_shape`;
    one that states none counts as MTCNN.

    Args:
        width: MTCNN's width over the detector's.
        height: MTCNN's height over the detector's.
        right: How far MTCNN's centre lies to the right of the detector's, in widths of the detector's box.
        down: How far it lies below, in heights of the detector's box.

    Raises:
        ValueError: A number is not finite, or a width or height is not above 0.
    """

    width: float = 1.0
    height: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.width, self.height, self.right, self.down)
        if not all(map(math.isfinite, numbers)) or min(self.width, self.height) <= 0:
            raise ValueError(f"A box shape is finite, with width and height above 0; got {numbers}.")

    def common_box(self, face: Face) -> Box:
        """The box that MTCNN would have drawn, as far as the medians tell; in pixels of the photo."""
        x, y = face.centre
        x, y = x + self.right * face.width, y + self.down * face.height
        half_width, half_height = self.width * face.width / 2, self.height * face.height / 2
        return x - half_width, y - half_height, x + half_width, y + half_height


def box_for(face: Face, detector: FaceDetector | None, rule: CropRule) -> Box:
    """The box that a rule is to be applied to: MTCNN's for squares, the detector's own for "box"."""
    shape: BoxShape | None = getattr(detector, "box_shape", None)
    return face.box if shape is None or rule.shape == "box" else shape.common_box(face)
