"""Faces, their boxes in common terms, and the protocol of face detectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast, runtime_checkable

from fer_attention.faces.geometry import TURNS
from fer_attention.faces.images import ImageSource

Box: TypeAlias = tuple[float, float, float, float]
Point: TypeAlias = tuple[float, float]


def checked_box(box: Sequence[float]) -> Box:
    """Return a box as floats; ValueError unless it is four finite numbers with x1 < x2 and y1 < y2."""
    values = tuple(float(value) for value in box)
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise ValueError(f"A box is four finite numbers (x1, y1, x2, y2); got {values}.")
    x1, y1, x2, y2 = values
    if x1 >= x2 or y1 >= y2:
        raise ValueError(
            f"A box (x1, y1, x2, y2) needs x1 < x2 and y1 < y2; got {values}. "
            "A corner and a size become (x, y, x + width, y + height)."
        )
    return x1, y1, x2, y2


@dataclass(frozen=True)
class Face:
    """A detected face, in pixels of the upright photo (EXIF orientation applied).

    >>> face = Face(box=(10, 20, 90, 120), score=0.99)
    >>> face.width, face.height, face.centre
    (80.0, 100.0, (50.0, 70.0))

    Args:
        box: (x1, y1, x2, y2): left, top, right and bottom edge. It may extend beyond the photo.
        score: The detector's confidence, in [0, 1].
        landmarks: Five points (x, y): left eye, right eye, nose, left and right corner of the mouth, where
            "left" is left in the photo. None if the detector finds none.
        common_box: The box that MTCNN would have drawn, estimated by the detector (`BoxCalibration`), so that
            all detectors lead to the same crop. By default `box` itself.
        turn: Quarter turn of the face in the photo in degrees, clockwise: 0, 90, 180 or 270. Crops are turned
            back, and "left" in the landmarks is left in the upright face.

    Raises:
        ValueError: A box is empty or not finite, the score lies outside [0, 1], there are not five finite
            landmarks, or the turn is another angle.
    """

    box: Box
    score: float
    landmarks: tuple[Point, ...] | None = None
    common_box: Box = None  # type: ignore[assignment]  # filled in below
    turn: int = 0

    def __post_init__(self) -> None:
        # Detectors pass NumPy numbers; plain floats compare, print and serialise to JSON as expected.
        object.__setattr__(self, "box", checked_box(self.box))
        common = self.box if self.common_box is None else checked_box(self.common_box)
        object.__setattr__(self, "common_box", common)
        object.__setattr__(self, "score", float(self.score))
        if not 0 <= self.score <= 1:
            raise ValueError(f"A face's score lies in [0, 1]; got {self.score}.")
        if self.landmarks is not None:
            points = tuple(tuple(map(float, point)) for point in self.landmarks)
            finite = all(math.isfinite(value) for point in points for value in point)
            if [len(point) for point in points] != [2] * 5 or not finite:
                raise ValueError(f"Landmarks are five finite points (x, y), or None; got {points}.")
            object.__setattr__(self, "landmarks", cast("tuple[Point, ...]", points))
        if self.turn not in TURNS:
            raise ValueError(f"turn is one of {TURNS} degrees; got {self.turn}.")

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return self.box[3] - self.box[1]

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return self.width * self.height

    @property
    def centre(self) -> Point:
        """Centre (x, y) of the box."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    def iou(self, other: Face) -> float:
        """Compute the intersection over union of the two boxes, in [0, 1]."""
        shared = self.shared_area(other)
        return shared / (self.area + other.area - shared)

    def shared_area(self, other: Face) -> float:
        """Compute the intersection of the two boxes, in square pixels."""
        width = min(self.box[2], other.box[2]) - max(self.box[0], other.box[0])
        height = min(self.box[3], other.box[3]) - max(self.box[1], other.box[1])
        return max(width, 0.0) * max(height, 0.0)


def largest_first(faces: Sequence[Face]) -> list[Face]:
    """Sort faces by decreasing area, equal ones from left to right and top to bottom."""
    return sorted(faces, key=lambda face: (-face.area, face.box))


@dataclass(frozen=True)
class BoxCalibration:
    """Size and position of MTCNN's box relative to another detector's box around the same face.

    Crop rules are stated for MTCNN's boxes. The built-in calibrations are medians over 59 faces in photos and
    a video, rounded to their intervals (benchmarks/face_geometry.py).

    >>> BoxCalibration(height=0.9).common_box((0, 0, 100, 100))
    (0.0, 5.0, 100.0, 95.0)

    Args:
        width: Width of MTCNN's box relative to the detector's.
        height: Height of MTCNN's box relative to the detector's.
        right: Offset of MTCNN's centre to the right, in widths of the detector's box.
        down: Offset of MTCNN's centre downwards, in heights of the detector's box.

    Raises:
        ValueError: A number is not finite, or width or height is not above 0.
    """

    width: float = 1.0
    height: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.width, self.height, self.right, self.down)
        if not all(map(math.isfinite, numbers)) or min(self.width, self.height) <= 0:
            raise ValueError(f"A box calibration needs finite numbers, sizes above 0; got {numbers}.")

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


@runtime_checkable
class FaceDetector(Protocol):
    """Protocol of face detectors; `name` is the name in the registry.

    >>> class Centre:
    ...     name = "centre"
    ...     def detect(self, images):
    ...         return [[Face((16, 16, 48, 48), score=1.0)] for _ in images]
    >>> isinstance(Centre(), FaceDetector)
    True
    """

    name: str

    def detect(self, images: Sequence[ImageSource]) -> list[list[Face]]:
        """Find the faces in each photo.

        Args:
            images: Photos of any size, each a source that `load_image` takes. Files are read when they are
                needed, so that a long list of paths does not fill the memory.

        Returns:
            One list per photo, in order: its faces, the largest first; empty if there are none.

        Raises:
            TypeError: `images` is a single photo instead of a sequence.
            ImageError: A photo cannot be read.
        """
        ...
