"""Maps between the pixels of a crop and those of its photo.

Coordinates are continuous, like those of boxes and landmarks: pixel (i, j) covers [i, i + 1) × [j, j + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Points: TypeAlias = Sequence[Sequence[float]] | npt.NDArray[Any]
Row: TypeAlias = tuple[float, float, float]


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
