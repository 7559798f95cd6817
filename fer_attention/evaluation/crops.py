"""A model on a set of face crops: labels matched by name, probabilities block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fer_attention.classifiers import Classifier, as_classifier
from fer_attention.data import DataError, FaceDataset
from fer_attention.emotions import label_map
from fer_attention.evaluation.tta import tta_probabilities
from fer_attention.models import FERModel

BLOCK = 4096
"""Images that are decoded and kept as floats at a time."""


def match_labels(
    crops: FaceDataset, labels: tuple[str, ...], *, drop_unknown: bool = False
) -> tuple[FaceDataset, dict[str, int]]:
    """Express labels as indices into a model's labels, matched by name, and count images left out.

    Names are compared in the library's spelling: `anger` is `angry`.

    >>> images, names = np.zeros((2, 48, 48), dtype=np.uint8), np.array(["a", "b"])
    >>> faces = FaceDataset(images, np.array([0, 1]), names, np.repeat("test", 2), ("anger", "contempt"))
    >>> matched, dropped = match_labels(faces, ("happy", "angry"), drop_unknown=True)
    >>> matched.labels, dropped
    (array([1]), {'contempt': 1})

    Args:
        crops: Labelled images.
        labels: The model's class names.
        drop_unknown: Leave out images of labels that the model lacks, instead of raising.

    Returns:
        The crops, without `targets`, and the number of images left out by label.

    Raises:
        DataError: Images have labels that the model lacks, or none is left.
    """
    index_of = label_map(crops.label_names, labels)
    counts = np.bincount(crops.labels, minlength=len(crops.label_names))
    lookup = np.array([-1 if target is None else target for target in index_of.values()], dtype=np.int64)
    unknown = {crops.label_names[index]: int(counts[index]) for index in (counts * (lookup < 0)).nonzero()[0]}
    if unknown and not drop_unknown:
        found = ", ".join(f"{name} (images: {count})" for name, count in unknown.items())
        raise DataError(
            f"The model has no label for {found}; it knows {', '.join(labels)}. Leave those images out with "
            "--drop-unknown-labels (drop_unknown=True)."
        )
    mapped = lookup[crops.labels]
    if not (mapped >= 0).any():
        raise DataError(f"No image has a label that the model knows: {', '.join(labels)}.")
    kept = crops.take(mapped >= 0)
    return kept.relabelled(mapped[mapped >= 0], labels), unknown


def predict_crops(
    model: FERModel | Classifier, crops: FaceDataset, *, tta: str = "none", batch_size: int = 256
) -> NDArray[np.float64]:
    """Predict the probabilities (N, classes) of all crops, with the preprocessing of the model.

    Images that stay on the disk are read some thousand at a time.

    >>> from fer_attention.models import bundled_path, load_weights
    >>> images, names = np.zeros((2, 60, 60), dtype=np.uint8), np.array(["a", "b"])
    >>> faces = FaceDataset(images, np.array([0, 0]), names, np.repeat("test", 2), ("happy",))
    >>> predict_crops(load_weights(bundled_path("resnetv2_18_eca_elu.fer2013")), faces).shape
    (2, 7)

    Args:
        model: A model with labels and preprocessing, or any classifier; it computes where it is.
        crops: N images.
        tta: A name in `VIEWS`.
        batch_size: Images per pass.

    Raises:
        ValueError: The model lacks labels or preprocessing, or there is no image.
    """
    classifier = as_classifier(model)
    if not len(crops):
        raise ValueError("There is no image to predict on.")
    blocks = []
    for start in range(0, len(crops), BLOCK):
        pixels = classifier.preprocessing.prepare(crops.images[start : start + BLOCK])
        blocks.append(tta_probabilities(classifier, pixels, tta=tta, batch_size=batch_size))
    return np.concatenate(blocks)
