"""Large photos are searched as smaller copies: less time, and no face larger than a network knows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from fer_attention.faces.images import ImageSource, borrow_image, is_rgb


def checked_max_side(max_side: int | None, *, least: float) -> int | None:
    """The longer side above which photos are shrunk, refused below `least`, the smallest face looked for."""
    if max_side is not None and max_side < least:
        raise ValueError(
            f"max_side is at least the smallest face looked for, {least:g} pixels, or None for no "
            f"shrinking; got {max_side}."
        )
    return max_side


def pixels_to_search(
    source: ImageSource, max_side: int | None
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """Pixels with the longer side shrunk to `max_side`, and the photo's own (width, height).

    The pixels are uint8 RGB (H, W, 3), not to be written to.
    """
    if is_rgb(source) and (max_side is None or max(source.shape) <= max_side):
        return source, (source.shape[1], source.shape[0])
    photo = borrow_image(source)
    if max_side is None or max(photo.size) <= max_side:
        return np.asarray(photo), photo.size
    ratio = max_side / max(photo.size)
    return np.asarray(resized(photo, tuple(max(1, round(side * ratio)) for side in photo.size))), photo.size


def resized(photo: Image.Image, size: tuple[int, ...]) -> Image.Image:
    """Bilinear, antialiased; what shrinks by more than two is averaged over whole pixels first, for speed."""
    return photo.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=1.0)
