"""Labelled face crops: what every data set becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_attention.data.files import ImageFiles, digest
from fer_attention.digests import file_sha256


class DataError(ValueError):
    """A data set that is absent, damaged or not in the expected layout.

    >>> from fer_attention.data import load_data
    >>> try:
    ...     load_data("absent.zip")
    ... except DataError as error:
    ...     print(str(error).split(". ")[0])
    absent.zip does not exist
    """


@dataclass(frozen=True)
class Division:
    """Fold of a protocol that gave a data set its splits.

    >>> Division("stratified_kfold", fold=2, seed=1).protocol
    'stratified_kfold'

    Attributes:
        protocol: Name of the protocol.
        fold: Number of the fold, from 0.
        seed: Seed of the protocol's random choices.
        options: Options of the protocol.
    """

    protocol: str
    fold: int
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


NOT_COLUMNS = ("label_names", "skipped", "layout", "division")
"""Fields of a data set that have no entry for each image."""


@dataclass(frozen=True, eq=False)
class FaceDataset:
    """Face crops of one size with their labels, N of them.

    Digests of the images are computed once and kept, so do not write into `images`.

    >>> crops = FaceDataset(
    ...     images=np.zeros((3, 48, 48), dtype=np.uint8),
    ...     labels=np.array([0, 1, 1]),
    ...     names=np.array(["a.png", "b.png", "c.png"]),
    ...     splits=np.array(["train", "train", "test"]),
    ...     label_names=("happy", "sad"),
    ... )
    >>> len(crops.split("train")), crops.take([2]).names.tolist()
    (2, ['c.png'])

    Attributes:
        images: uint8, (N, H, W) grey or (N, H, W, 3) RGB, in memory or decoded from files on use.
        labels: int64, (N,), indices into `label_names`.
        names: N names that are unique in the set, such as `train/happy/Training_1.jpg`.
        splits: N names of splits, such as `train`; `all` where the set gives none.
        label_names: The emotions in the order of their indices.
        subjects: N people, where the set names them: `S005`.
        sequences: N image sequences, where the set has them: `S005_001`. Each is of one subject.
        targets: float32, (N, classes), each row a distribution over the labels, where several people voted.
        votes: int64, (N, 10), how many people voted for each of FER+'s eight emotions, for unknown and for
            "not a face" (`data.votes.VOTE_COLUMNS`); zeros where nobody did.
        skipped: (name, reason) of the files that were left out, where the caller allowed that.
        layout: How the files were understood: the reader, and labels that are written differently.
        division: Fold that gave the splits, where a protocol did.
    """

    images: NDArray[np.uint8] | ImageFiles
    labels: NDArray[np.int64]
    names: NDArray[np.str_]
    splits: NDArray[np.str_]
    label_names: tuple[str, ...]
    subjects: NDArray[np.str_] | None = None
    sequences: NDArray[np.str_] | None = None
    targets: NDArray[np.float32] | None = None
    votes: NDArray[np.int64] | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    layout: str = ""
    division: Division | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self._columns()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"The columns differ in length: {lengths}.")
        if self.images.dtype != np.uint8 or self.images.ndim not in (3, 4):
            raise DataError(
                f"images are uint8 (N, H, W) or (N, H, W, 3), got {self.images.dtype} {self.images.shape}."
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.label_names):
            raise DataError(
                f"Labels run from {self.labels.min()} to {self.labels.max()}, for {self.label_names}."
            )
        if self.targets is not None and self.targets.shape != (len(self), len(self.label_names)):
            raise DataError(f"targets are (N, {len(self.label_names)}), got {self.targets.shape}.")
        if self.votes is not None and self.votes.shape != (len(self), 10):
            raise DataError(f"votes are (N, 10) counts, got {self.votes.shape}.")

    def _columns(self) -> list[str]:
        names = [field.name for field in fields(self) if field.name not in NOT_COLUMNS]
        return [name for name in names if getattr(self, name) is not None]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64] | Sequence[int]) -> FaceDataset:
        """Select rows by mask or index."""
        chosen = np.asarray(rows)
        if not chosen.size:  # an empty list is of floats to NumPy
            chosen = chosen.astype(np.int64)
        columns = {name: getattr(self, name)[chosen] for name in self._columns() if name != "images"}
        images = self.images.take(chosen) if isinstance(self.images, ImageFiles) else self.images[chosen]
        taken = replace(self, images=images, skipped=(), **columns)
        return taken._with_digests_of(self, chosen)

    def relabelled(
        self,
        labels: NDArray[np.int64],
        label_names: Sequence[str],
        *,
        targets: NDArray[np.float32] | None = None,
    ) -> FaceDataset:
        """Return the same images with other labels."""
        made = replace(self, labels=labels, label_names=tuple(label_names), targets=targets)
        return made._with_digests_of(self)

    def with_splits(self, splits: NDArray[np.str_], division: Division | None = None) -> FaceDataset:
        """Return the same images in other splits."""
        return replace(self, splits=splits, division=division)._with_digests_of(self)

    def _with_digests_of(self, other: FaceDataset, rows: Any = ...) -> FaceDataset:
        """Take over the digests of the same images, if they have been computed, and return the set."""
        if "digests" in other.__dict__:
            self.__dict__["digests"] = other.digests[rows]
        return self

    def split(self, name: str) -> FaceDataset:
        """Select one split; a DataError lists the splits if it does not exist."""
        mask = self.splits == name
        if not mask.any():
            raise DataError(f"No split {name!r}; there are {', '.join(sorted(set(self.splits.tolist())))}.")
        return self.take(mask)

    @cached_property
    def digests(self) -> NDArray[np.uint64]:
        """uint64 (N,), equal where images are equal pixel for pixel; files are decoded once for it.

        Rows that are taken afterwards, and the same rows under other labels, keep theirs.
        """
        return np.array([digest(image) for image in self.images], dtype=np.uint64)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of images (on the disk: of their files), labels, targets, votes and splits."""
        content = hashlib.blake2b(digest_size=16)
        if isinstance(self.images, ImageFiles):
            for name, path in zip(self.names.tolist(), self.images.paths, strict=True):
                content.update(f"{name}\n{file_sha256(path)}\n".encode())
        else:
            content.update(np.ascontiguousarray(self.images).data)
        content.update(np.ascontiguousarray(self.labels).data)
        if self.targets is not None:
            content.update(np.ascontiguousarray(self.targets).data)
        if self.votes is not None:
            content.update(np.ascontiguousarray(self.votes).data)
        content.update("\n".join([*self.splits.tolist(), *self.label_names]).encode())
        return content.hexdigest()

    def seen_in(self, other: FaceDataset) -> NDArray[np.bool_]:
        """Compute (N,) flags, true where an image is, pixel for pixel, also among the `other` images."""
        return np.isin(self.digests, other.digests)
