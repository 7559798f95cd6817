"""Maps between the pixels of a crop and those of its photo.

Coordinates are continuous, like those of boxes and landmarks: pixel (i, j) covers [i, i + 1) × [j, j + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Points: TypeAlias = Sequence[Sequence[float]] | npt.NDArray[Any]
Row: TypeAlias = tuple[float, float, float]

TURNS = (0, 90, 180, 270)
"""Quarter turns in degrees, clockwise."""
_BACK = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


def turned_back(image: Image.Image, turn: int) -> Image.Image:
    """Turn an image upright whose content is turned clockwise by 0, 90, 180 or 270 degrees."""
    return image.transpose(_BACK[turn]) if turn else image  # Pillow's angles are counter-clockwise


@dataclass(frozen=True)
class CropTransform:
    """Affine map from crop to photo: (x, y) -> (a·x + b·y + c, d·x + e·y + f).

    >>> transform = CropTransform.of_region((100, 50, 260, 210), size=(80, 80))
    >>> transform.to_photo([(40, 40)])
    array([[180., 130.]])
    >>> transform.to_crop([(180, 130)])
    array([[40., 40.]])

    Args:
        matrix: ((a, b, c), (d, e, f)).

    Raises:
        ValueError: The matrix is not 2x3 finite numbers, or cannot be inverted.
    """

    matrix: tuple[Row, Row]

    def __post_init__(self) -> None:
        rows = np.asarray(self.matrix, dtype=float)
        if rows.shape != (2, 3) or not np.isfinite(rows).all() or np.linalg.det(rows[:, :2]) == 0:
            raise ValueError(f"A transform is an invertible map of 2x3 finite numbers; got {self.matrix}.")
        object.__setattr__(self, "matrix", tuple(tuple(row) for row in rows.tolist()))

    @classmethod
    def of_region(cls, region: Sequence[float], size: tuple[int, int]) -> CropTransform:
        """Return the map for the region (x1, y1, x2, y2) of a photo, resized to (height, width) pixels."""
        x1, y1, x2, y2 = region
        height, width = size
        return cls((((x2 - x1) / width, 0.0, x1), (0.0, (y2 - y1) / height, y1)))

    @classmethod
    def of_turn(cls, turn: int, size: tuple[int, int]) -> CropTransform:
        """Return the map from an image that `turned_back` made to the image of (width, height) before."""
        width, height = map(float, size)
        return {
            0: cls(((1, 0, 0), (0, 1, 0))),
            90: cls(((0, -1, width), (1, 0, 0))),
            180: cls(((-1, 0, width), (0, -1, height))),
            270: cls(((0, 1, 0), (-1, 0, height))),
        }[turn]

    def after(self, first: CropTransform) -> CropTransform:
        """Return the map that applies `first`, then this one."""
        upper, lower = np.asarray(self.matrix) @ np.asarray([*first.matrix, (0, 0, 1)])
        return CropTransform((tuple(upper), tuple(lower)))

    @property
    def scale(self) -> float:
        """Pixels of the photo per pixel of the crop, as the geometric mean over both directions."""
        return float(np.sqrt(abs(np.linalg.det(np.asarray(self.matrix)[:, :2]))))

    def to_photo(self, points: Points) -> npt.NDArray[np.float64]:
        """Map points (x, y) of the crop, shape (N, 2), to pixels of the photo."""
        rows = np.asarray(self.matrix)
        return np.asarray(points, dtype=float).reshape(-1, 2) @ rows[:, :2].T + rows[:, 2]

    def to_crop(self, points: Points) -> npt.NDArray[np.float64]:
        """Map points (x, y) of the photo, shape (N, 2), to pixels of the crop."""
        rows = np.asarray(self.matrix)
        return (np.asarray(points, dtype=float).reshape(-1, 2) - rows[:, 2]) @ np.linalg.inv(rows[:, :2]).T
