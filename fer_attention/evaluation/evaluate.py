"""One evaluation: a model on a split of a data set, as every command, study and notebook does it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_attention.data import DataError, FaceCrops, degrade_crops
from fer_attention.emotions import LABEL_SETS, label_map
from fer_attention.evaluation.crops import match_labels, predict_crops
from fer_attention.evaluation.crowd import CrowdAgreement, crowd_agreement
from fer_attention.evaluation.metrics import ClassificationMetrics, classification_metrics
from fer_attention.evaluation.tta import VIEWS
from fer_attention.models import FERModel
from fer_attention.registry import unknown_name

ALL = "all images"
NEW = "without duplicates of training images"
TRAIN = "train"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Measures of a model on a split.

    Attributes:
        split: The split.
        results: Measures by set of images; the first is the headline: `ALL`, then, where training images
            are at hand, `NEW`.
        crowd: Agreement with the voters by the same sets of images, where the data has votes.
        dropped: Images left out by label, because the model lacks it.
        notes: Sentences that belong to the numbers.
        seconds: How long the predictions took.
        probabilities: float64 (N, C) of the images that were measured.
        copies: bool (N,), true where an image is known to be a training image.
    """

    split: str
    results: dict[str, ClassificationMetrics]
    crowd: dict[str, CrowdAgreement]
    dropped: dict[str, int]
    notes: tuple[str, ...]
    seconds: float
    probabilities: NDArray[np.float64]
    copies: NDArray[np.bool_]


def evaluate(
    model: FERModel,
    data: FaceCrops,
    *,
    split: str | None = None,
    tta: str = "none",
    emotions: str | None = None,
    drop_unknown: bool = False,
    degradations: Sequence[tuple[str, float]] = (),
    sample: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> Evaluation:
    """Measure a model on a split of a data set.

    Where the data has a split `train`, everything is measured a second time without the images that are,
    pixel for pixel, also in it.

    Args:
        model: A model with labels and preprocessing; it computes where its parameters are.
        data: The whole data set, with its splits.
        split: Which part; by default `private`, else `test`, else `all`.
        tta: Test-time augmentation, a name in `VIEWS`.
        emotions: Let the model answer only with this label set, `fer2013` or `ferplus`: the probabilities of
            its other labels are dropped, and the rest sums to 1 again.
        drop_unknown: Leave out images of labels that are not among the answers, instead of raising.
        degradations: (name, strength) of `data.DEGRADATIONS`, applied in order to the images as they are in
            the data set.
        sample: Take so many images of the split at random; None takes all.
        seed: For the sample and the degradations.
        batch_size: Images per pass.

    Raises:
        DataError: There is no such split, or it has labels that are not among the answers.
        UnknownNameError: There is no such test-time augmentation, label set or degradation.
        ValueError: A number is out of range, or the model lacks labels or preprocessing.
    """
    VIEWS[tta]
    labels = tuple(model.labels or ())
    answers = labels if emotions is None else _answers(labels, emotions)
    split = split or default_split(data)
    part = data.split(split)
    if sample is not None:
        part = _sampled(part, sample, seed)
    chosen, dropped = match_labels(part, answers, drop_unknown=drop_unknown)
    new, note = _new_images(chosen, data, split)
    notes = [note]
    worse = chosen
    for name, strength in degradations:
        worse = degrade_crops(worse, name, strength, seed=seed)
    if degradations:
        said = ", ".join(f"{name} {strength:g}" for name, strength in degradations)
        notes.append(f"The images were degraded first: {said}, seed {seed}.")
    if sample is not None:
        notes.append(f"{len(part)} images of the split were drawn, seed {seed}.")
    if answers != labels:
        notes.append(f"The model answers with {', '.join(answers)} only.")
    start = time.perf_counter()
    probabilities = predict_crops(model, worse, tta=tta, batch_size=batch_size)
    seconds = time.perf_counter() - start
    columns = [labels.index(answer) for answer in answers]
    probabilities = probabilities[:, columns]
    probabilities /= probabilities.sum(1, keepdims=True)
    sets = {ALL: np.ones(len(chosen), dtype=bool), **({NEW: new} if new.any() else {})}
    results, crowd = {}, {}
    for name, rows in sets.items():
        results[name] = classification_metrics(probabilities[rows], chosen.labels[rows], answers)
        if chosen.votes is not None and chosen.votes[rows].any():
            crowd[name] = crowd_agreement(
                probabilities[rows], chosen.votes[rows], answers, labels=chosen.labels[rows]
            )
    copies = ~new & (TRAIN in data.splits)
    return Evaluation(split, results, crowd, dropped, tuple(notes), seconds, probabilities, copies)


def default_split(data: FaceCrops) -> str:
    """FER2013's `private`, else `test`, else the only one, if that is all.

    Raises:
        DataError: There are other splits.
    """
    splits = sorted(set(data.splits.tolist()))
    for name in ("private", "test"):
        if name in splits:
            return name
    if splits == ["all"]:
        return "all"
    raise DataError(f"There is no split private or test; choose one with --split: {', '.join(splits)}.")


def label_set(name: str) -> tuple[str, ...]:
    """Look up the emotions of a label set.

    Raises:
        UnknownNameError: There is no such label set; the nearest is in the message.
    """
    if name not in LABEL_SETS:
        raise unknown_name("label set", name, LABEL_SETS)
    return LABEL_SETS[name]


def _answers(labels: tuple[str, ...], emotions: str) -> tuple[str, ...]:
    """The model's labels that are in a label set, in the model's order."""
    known = label_map(labels, label_set(emotions))
    kept = tuple(label for index, label in enumerate(labels) if known[index] is not None)
    if len(kept) < 2:
        raise ValueError(f"The model knows {', '.join(labels)}: fewer than two are in {emotions}.")
    return kept


def _sampled(part: FaceCrops, count: int, seed: int) -> FaceCrops:
    if count < 1:
        raise ValueError(f"sample is 1 image or more, got {count}.")
    if count >= len(part):
        return part
    return part.take(np.sort(np.random.default_rng(seed).choice(len(part), count, replace=False)))


def _new_images(chosen: FaceCrops, data: FaceCrops, split: str) -> tuple[NDArray[np.bool_], str]:
    """(N,), true where an image is not also a training image (nowhere if that is unknown), in words too."""
    if split == TRAIN:
        return np.zeros(len(chosen), dtype=bool), "These are the training images themselves."
    if TRAIN not in data.splits:
        note = f"The data has no split {TRAIN}, so copies of training images could not be looked for."
        return np.zeros(len(chosen), dtype=bool), note
    new = ~chosen.seen_in(data.split(TRAIN))
    copies = int((~new).sum())
    return new, f"{copies} of the {len(new)} images are, pixel for pixel, also in the data's split {TRAIN}."
