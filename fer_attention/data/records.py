"""Labelled face crops in memory: what every data set becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


class DataError(ValueError):
    """A data set that is absent, damaged or not in the expected layout."""


@dataclass(frozen=True, eq=False)
class FaceCrops:
    """Face crops of one size with their labels, N of them.

    Attributes:
        images: uint8, (N, H, W) grey or (N, H, W, 3) RGB.
        labels: int64, (N,), indices into `label_names`.
        names: N names that are unique in the set, such as `train/happy/Training_1.jpg`.
        splits: N names of splits, such as `train`.
        label_names: The emotions in the order of their indices.
        skipped: (name, reason) of the files that were left out, where the caller allowed that.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: NDArray[np.str_]
    splits: NDArray[np.str_]
    label_names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        counts = {len(self.images), len(self.labels), len(self.names), len(self.splits)}
        if len(counts) > 1:
            raise DataError(f"images, labels, names and splits differ in length: {sorted(counts)}.")
        if self.images.dtype != np.uint8 or self.images.ndim not in (3, 4):
            raise DataError(
                f"images are uint8 (N, H, W) or (N, H, W, 3), got {self.images.dtype} {self.images.shape}."
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.label_names):
            raise DataError(
                f"Labels run from {self.labels.min()} to {self.labels.max()}, for {self.label_names}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64] | Sequence[int]) -> FaceCrops:
        """The chosen rows, by mask or by index."""
        rows = np.asarray(rows)
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            names=self.names[rows],
            splits=self.splits[rows],
            skipped=(),
        )

    def split(self, name: str) -> FaceCrops:
        """The rows of one split.

        Raises:
            DataError: There is no such split; the message lists those there are.
        """
        mask = self.splits == name
        if not mask.any():
            raise DataError(f"No split {name!r}; there are {sorted(set(self.splits.tolist()))}.")
        return self.take(mask)

    def seen_in(self, other: FaceCrops) -> NDArray[np.bool_]:
        """(N,), true where an image is, pixel for pixel, also among the `other` images."""
        known = {image.tobytes() for image in other.images}
        return np.array([image.tobytes() in known for image in self.images], dtype=bool)
