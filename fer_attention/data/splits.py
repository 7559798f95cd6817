"""Roles of splits: which part of a data set trains, which selects and which is reported."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from fer_attention.data.records import DataError, FaceDataset

PARTS = ("train", "validation", "test")
"""Parts of a fold, and the split names of a set that a protocol has divided."""

OFFICIAL = (("train", "public", "private"), PARTS)
"""Splits that train, select and report, in the sets that bring their own."""

TRAIN = "train"
"""Split that fits the weights."""

SELECTION = ("validation", "public")
"""Splits that may choose the epoch, the first one that is there."""

TEST = ("private", "test")
"""Splits that may be reported, the first one that is there."""


_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "validate": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "public": "public",
    "publictest": "public",
    "private": "private",
    "privatetest": "private",
}
_AROUND = re.compile(r"^(fer2013|ferplus|fer)|(sets?|data|images|imgs|faces|files|list|split)$")


def split_of(text: str) -> str | None:
    """Return the split that a folder or a cell names, or None.

    >>> split_of("Training"), split_of("FER2013Valid"), split_of("test_set"), split_of("PrivateTest")
    ('train', 'validation', 'test', 'private')
    >>> split_of("happy") is None
    True
    """
    name = re.sub(r"[^a-z0-9]", "", text.lower())
    while name not in _NAMES and (shorter := _AROUND.sub("", name)) != name:
        name = shorter
    return _NAMES.get(name)


def split_names(data: FaceDataset) -> list[str]:
    """Return the splits of a data set: training, selection and reporting first, then others by name."""
    there = set(data.splits.tolist())
    usual = (TRAIN, *SELECTION, *TEST)
    return [*(name for name in usual if name in there), *sorted(there.difference(usual))]


def selection_split(data: FaceDataset) -> str:
    """Choose the split that selects the epoch: `validation` or, of FER2013, `public`.

    >>> images, labels, names = np.zeros((3, 4, 4), dtype=np.uint8), np.zeros(3, dtype=np.int64), np.arange(3)
    >>> splits = np.array(["train", "public", "private"])  # as in FER2013
    >>> selection_split(FaceDataset(images, labels, names.astype(str), splits, ("happy",)))
    'public'

    Raises:
        DataError: The set has neither.
    """
    there = split_names(data)
    if found := [name for name in SELECTION if name in there]:
        return found[0]
    raise DataError(
        f"No split to select the epoch on: there are {', '.join(there)}. Make one with a protocol "
        "(fer_attention.data.create_protocol), or name it with select_on."
    )


def default_test_split(data: FaceDataset) -> str:
    """Choose the split that is reported: FER2013's `private`, else `test`, else `all` if it is the only one.

    >>> images, labels, names = np.zeros((3, 4, 4), dtype=np.uint8), np.zeros(3, dtype=np.int64), np.arange(3)
    >>> splits = np.array(["train", "public", "private"])  # as in FER2013
    >>> default_test_split(FaceDataset(images, labels, names.astype(str), splits, ("happy",)))
    'private'

    Raises:
        DataError: The set has other splits.
    """
    there = split_names(data)
    if found := [name for name in TEST if name in there]:
        return found[0]
    if there == ["all"]:
        return "all"
    raise DataError(
        f"There is no split private or test; choose one with split= (--split): {', '.join(there)}."
    )


def check_fraction(fraction: float) -> None:
    """Raise a ValueError if a share of the training images is not above 0 and at most 1."""
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is above 0 and at most 1, got {fraction}.")


def training_fraction(data: FaceDataset, fraction: float, *, seed: int = 0) -> NDArray[np.int64]:
    """Draw the rows of a share of a training set, for studies of its size: sorted int64.

    Every class keeps its share, rounded, and at least one image. For one seed, the rows of a smaller fraction
    are among those of a larger one. Rows are drawn without regard to subjects.

    >>> images, names = np.zeros((8, 4, 4), dtype=np.uint8), np.arange(8).astype(str)
    >>> faces = FaceDataset(images, np.arange(8) % 2, names, np.repeat("train", 8), ("happy", "sad"))
    >>> rows = training_fraction(faces, 0.5)
    >>> sorted(faces.labels[rows].tolist())
    [0, 0, 1, 1]

    Raises:
        ValueError: The fraction is not above 0 and at most 1.
    """
    check_fraction(fraction)
    order = np.random.default_rng(seed).permutation(len(data))
    chosen = []
    for label in np.unique(data.labels):
        rows = order[data.labels[order] == label]
        chosen.append(rows[: max(1, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def limit_training(data: FaceDataset, fraction: float, *, seed: int = 0) -> FaceDataset:
    """Cut the split `train` to a share of it, by class; other splits stay whole.

    >>> images, names = np.zeros((8, 4, 4), dtype=np.uint8), np.arange(8).astype(str)
    >>> splits = np.repeat(["train", "test"], 4)
    >>> faces = FaceDataset(images, np.arange(8) % 2, names, splits, ("happy", "sad"))
    >>> limit_training(faces, 0.5).splits.tolist()
    ['train', 'train', 'test', 'test', 'test', 'test']

    Args:
        data: The set, with its splits.
        fraction: Share of the training images; see `training_fraction`.
        seed: For the draw.

    Raises:
        DataError: There is no split `train`.
        ValueError: The fraction is not above 0 and at most 1.
    """
    if fraction == 1:
        return data
    kept = training_fraction(data.split(TRAIN), fraction, seed=seed)
    keep = data.splits != TRAIN
    keep[(~keep).nonzero()[0][kept]] = True
    return data.take(keep)
