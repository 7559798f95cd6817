"""Copies of training images among test images; every evaluation looks for them here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_attention.classifiers import Classifier
from fer_attention.data import FaceDataset, SeenImages
from fer_attention.data.splits import TRAIN


@dataclass(frozen=True, eq=False)
class Copies:
    """Images of a split that are, pixel for pixel, training images.

    Attributes:
        rows: bool (N,), true where an image is also a training image.
        known: True where training images were at hand to compare with.
        notes: Sentences that belong to numbers on these images.
    """

    rows: NDArray[np.bool_]
    known: bool
    notes: tuple[str, ...]


def seen_by(classifier: Classifier) -> SeenImages | None:
    """Return the images that a classifier's weights have seen; None if they are not recorded.

    Raises:
        DataError: The record is damaged.
    """
    metadata = getattr(classifier, "metadata", None)
    return None if metadata is None else SeenImages.from_record(metadata.record)


def training_copies(images: FaceDataset, data: FaceDataset, split: str, seen: SeenImages | None) -> Copies:
    """Compare images with the data's split `train`, and with those that the weights have seen.

    Args:
        images: N images of the split.
        data: The whole data set, with its splits.
        split: The split that the images are of.
        seen: Images that the weights were trained and selected on, as their record says.
    """
    size = len(images)
    rows, known, notes = np.zeros(size, dtype=bool), True, []
    if split != TRAIN and TRAIN in data.splits:
        rows = images.seen_in(data.split(TRAIN))
        notes.append(
            f"{rows.sum()} of the {size} images are, pixel for pixel, also in the data's split {TRAIN}."
        )
    elif seen is None and split == TRAIN:
        rows = ~rows
        notes.append("These are the training images themselves.")
    elif seen is None:
        known = False
        notes.append(
            f"The data has no split {TRAIN} and the weights do not say which images they have seen, so "
            "copies of training images could not be looked for."
        )
    if seen is not None:
        trained, selected = seen.trained_on(images), seen.selected_on(images)
        rows = rows | trained
        notes.append(f"{trained.sum()} of the {size} images were among those that trained the model.")
        if selected.any():
            notes.append(
                f"{selected.sum()} of the {size} images selected the model's epoch: numbers on them are "
                "optimistic."
            )
    return Copies(rows, known, tuple(notes))
