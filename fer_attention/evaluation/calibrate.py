"""Fitting of a temperature and a threshold, so that probabilities and candidates hold on new faces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_attention.calibration import Calibration, mass_before
from fer_attention.classifiers import Classifier, as_classifier
from fer_attention.classifiers.base import calibration_of, softmax
from fer_attention.data import DataError, FaceDataset, SeenImages
from fer_attention.data.seen import divided_as_trained
from fer_attention.data.splits import selection_split
from fer_attention.evaluation.answers import leave_out_emotions
from fer_attention.evaluation.copies import record_of, training_copies
from fer_attention.evaluation.crops import match_labels, predict_crops
from fer_attention.evaluation.crowd import plurality_of, vote_shares
from fer_attention.models import FERModel

COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures that are considered."""


def calibrate(
    model: FERModel | Classifier,
    data: FaceDataset,
    *,
    split: str | None = None,
    coverage: float = 0.9,
    drop_unknown: bool = False,
    batch_size: int = 256,
) -> Calibration:
    """Fit temperature and threshold on a split that was not trained on.

    Where the data has votes, the temperature minimises the cross-entropy to their distribution, so that a
    probability is the share of people who would answer so, and the truth that the candidates cover is the
    emotion with the most votes. Else, both take the data's labels. Images that are, pixel for pixel, training
    images are left out, because new faces are none. The model stays as it is.

    >>> from fer_attention.emotions import FER2013
    >>> from fer_attention.models import bundled_path, load_weights
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 48, 48), dtype=np.uint8)
    >>> faces = FaceDataset(images, labels=np.arange(40) % 7, names=np.arange(40).astype(str),
    ...                   splits=np.repeat("validation", 40), label_names=FER2013)
    >>> found = calibrate(load_weights(bundled_path("resnetv2_18_eca_elu.fer2013")), faces)
    >>> found.truth, found.n
    ('labels', 40)

    Args:
        model: A model with labels and preprocessing, or any classifier.
        data: The whole data set, with its splits.
        split: The split; by default `validation` or `public`, which selects epochs. Data without splits is
            divided as it was for the training of the model.
        coverage: Share of new faces whose truth shall be among the candidates.
        drop_unknown: Leave out images of labels that are no emotions, instead of raising.
        batch_size: Images per pass.

    Raises:
        DataError: There is no such split, it has labels that the model lacks, or too few images for the
            coverage are left.
        ValueError: The coverage is not between 0 and 1, or the model lacks labels or preprocessing.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is between 0 and 1, for instance 0.9; got {coverage}.")
    classifier = as_classifier(model)
    record = record_of(classifier)
    if split is None:
        data = divided_as_trained(data, record) or data
    split = split or selection_split(data)
    known_emotions, _ = leave_out_emotions(data.split(split), classifier.labels)
    part, _ = match_labels(known_emotions, classifier.labels, drop_unknown=drop_unknown)
    seen = SeenImages.from_record(record)
    faces = part.take(~training_copies(part, data, split, seen).rows)
    voted = None if faces.votes is None else vote_shares(faces.votes, classifier.labels)
    if not len(faces) or (voted is not None and not voted.any()):
        raise DataError(
            f"No image of the split {split} is left to fit on: all are training images"
            f"{'' if voted is None else ', or nobody voted for an emotion that the model knows'}."
        )
    before = calibration_of(classifier).temperature
    logits = before * np.log(
        np.maximum(predict_crops(classifier, faces, batch_size=batch_size), np.finfo(np.float64).tiny)
    )
    if voted is None:
        truth = faces.labels
        temperature = fit_temperature(logits, np.eye(len(classifier.labels))[truth])
    else:
        assert faces.votes is not None  # noqa: S101  (for the type checker)
        truth = plurality_of(faces.votes, classifier.labels)
        temperature = fit_temperature(logits[voted.any(1)], voted[voted.any(1)])
    known = truth >= 0
    probabilities = softmax(logits[known], temperature=temperature)
    return Calibration(
        temperature=temperature,
        threshold=fit_threshold(probabilities, truth[known], coverage=coverage),
        coverage=coverage,
        truth="labels" if voted is None else "votes",
        split=split,
        n=int(known.sum()),
        fingerprint=faces.fingerprint,
    )


def fit_temperature(logits: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]]) -> float:
    """Return the temperature whose probabilities have the smallest cross-entropy to the truth.

    The cross-entropy is convex in 1 / temperature, so bisection of its derivative finds the minimum.

    >>> logits = np.array([[2.0, 0.0], [2.0, 0.0]])
    >>> truth = np.array([[1.0, 0.0], [0.5, 0.5]])  # right to 75 %: softmax(2 / T) = 0.75
    >>> round(fit_temperature(logits, truth) * math.log(3), 6)
    2.0

    Args:
        logits: (N, C).
        truth: (N, C), rows that sum to 1.

    Returns:
        A temperature from 0.05 to 20.
    """
    logits = np.asarray(logits, dtype=np.float64)

    def slope(temperature: float) -> float:
        """Return the derivative of the cross-entropy with respect to 1 / temperature."""
        return float(((softmax(logits, temperature=temperature) - truth) * logits).sum(axis=1).mean())

    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(60):
        middle = (low + high) / 2
        if slope(math.exp(middle)) > 0:  # the answers are too sure
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def fit_threshold(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], *, coverage: float = 0.9
) -> float:
    """Return the conformal threshold, the ⌈(n + 1) · coverage⌉-th smallest score of n faces.

    The score of a face is the probability of the emotions that are more probable than the right one. For new
    faces that are drawn like these, the right one is a candidate with at least this coverage on average.

    >>> probabilities = np.tile([0.6, 0.3, 0.1], (9, 1))
    >>> fit_threshold(probabilities, np.array([0, 0, 0, 0, 0, 0, 1, 1, 2]), coverage=0.8)
    0.6

    Args:
        probabilities: (N, C).
        labels: (N,), right classes.
        coverage: Share of faces whose right emotion is among the candidates.

    Raises:
        DataError: There are too few faces for the coverage.
    """
    scores = np.sort(mass_before(probabilities)[np.arange(len(labels)), labels])
    rank = math.ceil(round((len(scores) + 1) * coverage, 9))  # 0.9 has no exact float
    if rank > len(scores):
        least = math.ceil(round(coverage / (1 - coverage), 9))
        raise DataError(f"A coverage of {coverage:.4g} needs at least {least} images; got {len(scores)}.")
    return float(scores[rank - 1])
