"""The one way from a face's box to the square picture that a network sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from fer_attention.faces.face import Box, checked_box
from fer_attention.registry import unknown_name

Reference: TypeAlias = Literal["height", "width", "longest"]
Border: TypeAlias = Literal["clamp", "pad"]
Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos"]


@dataclass(frozen=True)
class CropRule:
    """Which square of the photo belongs to a face's box.

    The default, 0.95 times the height of the box, is how FER2013's frames lie about MTCNN's boxes; other
    detectors draw other boxes and want another scale. `dataclasses.asdict` gives a JSON-able record.

    Args:
        scale: Side of the square over the reference length, above 0.
        reference: The length of the box that counts: its "height", its "width" or the "longest" of the two.
        border: What happens at the photo's border. "clamp" shifts the square inside and, if it does not fit,
            shrinks it to the photo's shorter side: only true pixels, but a face at the border is off centre.
            "pad" keeps place and size and continues the outermost pixels outwards.

    Raises:
        ValueError: The scale is not a finite number above 0, or the reference or border is unknown.
    """

    scale: float = 0.95
    reference: Reference = "height"
    border: Border = "clamp"

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale is a finite number above 0, for instance 0.95; got {self.scale}.")
        if self.reference not in get_args(Reference):
            raise unknown_name("reference length", self.reference, get_args(Reference))
        if self.border not in get_args(Border):
            raise unknown_name("border rule", self.border, get_args(Border))

    def square(self, box: Sequence[float], image_size: tuple[int, int]) -> Box:
        """The square for a box, in pixels of the photo; its coordinates are not rounded.

        It has the box's centre unless clamped, and a side of at least one pixel.

        Args:
            box: (x1, y1, x2, y2) in pixels; it may reach over the border.
            image_size: (width, height) of the photo, as PIL's `Image.size`.

        Returns:
            (x1, y1, x2, y2), inside the photo if the border rule is "clamp".

        Raises:
            ValueError: The box is empty, not finite or wholly outside the photo.
        """
        x1, y1, x2, y2 = checked_box(box)
        width, height = image_size
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            raise ValueError(
                f"The box {(x1, y1, x2, y2)} lies wholly outside the {width}x{height} photo. "
                "Boxes count in pixels of the upright photo, as load_image gives it."
            )
        lengths = {"height": y2 - y1, "width": x2 - x1, "longest": max(x2 - x1, y2 - y1)}
        side = max(self.scale * lengths[self.reference], 1.0)
        if self.border == "clamp":
            side = min(side, width, height)
        left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
        if self.border == "clamp":
            left, top = min(max(left, 0.0), width - side), min(max(top, 0.0), height - side)
            return left, top, min(left + side, width), min(top + side, height)
        return left, top, left + side, top + side


def crop_face(
    image: Image.Image,
    box: Sequence[float],
    rule: CropRule = CropRule(),  # noqa: B008 - frozen
    *,
    size: int | tuple[int, int] | None = None,
    interpolation: Interpolation = "bilinear",
) -> Image.Image:
    """Cuts a face out of a photo and brings it to a size, in one resampling step.

    The square of `rule` is resampled where it lies, without rounding to whole pixels; shrinking is
    antialiased (Pillow's `resize`).

    Args:
        image: An RGB or grey ("L") photo, upright: what `load_image` gives.
        box: (x1, y1, x2, y2) in pixels of the photo: `Face.box`.
        rule: Which square belongs to the box.
        size: Side of the result in pixels, or (height, width), to which the square is stretched. None keeps
            the photo's resolution: the square's side, rounded.
        interpolation: "nearest", "bilinear", "bicubic" or "lanczos".

    Returns:
        A new picture of the photo's mode and exactly the wanted size.

    Raises:
        ValueError: The box is empty or wholly outside the photo, the size is below 1, the interpolation is
            unknown, or the photo is of another mode.
    """
    if image.mode not in ("RGB", "L"):
        raise ValueError(f"crop_face takes modes RGB and L; got {image.mode}. Use load_image first.")
    if interpolation not in get_args(Interpolation):
        raise unknown_name("interpolation", interpolation, get_args(Interpolation))
    x1, y1, x2, y2 = rule.square(box, image.size)
    if size is None:
        size = math.floor(x2 - x1 + 0.5)
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


def _visible(start: float, stop: float, length: int, count: int) -> tuple[float, float, npt.NDArray[Any]]:
    """What of an interval of the photo can be resampled, and how it fills the result, along one axis.

    Result pixels that lie wholly inside the photo are resampled; the others repeat the nearest of them. So
    padding needs no padded copy of the photo, however large the box.

    Returns:
        The part's start and stop in the photo, and for each of `count` result pixels the index of the
        resampled pixel that it shows.
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
