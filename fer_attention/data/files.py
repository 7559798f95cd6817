"""Images that stay on the disk until they are needed, for sets that do not fit into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_attention.faces.images import load_image

Choice: TypeAlias = NDArray[np.bool_] | NDArray[np.int64] | Sequence[int] | slice


def fit(image: Image.Image, *, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Resize an image to uint8 (H, W) grey or (H, W, 3) RGB; shrinking is antialiased, bilinear.

    Args:
        image: An upright picture; it is stretched where its proportions are others.
        size: (H, W), pixels.
        channels: 1 grey (ITU-R 601 luma), 3 RGB.
    """
    height, width = size
    coloured = image.convert("L" if channels == 1 else "RGB")
    return np.asarray(coloured.resize((width, height), Image.Resampling.BILINEAR))


def check_form(size: tuple[int, int], channels: int) -> None:
    """Raise a ValueError for a size or a number of channels that no picture has."""
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size is (height, width) in pixels, got {size}.")
    if channels not in (1, 3):
        raise ValueError(f"channels is 1 (grey) or 3 (RGB), got {channels}.")


def digest(image: NDArray[np.uint8]) -> int:
    """Hash an image's pixels to 64 bits, so that large sets can be compared without being held in memory.

    Among a million images, two different ones share a number once in forty million sets.
    """
    return int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=8).digest(), "little")


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """N image files, read as uint8 (N, H, W) grey or (N, H, W, 3) RGB whenever rows are asked for.

    `files[rows]` with an integer array or a slice gives an array in memory, as NumPy does; `take` gives
    fewer files, unread.

    >>> files = ImageFiles((Path("a.png"), Path("b.png")), size=(48, 48))
    >>> files.shape, files.take([1]).paths[0].name
    ((2, 48, 48), 'b.png')

    Attributes:
        paths: The files.
        size: (H, W) that every image is resized to, pixels.
        channels: 1 grey, 3 RGB.

    Raises:
        ValueError: The size or the number of channels cannot be.
    """

    paths: tuple[Path, ...]
    size: tuple[int, int] = (48, 48)
    channels: int = 1
    dtype: np.dtype[np.uint8] = field(default=np.dtype(np.uint8), init=False)

    def __post_init__(self) -> None:
        check_form(self.size, self.channels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape that all images would have in memory."""
        return (len(self.paths), *self.size, *((3,) if self.channels == 3 else ()))

    @property
    def ndim(self) -> int:
        """3 grey, 4 RGB."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self.read(path) for path in self.paths)

    def __getitem__(self, rows: Choice) -> NDArray[np.uint8]:
        chosen = self.take(rows)
        return np.stack(list(chosen)) if len(chosen) else np.empty(chosen.shape, dtype=np.uint8)

    def take(self, rows: Choice) -> ImageFiles:
        """Select files by mask, index or slice; nothing is read."""
        return replace(self, paths=tuple(self.paths[row] for row in np.arange(len(self))[rows]))

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Read one image, upright; an ImageError names a file that is not a complete image."""
        return fit(load_image(path), size=self.size, channels=self.channels)
