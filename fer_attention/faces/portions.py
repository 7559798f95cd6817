"""Photos in portions that fit into memory together, in any number of threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from threading import Lock
from typing import TypeVar

from PIL import Image

from fer_attention.faces.decoding import open_image
from fer_attention.faces.images import ImageError, ImageSource

Item = TypeVar("Item")

PORTION = 24_000_000
"""Pixels of a portion, 96 MB in memory."""

_one_large = Lock()


def in_portions(
    photos: Iterable[tuple[Item, ImageSource]],
    load: Callable[[ImageSource], Image.Image],
    on_error: Callable[[Item, ImageError], None],
) -> Iterator[list[tuple[Item, Image.Image]]]:
    """Load photos and yield them in portions, which are emptied when the next one is asked for.

    A file of more pixels than a portion is alone in its own, and one thread at a time holds such a photo.

    >>> for portion in in_portions([("a", Image.new("RGB", (8, 6)))], lambda photo: photo, print):
    ...     print([(name, photo.size) for name, photo in portion])
    [('a', (8, 6))]

    Args:
        photos: Any items, each with its photo.
        load: Loads a photo.
        on_error: Receives the item of a photo that cannot be loaded.
    """
    portion: list[tuple[Item, Image.Image]] = []
    pixels = 0
    for item, source in photos:
        large = _pixels(source) > PORTION
        if portion and (large or pixels >= PORTION):
            yield portion
            portion.clear()
            pixels = 0
        with _one_large if large else nullcontext():
            try:
                portion.append((item, load(source)))
            except ImageError as error:
                on_error(item, error)
                continue
            if large:
                yield portion
                portion.clear()
            else:
                pixels += portion[-1][1].width * portion[-1][1].height
    if portion:
        yield portion
        portion.clear()


def _pixels(source: ImageSource) -> int:
    """Return the number of pixels that a file declares; 0 for photos in memory and damaged headers."""
    if not isinstance(source, str | bytes | os.PathLike):
        return 0
    try:
        with open_image(source, max_pixels=2**63) as image:
            return image.width * image.height
    except Exception:  # the reason is given when it is loaded
        return 0
