"""Facts about a face in a photo that tell whether an expression can be read from it, and filters on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fer_attention.faces.crop import crop_face
from fer_attention.faces.face import Face, Point
from fer_attention.preprocessing import CropRule

_SIDE = 96  # sharpness of large and small faces is compared at one size
_NOSE = 0.9  # how far the nose stands before the line of the eyes, in halves of the distance between them


@dataclass(frozen=True)
class FaceQuality:
    """What a face's pixels and landmarks say of it.

    Attributes:
        size: Shorter side of the box, pixels of the photo.
        brightness: Mean grey value within the box, 0 to 255.
        contrast: Standard deviation of the grey values within the box.
        sharpness: Variance of the Laplacian (Pech-Pacheco et al. 2000) of the grey box at 96 pixels' height,
            over the variance of its grey values, so that neither size nor light counts. A blurred or
            enlarged face has a low one.
        yaw: How far the head is turned, degrees; 0 is frontal, positive turned to the right in the photo. An
            estimate by the nose's place between the eyes, for sorting rather than measuring. None without
            landmarks.
        roll: How far the eyes' line is tilted, degrees, clockwise in the photo. None without landmarks.
    """

    size: float
    brightness: float
    contrast: float
    sharpness: float
    yaw: float | None
    roll: float | None


def face_quality(image: Image.Image, face: Face) -> FaceQuality:
    """Measures a face of an RGB or grey ("L") photo, upright: what `load_image` gives.

    Raises:
        ValueError: The face lies wholly outside the photo, or the photo is of another mode.
    """
    box = crop_face(image, face.box, CropRule(shape="box"))
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
        roll=None if face.landmarks is None else roll(face.landmarks),
    )


def _sharpness(pixels: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    inner = pixels[1:-1, 1:-1]
    if inner.size == 0 or pixels.var() == 0:
        return 0.0
    around = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:]
    return float((around - 4 * inner).var() / pixels.var())


def yaw(landmarks: Sequence[Point]) -> float:
    """Degrees that a head is turned about its upright axis, from five landmarks; positive to the right.

    With the eyes at ±e and the nose p before their line, a turn by θ shows the eyes at ±e·cos θ and the nose
    at p·sin θ along that line: tan θ = (e / p) · nose / half the visible distance. p / e = 0.9 is assumed.
    """
    left, right, nose = (complex(*landmarks[index]) for index in (0, 1, 2))
    line = (right - left) / 2
    if line == 0:
        return math.copysign(90.0, (nose - left).real)
    along = ((nose - (left + right) / 2) / line).real
    return math.degrees(math.atan(along / _NOSE))


def roll(landmarks: Sequence[Point]) -> float:
    """Degrees that the line from left to right eye is tilted, clockwise in the photo, in [-180, 180]."""
    (x1, y1), (x2, y2) = landmarks[:2]
    return math.degrees(math.atan2(y2 - y1, x2 - x1))


@dataclass(frozen=True)
class QualityFilter:
    """Least and largest values that a face must keep; None does not ask.

    >>> QualityFilter(min_size=40).reason(FaceQuality(32.0, 120.0, 40.0, 0.2, None, None))
    'size 32 is below 40'

    Args:
        min_size: Of the box's shorter side, pixels.
        min_sharpness: As `FaceQuality.sharpness`.
        min_brightness: Mean grey value, 0 to 255.
        max_brightness: Mean grey value, 0 to 255.
        max_yaw: Degrees to either side. A face without landmarks fails.
        max_roll: Degrees to either side. A face without landmarks fails.

    Raises:
        ValueError: A bound is negative or not a number.
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

    def reason(self, quality: FaceQuality) -> str | None:
        """Why a face does not pass, or None if it does."""
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
