"""Photos with their faces marked."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from fer_attention.faces.face import Face
from fer_attention.faces.images import ImageSource, load_image

_BRIGHT = (255, 210, 63)
_DARK = (24, 24, 27)
_SMALLEST_FONT = 9


def annotate(image: ImageSource, faces: Sequence[Face], captions: Sequence[str] | None = None) -> Image.Image:
    """Draw boxes, landmarks and captions on an RGB copy of a photo, upright.

    Lines and text scale with the photo. A caption is drawn above its box, else below it, else inside it, and
    always within the photo.

    >>> face = Face(box=(60, 40, 120, 120), score=0.99)
    >>> annotate(Image.new("RGB", (200, 150)), [face], ["happy 97 %"]).size
    (200, 150)

    Args:
        image: The photo in which the faces were found.
        faces: The faces to mark.
        captions: One line of text for each face; an empty one draws no label.

    Raises:
        ValueError: The numbers of captions and faces differ.
    """
    if captions is not None and len(captions) != len(faces):
        raise ValueError(f"annotate needs one caption per face; got {len(captions)} for {len(faces)} faces.")
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
    # A dark rim on both sides keeps the bright line visible on any background.
    draw.rectangle((x1 - edge, y1 - edge, x2 + edge, y2 + edge), outline=_DARK, width=line + 2 * edge)
    draw.rectangle((x1, y1, x2, y2), outline=_BRIGHT, width=line)
    radius = min(1.5 * line, face.width / 40)
    for x, y in face.landmarks or ():
        draw.circle((x, y), radius + 1, fill=_DARK)
        draw.circle((x, y), radius, fill=_BRIGHT)


def _label(draw: ImageDraw.ImageDraw, size: tuple[int, int], face: Face, caption: str, line: int) -> None:
    font, caption = _fitted(size, face, caption)
    width = font.getlength(caption)
    # All labels of one font size are as high as "Ag", so that a row of them is level.
    _, ascent, _, descent = draw.textbbox((0, 0), "Ag", font=font, anchor="ls")
    pad = max(2, round((descent - ascent) / 6))
    label_width, label_height = width + 2 * pad, descent - ascent + 2 * pad
    x1, y1, _, y2 = face.box
    above, below = y1 - line - label_height, y2 + line
    top = above if above >= 0 else below if below + label_height <= size[1] else y1 + line
    left = min(max(x1 - line, 0), max(size[0] - label_width, 0))
    top = min(max(top, 0), max(size[1] - label_height, 0))
    draw.rectangle((left, top, left + label_width - 1, top + label_height - 1), fill=_BRIGHT)
    draw.text((left + pad, top + pad - ascent), caption, fill=_DARK, font=font, anchor="ls")


def _fitted(
    size: tuple[int, int], face: Face, caption: str
) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, str]:
    """Return a font that suits photo and face, and the caption, truncated to the photo's width."""
    largest, smallest = (max(_SMALLEST_FONT, round(min(size) / part)) for part in (28, 56))
    room = min(face.width, 0.95 * size[0])
    fitting = int(largest * room / max(ImageFont.load_default(largest).getlength(caption), 1))
    font = ImageFont.load_default(min(max(fitting, smallest), largest))
    while font.getlength(caption) > 0.95 * size[0] and len(caption) > 1:
        caption = caption[:-2] + "…"
    return font, caption
