"""Crops of faces by their boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from fer_attention.faces.face import Box, checked_box
from fer_attention.preprocessing import CropRule, Interpolation
from fer_attention.registry import check_choice


def crop_region(box: Sequence[float], rule: CropRule, *, image_size: tuple[int, int]) -> Box:
    """Compute the region of a photo that a crop shows, in pixels, without rounding.

    It is centred on the box unless clamped, and its sides are at least one pixel long.

    >>> crop_region((10, 20, 90, 120), CropRule(scale=1.0), image_size=(200, 150))
    (0.0, 20.0, 100.0, 120.0)

    Args:
        box: (x1, y1, x2, y2) in pixels; it may extend beyond the photo.
        rule: The part of the photo that belongs to the box.
        image_size: (width, height) of the photo, as PIL's `Image.size`.

    Returns:
        (x1, y1, x2, y2), inside the photo if the border rule is "clamp".

    Raises:
        ValueError: The box is empty, not finite or wholly outside the photo, or the shape is "aligned",
            which needs landmarks.
    """
    x1, y1, x2, y2 = checked_box(box)
    width, height = image_size
    if rule.shape == "aligned":
        raise ValueError("An aligned crop follows from landmarks, not from a box: use align_face.")
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        raise ValueError(
            f"The box {(x1, y1, x2, y2)} lies wholly outside the {width}x{height} photo. "
            "Boxes are in pixels of the upright photo, as load_image returns it."
        )
    scale = cast("float", rule.scale)
    if rule.shape == "square":
        lengths = {"height": y2 - y1, "width": x2 - x1, "longest": max(x2 - x1, y2 - y1)}
        side = max(scale * lengths[rule.reference], 1.0)
        if rule.border == "clamp":
            side = min(side, width, height)
        sides = (side, side)
    else:
        sides = (max(scale * (x2 - x1), 1.0), max(scale * (y2 - y1), 1.0))
    left, right = _span(rule, (x1 + x2) / 2, sides[0], width)
    top, bottom = _span(rule, (y1 + y2) / 2, sides[1], height)
    return left, top, right, bottom


def _span(rule: CropRule, centre: float, side: float, length: int) -> tuple[float, float]:
    """Compute start and stop of the region along one axis."""
    start, stop = centre - side / 2, centre + side / 2
    if rule.border == "pad":
        return start, stop
    if rule.shape == "square":  # shifted inside
        start = min(max(start, 0.0), length - side)
        return start, min(start + side, length)
    start, stop = max(start, 0.0), min(stop, float(length))  # cut off, but not to nothing
    return min(start, length - 1.0), max(stop, 1.0)


def crop_face(
    image: Image.Image,
    box: Sequence[float],
    rule: CropRule = CropRule(),  # noqa: B008 - frozen
    *,
    size: int | tuple[int, int] | None = None,
    interpolation: Interpolation = "bilinear",
) -> Image.Image:
    """Cut a face out of a photo by its box and resize it, in one resampling step.

    The region is resampled without rounding to whole pixels, with antialiasing (Pillow's `resize`).
    `cut_face` returns the map from the crop to the photo as well.

    >>> crop_face(Image.new("RGB", (200, 150)), (60, 40, 120, 120), size=48).size
    (48, 48)

    Args:
        image: An upright RGB or grey ("L") photo, as `load_image` returns it.
        box: (x1, y1, x2, y2) in pixels of the photo: `Face.box`.
        rule: The part of the photo that belongs to the box.
        size: Side of the crop in pixels, or (height, width), to which the region is stretched. None keeps
            the photo's resolution: the region's sides, rounded.
        interpolation: "nearest", "bilinear", "bicubic" or "lanczos".

    Raises:
        ValueError: The box is empty or wholly outside the photo, the size is below 1, the interpolation is
            unknown, or the photo has another mode.
    """
    check_picture(image, interpolation)
    x1, y1, x2, y2 = crop_region(box, rule, image_size=image.size)
    if size is None:
        size = (math.floor(y2 - y1 + 0.5), math.floor(x2 - x1 + 0.5))
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"A crop is at least one pixel wide and high; got {size!r}.")
    left, right, columns = _visible(x1, x2, image.width, width)
    top, bottom, rows = _visible(y1, y2, image.height, height)
    visible = image.resize(
        (int(columns[-1]) + 1, int(rows[-1]) + 1),
        Image.Resampling[interpolation.upper()],
        box=(left, top, right, bottom),
    )
    if visible.size == (width, height):
        return visible
    return Image.fromarray(np.asarray(visible)[rows[:, None], columns])


def check_picture(image: Image.Image, interpolation: str) -> None:
    """Check that the mode is RGB or L and that the filter exists (ValueError)."""
    if image.mode not in ("RGB", "L"):
        raise ValueError(f"Crops are cut from RGB and L images; got mode {image.mode}. Use load_image first.")
    check_choice("interpolation", interpolation, get_args(Interpolation))


def _visible(start: float, stop: float, length: int, count: int) -> tuple[float, float, npt.NDArray[Any]]:
    """Find the part of an interval of the photo that can be resampled, along one axis.

    Result pixels wholly inside the photo are resampled; the others repeat the nearest of them, so that
    padding needs no padded copy of the photo. Returns the part's start and stop in the photo and, for each of
    `count` result pixels, the index of the resampled pixel that it shows.
    """
    step = (stop - start) / count
    tolerance = 1e-9
    first = max(0, math.ceil(-start / step - tolerance))
    last = min(count, math.floor((length - start) / step + tolerance))
    if first >= last:  # less than one result pixel of photo
        low, high = min(max(start, 0.0), length - 1.0), max(min(stop, length), 1.0)
        return low, high, np.zeros(count, dtype=np.intp)
    index = np.clip(np.arange(count), first, last - 1) - first
    return max(0.0, start + first * step), min(float(length), start + last * step), index
