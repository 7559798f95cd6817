"""Large photos are searched as smaller copies: less time, and no face larger than a network knows."""

from __future__ import annotations

from PIL import Image


def checked_max_side(max_side: int | None, *, least: float) -> int | None:
    """The longer side above which photos are shrunk, or None.

    Raises:
        ValueError: It is below `least`, the smallest face that the detector looks for.
    """
    if max_side is not None and max_side < least:
        raise ValueError(
            f"max_side is at least the smallest face looked for, {least:g} pixels, or None for no "
            f"shrinking; got {max_side}."
        )
    return max_side


def shrunk(photo: Image.Image, max_side: int | None) -> Image.Image:
    """The photo itself, or a copy whose longer side has `max_side` pixels."""
    longer = max(photo.size)
    if max_side is None or longer <= max_side:
        return photo
    width, height = (max(1, round(side * max_side / longer)) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.BILINEAR)
