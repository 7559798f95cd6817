"""Images that a model has seen among test images; every evaluation looks for them here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_attention.classifiers import Classifier
from fer_attention.data import DataError, FaceDataset, SeenImages
from fer_attention.data.splits import SELECTION, TRAIN


@dataclass(frozen=True, eq=False)
class Copies:
    """Images of a split that the model has seen, or that are also in other splits.

    Attributes:
        rows: bool (N,), true where an image is, pixel for pixel, also a training image.
        leaked: bool (N,), true where the model has seen an image that the data's splits hold out from it.
        known: True where training images were at hand to compare with.
        notes: Sentences that belong to numbers on these images.
        warnings: Sentences without which numbers on these images would mislead.
    """

    rows: NDArray[np.bool_]
    leaked: NDArray[np.bool_]
    known: bool
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def record_of(classifier: Classifier) -> Mapping[str, Any]:
    """Return the record of a classifier's weights; empty for classifiers of others."""
    metadata = getattr(classifier, "metadata", None)
    return {} if metadata is None else dict(metadata.record)


def training_copies(images: FaceDataset, data: FaceDataset, split: str, seen: SeenImages | None) -> Copies:
    """Compare images with the data's own splits, and with those that the weights have seen.

    Copies between the data's own splits are part of its protocol: they are counted. Images that the model has
    seen although the data's splits hold them out have leaked.

    Args:
        images: N images of the split.
        data: The whole data set, with its splits.
        split: The split that the images are of.
        seen: Images that the weights were trained and selected on, as their record says.
    """
    size = len(images)
    none = np.zeros(size, dtype=bool)
    rows, leaked, known, notes, warnings = none, none, True, [], []
    own = none
    if split != TRAIN and TRAIN in data.splits:
        rows = own = images.seen_in(data.split(TRAIN))
        notes.append(
            f"{rows.sum()} of the {size} images are, pixel for pixel, also in the data's split {TRAIN}."
        )
        for name in SELECTION:
            if name != split and name in data.splits:
                own = own | images.seen_in(data.split(name))
    elif split == TRAIN and (seen is None or seen.trained_on(images).all()):
        rows = ~none if seen is None else rows
        warnings.append("These are the training images themselves.")
    elif seen is None:
        known = False
        notes.append(
            f"The data has no split {TRAIN} and the weights do not say which images they have seen, so "
            "copies of training images could not be looked for."
        )
    if seen is not None:
        trained, selected = seen.trained_on(images), seen.selected_on(images)
        rows = rows | trained
        if split not in (TRAIN, *SELECTION):
            leaked = (trained | selected) & ~own
        if leaked.any():
            counts = f"{(leaked & trained).sum()} trained it, {(leaked & ~trained).sum()} selected its epoch"
            warnings.append(f"{leaked.sum()} of the {size} images have been seen by the model: {counts}.")
        else:
            notes.append(f"{trained.sum()} of the {size} images were among those that trained the model.")
        if selected.any() and not leaked.any():
            (warnings if split in SELECTION else notes).append(
                f"{selected.sum()} of the {size} images selected the model's epoch: numbers on them are "
                "optimistic."
            )
    return Copies(rows, leaked, known, tuple(notes), tuple(warnings))


def check_unseen(copies: Copies, split: str) -> None:
    """Raise a DataError if no image is left without those that have leaked."""
    if len(copies.leaked) and copies.leaked.all():
        raise DataError(
            f"No image of the split {split} is new to the model. {' '.join(copies.warnings)} Measure on "
            "other images or another fold, or pass --allow-seen (allow_seen=True)."
        )
