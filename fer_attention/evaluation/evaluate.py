"""One evaluation: a model on a split of a data set, called by commands, studies and notebooks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_attention.calibration import Calibration
from fer_attention.classifiers import Classifier, as_classifier
from fer_attention.classifiers.base import calibration_of
from fer_attention.data import FaceDataset, degrade_crops
from fer_attention.evaluation.answers import restrict, restriction_note
from fer_attention.evaluation.crops import predict_crops
from fer_attention.evaluation.crowd import CrowdAgreement, crowd_agreement, plurality_of, vote_shares
from fer_attention.evaluation.doubt import LABELS, PLURALITY, VOTES, Doubt, measure_doubt
from fer_attention.evaluation.metrics import ClassificationMetrics, classification_metrics
from fer_attention.evaluation.selection import select_images
from fer_attention.evaluation.tta import VIEWS
from fer_attention.models import FERModel

ALL = "all images"
"""Name of the first set of results: every image of the split."""

NEW = "without duplicates of training images"
"""Name of the second set of results: images that are not, pixel for pixel, also training images."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Measures of a model on N images of a split.

    >>> found = evaluate(model, load_data("fer2013.zip"))  # doctest: +SKIP
    >>> print(found.results[ALL].accuracy)  # doctest: +SKIP

    Attributes:
        split: The split.
        results: Measures by set of images; the first is the headline: `ALL`, then, where training images
            are known and others are left, `NEW`.
        crowd: Agreement with the voters by the same sets of images, where the data has votes.
        doubt: Candidates and confidence by the same sets, and by truth: the data's labels and, where the data
            has votes, the emotion with the most votes and the votes themselves.
        calibration: Temperature of the probabilities, and the rule for the candidates.
        crops: The N images as they are in the data set, labelled by the model's answers.
        probabilities: float64 (N, C), over the labels of `crops`; each row sums to 1.
        copies: bool (N,), true where an image is known to be a training image.
        tta: Test-time augmentation of the predictions.
        dropped: Images left out by label, because the model lacks it.
        notes: Sentences that belong to the numbers.
        warnings: Those of the notes without which the numbers would mislead.
        seconds: Time that the predictions took.
    """

    split: str
    results: dict[str, ClassificationMetrics]
    crowd: dict[str, CrowdAgreement]
    doubt: dict[str, dict[str, Doubt]]
    calibration: Calibration
    crops: FaceDataset
    probabilities: NDArray[np.float64]
    copies: NDArray[np.bool_]
    tta: str
    dropped: dict[str, int]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float


def evaluate(
    model: FERModel | Classifier,
    data: FaceDataset,
    *,
    split: str | None = None,
    tta: str = "none",
    emotions: str | None = None,
    drop_unknown: bool = False,
    degradations: Sequence[tuple[str, float]] = (),
    sample: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
    allow_seen: bool = False,
) -> Evaluation:
    """Measure a model on images that are new to it, with and without copies of training images.

    Data without splits of its own is divided as it was for training, if the weights' record names the fold,
    and the fold's test images are measured. Images that have trained the model or selected its epoch although
    the data's splits hold them out, or that come without splits, are left out and counted in the warnings.

    Copies between the data's own splits are part of its protocol. They are counted, and everything is
    measured a second time without the images that are, pixel for pixel, training images.

    >>> from fer_attention.emotions import FER2013
    >>> from fer_attention.models import bundled_path, load_weights
    >>> images = np.random.default_rng(0).integers(0, 256, (6, 48, 48), dtype=np.uint8)
    >>> images[5] = images[0]  # a test image that is also a training image
    >>> faces = FaceDataset(images, labels=np.arange(6), names=np.array(list("abcdef")),
    ...                   splits=np.repeat(["train", "test"], 3), label_names=FER2013)
    >>> found = evaluate(load_weights(bundled_path("resnetv2_18_eca_elu.fer2013")), faces)
    >>> found.split, found.results[ALL].n, found.results[NEW].n, found.copies.tolist()
    ('test', 3, 2, [False, False, True])

    Args:
        model: A model with labels and preprocessing, or any classifier; it computes where it is.
        data: The whole data set, with its splits.
        split: The part to measure on; by default `private`, else `test`, else `all`.
        tta: Test-time augmentation, a name in `VIEWS`.
        emotions: Let the model answer only with this label set, `fer2013` or `ferplus`: the probabilities of
            its other labels are dropped, and the rest sums to 1 again. By default the labels that the data
            has, too; `"all"` for all of the model's.
        drop_unknown: Leave out images of labels that are no known emotions, instead of raising. Images of
            emotions that are not among the answers are always left out, and counted in `dropped`.
        degradations: (name, strength) of `data.DEGRADATIONS`, applied in order to the images as they are in
            the data set.
        sample: Take so many images of the split at random; None takes all.
        seed: For the sample and the degradations.
        batch_size: Images per pass.
        allow_seen: Measure on images that the model has seen, too; a warning counts them.

    Raises:
        DataError: There is no such split, it has labels that are not among the answers, the model has seen
            all of its images, or the model's record of the images it has seen is damaged.
        UnknownNameError: The test-time augmentation, label set or degradation is unknown.
        ValueError: A number is out of range, or the model lacks labels or preprocessing.
        ImportError: scikit-learn is not installed.
    """
    VIEWS[tta]
    classifier = as_classifier(model)
    labels = classifier.labels
    selection = select_images(
        classifier,
        data,
        split=split,
        emotions=emotions,
        drop_unknown=drop_unknown,
        sample=sample,
        seed=seed,
        allow_seen=allow_seen,
    )
    chosen, answers = selection.faces, selection.answers
    worse = chosen
    for name, strength in degradations:
        worse = degrade_crops(worse, name, strength, seed=seed)
    notes = list(selection.notes)
    if degradations:
        said = ", ".join(f"{name} {strength:g}" for name, strength in degradations)
        notes.append(f"The images were degraded first: {said}, seed {seed}.")
    if sample is not None:
        notes.append(f"{selection.drawn} images of the split were drawn, seed {seed}.")
    start = time.perf_counter()
    probabilities = predict_crops(classifier, worse, tta=tta, batch_size=batch_size)
    seconds = time.perf_counter() - start
    if answers != labels:
        notes.append(restriction_note(probabilities, chosen.labels, labels, answers))
    probabilities = restrict(probabilities, labels, answers)
    sets = {ALL: np.ones(len(chosen), dtype=bool)}
    if selection.known and not selection.copies.all():
        sets[NEW] = ~selection.copies
    calibration = calibration_of(classifier)
    results, crowd, doubt = {}, {}, {}
    for name, among in sets.items():
        results[name] = classification_metrics(probabilities[among], chosen.labels[among], answers)
        if chosen.votes is not None and chosen.votes[among].any():
            crowd[name] = crowd_agreement(
                probabilities[among], chosen.votes[among], answers, labels=chosen.labels[among]
            )
        doubt[name] = _doubts(probabilities[among], chosen.take(among), calibration)
    return Evaluation(
        split=selection.split,
        results=results,
        crowd=crowd,
        doubt=doubt,
        calibration=calibration,
        crops=chosen,
        probabilities=probabilities,
        copies=selection.copies,
        tta=tta,
        dropped=selection.dropped,
        notes=tuple(notes),
        warnings=selection.warnings,
        seconds=seconds,
    )


def _doubts(
    probabilities: NDArray[np.float64], faces: FaceDataset, calibration: Calibration
) -> dict[str, Doubt]:
    """Measure the doubt against each kind of truth that the data has."""
    found = {LABELS: measure_doubt(probabilities, faces.labels, calibration)}
    if faces.votes is not None:
        plurality = plurality_of(faces.votes, faces.label_names)
        shares = vote_shares(faces.votes, faces.label_names)
        for name, truth, rows in ((PLURALITY, plurality, plurality >= 0), (VOTES, shares, shares.any(1))):
            if rows.any():
                found[name] = measure_doubt(probabilities[rows], truth[rows], calibration)
    return found
