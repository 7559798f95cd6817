"""What a detector finds (`Face`) and what a detector is (`FaceDetector`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast, runtime_checkable

from fer_attention.faces.images import ImageSource

Box: TypeAlias = tuple[float, float, float, float]
Point: TypeAlias = tuple[float, float]


def checked_box(box: Sequence[float]) -> Box:
    """The box as Python floats; ValueError unless they are four and finite, with x1 < x2 and y1 < y2."""
    values = tuple(float(value) for value in box)
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise ValueError(f"A box is four finite numbers (x1, y1, x2, y2); got {values}.")
    x1, y1, x2, y2 = values
    if x1 >= x2 or y1 >= y2:
        raise ValueError(
            f"A box (x1, y1, x2, y2) needs x1 < x2 and y1 < y2; got {values}. "
            "From a corner and a size: (x, y, x + width, y + height)."
        )
    return x1, y1, x2, y2


@dataclass(frozen=True)
class Face:
    """One detected face, in pixels of the upright photo (EXIF orientation applied).

    Args:
        box: (x1, y1, x2, y2), left, top, right and bottom edge. It may reach over the photo's border.
        score: The detector's confidence, in [0, 1].
        landmarks: Five points (x, y): left eye, right eye, nose, left and right corner of the mouth, where
            "left" is left in the photo. None if the detector gives none.
        common_box: The box that MTCNN would have drawn, as every detector fills it in (`BoxCalibration`), so
            that crops agree whoever found the face. `box` itself where none is given.

    Raises:
        ValueError: A box is empty or not finite, the score lies outside [0, 1], or there are not five
            finite landmarks.
    """

    box: Box
    score: float
    landmarks: tuple[Point, ...] | None = None
    common_box: Box = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        # Detectors hand over NumPy numbers; plain floats compare, print and turn to JSON as expected.
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
        """Intersection over union of the two boxes, in [0, 1]."""
        width = min(self.box[2], other.box[2]) - max(self.box[0], other.box[0])
        height = min(self.box[3], other.box[3]) - max(self.box[1], other.box[1])
        shared = max(width, 0.0) * max(height, 0.0)
        return shared / (self.area + other.area - shared)


def largest_first(faces: Sequence[Face]) -> list[Face]:
    """The faces by falling area, equal ones from left to right and top to bottom."""
    return sorted(faces, key=lambda face: (-face.area, face.box))


@runtime_checkable
class FaceDetector(Protocol):
    """Anything that finds faces in photos; `name` is its name in the registry."""

    name: str

    def detect(self, images: Sequence[ImageSource]) -> list[list[Face]]:
        """Finds the faces of each photo.

        Args:
            images: Photos, of any sizes, each anything that `load_image` takes. They are read as they are
                needed: a long list of paths does not fill the memory.

        Returns:
            One list for each photo, in order: its faces, the largest first; empty where there are none.

        Raises:
            TypeError: A lone photo came instead of a sequence.
            ImageError: A photo cannot be read.
        """
        ...
