"""Shrinking of large photos before detection: less time, and no face too large for the network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from fer_attention.faces.images import ImageSource, borrow_image, is_rgb


def checked_max_side(max_side: int | None, *, least: float) -> int | None:
    """Check that photos are not shrunk below `least`, the smallest face size, and return `max_side`."""
    if max_side is not None and max_side < least:
        raise ValueError(
            f"max_side is at least the smallest face size, {least:g} pixels, or None for no shrinking; "
            f"got {max_side}."
        )
    return max_side


def pixels_to_search(
    source: ImageSource, max_side: int | None
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """Return the photo's pixels, shrunk to the longer side `max_side`, and its original (width, height).

    The pixels are uint8 RGB (H, W, 3) and must not be modified.
    """
    if is_rgb(source) and (max_side is None or max(source.shape) <= max_side):
        return source, (source.shape[1], source.shape[0])
    photo = borrow_image(source)
    if max_side is None or max(photo.size) <= max_side:
        return np.asarray(photo), photo.size
    ratio = max_side / max(photo.size)
    return np.asarray(resized(photo, tuple(max(1, round(side * ratio)) for side in photo.size))), photo.size


def resized(photo: Image.Image, size: tuple[int, ...]) -> Image.Image:
    """Resize with an antialiased bilinear filter; large reductions average whole pixels first, for speed."""
    return photo.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=1.0)
