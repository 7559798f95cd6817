"""Images that stay on the disk until they are needed, for sets that do not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_attention.faces.images import load_image


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """N image files, read as uint8 (N, H, W) grey or (N, H, W, 3) RGB whenever rows are asked for.

    `files[rows]` with an integer array or a slice gives an array in memory, as NumPy does; `take` gives
    fewer files, unread.

    Attributes:
        paths: The files.
        size: (H, W) that every image is resized to, pixels.
        channels: 1 grey, 3 RGB.
    """

    paths: tuple[Path, ...]
    size: tuple[int, int] = (48, 48)
    channels: int = 1
    dtype: np.dtype[np.uint8] = field(default=np.dtype(np.uint8), init=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """What the shape of all images in memory would be."""
        return (len(self.paths), *self.size, *((3,) if self.channels == 3 else ()))

    @property
    def ndim(self) -> int:
        """3 grey, 4 RGB."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self.read(path) for path in self.paths)

    def __getitem__(self, rows: NDArray[np.int64] | Sequence[int] | slice) -> NDArray[np.uint8]:
        chosen = np.arange(len(self))[rows]
        if not len(chosen):
            return np.empty((0, *self.shape[1:]), dtype=np.uint8)
        return np.stack([self.read(self.paths[row]) for row in chosen])

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> ImageFiles:
        """Some of the files, by mask or by index; nothing is read."""
        return replace(self, paths=tuple(self.paths[row] for row in np.arange(len(self))[rows]))

    def read(self, path: Path) -> NDArray[np.uint8]:
        """One image, upright.

        Raises:
            ImageError: The file is no whole image; its name is in the message.
        """
        height, width = self.size
        image = load_image(path).convert("L" if self.channels == 1 else "RGB")
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
