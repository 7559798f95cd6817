"""Quality of a face in a photo, and filters for faces whose expression cannot be read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fer_attention.faces.crop import crop_face
from fer_attention.faces.face import Face, Point
from fer_attention.faces.geometry import turned_back
from fer_attention.preprocessing import CropRule

_SIDE = 96  # pixels: the common size at which sharpness is compared
_NOSE = 0.9  # distance of the nose from the line of the eyes, in halves of the distance between the eyes


@dataclass(frozen=True)
class FaceQuality:
    """Measures of a face's pixels and landmarks.

    >>> quality = FaceQuality(size=48, brightness=90, contrast=31, sharpness=0.2, yaw=-8.5, roll=2.0)
    >>> QualityFilter(min_size=40, max_yaw=30).reason(quality) is None
    True

    Attributes:
        size: Shorter side of the box in pixels of the photo.
        brightness: Mean grey value inside the box, 0 to 255.
        contrast: Standard deviation of the grey values inside the box.
        sharpness: Variance of the Laplacian (Pech-Pacheco et al. 2000) of the grey box at a height of 96
            pixels, divided by the variance of its grey values, so that neither size nor lighting matters.
            Low for a blurred or enlarged face.
        yaw: Rotation of the head in degrees; 0 is frontal, positive is towards the right of the photo. A
            rough estimate from the nose's position between the eyes. None without landmarks.
        roll: Tilt of the line between the eyes in degrees, clockwise in the photo turned by `Face.turn`.
            None without landmarks.
    """

    size: float
    brightness: float
    contrast: float
    sharpness: float
    yaw: float | None
    roll: float | None


def face_quality(image: Image.Image, face: Face) -> FaceQuality:
    """Measure a face in an upright RGB or grey ("L") photo, as `load_image` returns it.

    >>> quality = face_quality(Image.new("L", (64, 64), 90), Face((8, 8, 56, 40), 1.0))
    >>> quality.size, quality.brightness, quality.sharpness
    (32.0, 90.0, 0.0)

    Raises:
        ValueError: The face lies wholly outside the photo, or the photo has another mode.
    """
    box = turned_back(crop_face(image, face.box, CropRule(shape="box")), face.turn)
    grey = box.convert("L")
    pixels = np.asarray(grey, dtype=np.float64)
    width = max(1, round(box.width * _SIDE / box.height))
    level = grey.resize((min(width, 4 * _SIDE), _SIDE), Image.Resampling.BILINEAR)
    return FaceQuality(
        size=min(face.width, face.height),
        brightness=float(pixels.mean()),
        contrast=float(pixels.std()),
        sharpness=_sharpness(np.asarray(level, dtype=np.float64)),
        yaw=None if face.landmarks is None else yaw(face.landmarks),
        roll=None if face.landmarks is None else (roll(face.landmarks) - face.turn + 180) % 360 - 180,
    )


def _sharpness(pixels: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    inner = pixels[1:-1, 1:-1]
    if inner.size == 0 or pixels.var() == 0:
        return 0.0
    around = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:]
    return float((around - 4 * inner).var() / pixels.var())


def yaw(landmarks: Sequence[Point]) -> float:
    """Estimate the rotation of a head about its vertical axis in degrees, from five landmarks.

    Positive is towards the right of the photo. With the eyes at ±e and the nose p in front of them, a head
    rotated by θ shows the eyes at ±e·cos θ and the nose at p·sin θ along their line: tan θ = (e / p) · nose /
    half the visible distance of the eyes. p / e = 0.9 is assumed.
    """
    left, right, nose = (complex(*landmarks[index]) for index in (0, 1, 2))
    line = (right - left) / 2
    if line == 0:
        return math.copysign(90.0, (nose - left).real)
    along = ((nose - (left + right) / 2) / line).real
    return math.degrees(math.atan(along / _NOSE))


def roll(landmarks: Sequence[Point]) -> float:
    """Compute the tilt of the line from left to right eye in degrees, clockwise, in [-180, 180]."""
    (x1, y1), (x2, y2) = landmarks[:2]
    return math.degrees(math.atan2(y2 - y1, x2 - x1))


@dataclass(frozen=True)
class QualityFilter:
    """Bounds on the quality of a face; None is no bound.

    >>> QualityFilter(min_size=40).reason(FaceQuality(32.0, 120.0, 40.0, 0.2, None, None))
    'size 32 is below 40'

    Args:
        min_size: Smallest shorter side of the box in pixels.
        min_sharpness: Smallest `FaceQuality.sharpness`.
        min_brightness: Smallest mean grey value, 0 to 255.
        max_brightness: Largest mean grey value, 0 to 255.
        max_yaw: Largest yaw to either side in degrees. A face without landmarks fails.
        max_roll: Largest roll to either side in degrees. A face without landmarks fails.

    Raises:
        ValueError: A bound is negative or not a number, or no brightness can pass.
    """

    min_size: float | None = None
    min_sharpness: float | None = None
    min_brightness: float | None = None
    max_brightness: float | None = None
    max_yaw: float | None = None
    max_roll: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value >= 0:
                raise ValueError(f"{name} is at least 0, or None; got {value}.")
        low, high = self.min_brightness, self.max_brightness
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_brightness={low} is above max_brightness={high}: no face would pass.")

    def reason(self, quality: FaceQuality) -> str | None:
        """Return the reason why a face fails, or None if it passes."""
        for bound, limit in vars(self).items():
            kind, name = bound.split("_")
            value = getattr(quality, name)
            if limit is None:
                continue
            if value is None:
                return f"{name} is unknown without landmarks"
            if kind == "min" and value < limit:
                return f"{name} {value:.3g} is below {limit:g}"
            if kind == "max" and abs(value) > limit:
                return f"{name} {value:.3g} is beyond {limit:g}"
        return None
