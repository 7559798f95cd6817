"""Offsets between each detector's boxes and MTCNN's, which crop rules are stated for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fer_attention.faces.face import Box, checked_box


@dataclass(frozen=True)
class BoxCalibration:
    """Size and position of MTCNN's box relative to another detector's box about the same face.

    The numbers of the detectors here are medians over 59 faces in photos and a video that both found, rounded
    to their intervals (benchmarks/face_geometry.py).

    >>> BoxCalibration(height=0.9).common_box((0, 0, 100, 100))
    (0.0, 5.0, 100.0, 95.0)

    Args:
        width: MTCNN's width over the detector's.
        height: MTCNN's height over the detector's.
        right: Offset of MTCNN's centre to the right, in widths of the detector's box.
        down: Offset downwards, in heights of the detector's box.

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
            raise ValueError(f"A box calibration is finite, with width and height above 0; got {numbers}.")

    def common_box(self, box: Sequence[float]) -> Box:
        """Estimate MTCNN's box from the detector's, both (x1, y1, x2, y2) in pixels of the photo.

        Raises:
            ValueError: The box is empty or not finite.
        """
        x1, y1, x2, y2 = checked_box(box)
        width, height = x2 - x1, y2 - y1
        x, y = (x1 + x2) / 2 + self.right * width, (y1 + y2) / 2 + self.down * height
        half_width, half_height = self.width * width / 2, self.height * height / 2
        return x - half_width, y - half_height, x + half_width, y + half_height
