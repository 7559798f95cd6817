"""Where a crop's pixels lie in the photo, and back.

Coordinates are continuous, as boxes and landmarks have them: pixel (i, j) covers [i, i + 1) × [j, j + 1).
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
    """The affine map from crop to photo: (x, y) -> (a·x + b·y + c, d·x + e·y + f).

    >>> transform = CropTransform.of_region((100, 50, 260, 210), size=(80, 80))
    >>> transform.to_photo([(40, 40)])
    array([[180., 130.]])
    >>> transform.to_crop([(180, 130)])
    array([[40., 40.]])

    Args:
        matrix: ((a, b, c), (d, e, f)).

    Raises:
        ValueError: The numbers are not six finite ones, or the map cannot be inverted.
    """

    matrix: tuple[Row, Row]

    def __post_init__(self) -> None:
        rows = np.asarray(self.matrix, dtype=float)
        if rows.shape != (2, 3) or not np.isfinite(rows).all() or np.linalg.det(rows[:, :2]) == 0:
            raise ValueError(f"A transform is 2x3 finite numbers and can be inverted; got {self.matrix}.")
        object.__setattr__(self, "matrix", tuple(tuple(row) for row in rows.tolist()))

    @classmethod
    def of_region(cls, region: Sequence[float], size: tuple[int, int]) -> CropTransform:
        """For the upright rectangle (x1, y1, x2, y2) of the photo, resized to (height, width) pixels."""
        x1, y1, x2, y2 = region
        height, width = size
        return cls((((x2 - x1) / width, 0.0, x1), (0.0, (y2 - y1) / height, y1)))

    @classmethod
    def aligning(cls, crop: Points, photo: Points) -> CropTransform:
        """The similarity (turn, scale, shift; no mirroring) that brings crop points nearest to photo points.

        Least squares in closed form (Umeyama 1991, IEEE PAMI 13(4)), written with complex numbers: for
        centred points z and w the best w = s·z has s = <z, w> / <z, z>.

        The points are (N, 2) each, in the same order, N at least 2.

        Raises:
            ValueError: The points are too few, or those of one side are all the same.
        """
        z, w = (np.asarray(points, dtype=float) @ np.array([1, 1j]) for points in (crop, photo))
        if len(z) != len(w) or len(z) < 2:
            raise ValueError(f"Alignment takes two or more pairs of points; got {len(z)} and {len(w)}.")
        z0, w0 = z.mean(), w.mean()
        s = complex(np.vdot(z - z0, w - w0) / np.vdot(z - z0, z - z0))
        if not np.isfinite(s) or abs(s) < 1e-9:
            raise ValueError("The points to align by are all at one place; no scale can be found.")
        shift = complex(w0 - s * z0)
        return cls(((s.real, -s.imag, shift.real), (s.imag, s.real, shift.imag)))

    @property
    def scale(self) -> float:
        """Pixels of the photo along a pixel of the crop, the geometric mean over both directions."""
        return float(np.sqrt(abs(np.linalg.det(np.asarray(self.matrix)[:, :2]))))

    @property
    def angle(self) -> float:
        """How far the crop's upper edge is turned in the photo, degrees, clockwise as seen."""
        (a, _, _), (d, _, _) = self.matrix
        return float(np.degrees(np.arctan2(d, a)))

    def to_photo(self, points: Points) -> npt.NDArray[np.float64]:
        """(N, 2) points (x, y) of the crop -> where they lie in the photo, in its pixels."""
        rows = np.asarray(self.matrix)
        return np.asarray(points, dtype=float).reshape(-1, 2) @ rows[:, :2].T + rows[:, 2]

    def to_crop(self, points: Points) -> npt.NDArray[np.float64]:
        """(N, 2) points (x, y) of the photo -> where they lie in the crop, in its pixels."""
        rows = np.asarray(self.matrix)
        return (np.asarray(points, dtype=float).reshape(-1, 2) - rows[:, 2]) @ np.linalg.inv(rows[:, :2]).T
