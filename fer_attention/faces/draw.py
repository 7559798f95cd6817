"""Photos with their faces marked, for eyes to check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

from fer_attention.faces.face import Face
from fer_attention.faces.images import ImageSource, load_image

_Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

_BRIGHT = (255, 210, 63)
_DARK = (24, 24, 27)
_SMALLEST_FONT = 9


def annotate(image: ImageSource, faces: Sequence[Face], captions: Sequence[str] | None = None) -> Image.Image:
    """Draws boxes, landmarks and captions on a copy of the photo.

    Lines and letters grow with the photo; each caption stands above its box, or inside where there is no
    room, and stays within the photo.

    Args:
        image: The photo that the faces were found in.
        faces: The faces to mark.
        captions: One line of text for each face; an empty one draws no label.

    Returns:
        A new RGB picture of the upright photo's size.

    Raises:
        ValueError: There is not one caption for each face.
    """
    if captions is not None and len(captions) != len(faces):
        raise ValueError(f"annotate needs one caption a face; got {len(captions)} for {len(faces)} faces.")
    picture = load_image(image)
    draw = ImageDraw.Draw(picture)
    line = max(1, round(min(picture.size) / 250))
    for face in faces:
        _outline(draw, face, line)
    for face, caption in zip(faces, captions or (), strict=False):
        if caption:
            _label(draw, picture.size, face, caption, line)
    return picture


def _outline(draw: ImageDraw.ImageDraw, face: Face, line: int) -> None:
    x1, y1, x2, y2 = (round(value) for value in face.box)
    edge = max(1, line // 2)
    # A dark rim on both sides keeps the bright line visible on any ground.
    draw.rectangle((x1 - edge, y1 - edge, x2 + edge, y2 + edge), outline=_DARK, width=line + 2 * edge)
    draw.rectangle((x1, y1, x2, y2), outline=_BRIGHT, width=line)
    radius = min(1.5 * line, face.width / 40)
    for x, y in face.landmarks or ():
        draw.circle((x, y), radius + 1, fill=_DARK)
        draw.circle((x, y), radius, fill=_BRIGHT)


def _label(draw: ImageDraw.ImageDraw, size: tuple[int, int], face: Face, caption: str, line: int) -> None:
    font, width, height = _fitting_font(draw, size, caption)
    pad = max(2, round(height / 5))
    x1, y1, _, _ = face.box
    box_height = height + 2 * pad
    above = y1 - line - box_height
    top = above if above >= 0 else y1 + line
    left = min(max(x1 - line, 0), max(size[0] - width - 2 * pad, 0))
    top = min(max(top, 0), max(size[1] - box_height, 0))
    draw.rectangle((left, top, left + width + 2 * pad - 1, top + box_height - 1), fill=_BRIGHT)
    draw.text((left + pad, top + pad), caption, fill=_DARK, font=font, anchor="lt")


def _fitting_font(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], caption: str
) -> tuple[_Font, float, float]:
    """The font for the photo's size, smaller where the caption would be wider than the photo."""
    points = max(_SMALLEST_FONT, round(min(size) / 28))
    while True:
        font = ImageFont.load_default(points)
        left, top, right, bottom = draw.textbbox((0, 0), caption, font=font, anchor="lt")
        if right - left <= 0.9 * size[0] or points <= _SMALLEST_FONT:
            return font, right, bottom
        points -= 1
