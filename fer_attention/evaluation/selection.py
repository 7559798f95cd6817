"""The images of a split that an evaluation measures, chosen alike for every kind of evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_attention.classifiers import Classifier
from fer_attention.data import FaceDataset, SeenImages, default_test_split
from fer_attention.data.seen import divided_as_trained
from fer_attention.data.splits import TRAIN
from fer_attention.evaluation.answers import choose_answers, leave_out_emotions
from fer_attention.evaluation.copies import check_unseen, record_of, training_copies
from fer_attention.evaluation.crops import match_labels


@dataclass(frozen=True, eq=False)
class Selection:
    """N images to measure a model on.

    Attributes:
        split: Their split.
        faces: The images, labelled by `answers`.
        answers: The model's labels that it may answer with.
        copies: bool (N,), true where an image is known to be a training image.
        known: True where training images were at hand to compare with.
        drawn: Number of images of the split, or of the sample, before any was left out.
        dropped: Images left out by label.
        notes: Sentences that belong to numbers on the images, the warnings first.
        warnings: Those without which the numbers would mislead.
    """

    split: str
    faces: FaceDataset
    answers: tuple[str, ...]
    copies: NDArray[np.bool_]
    known: bool
    drawn: int
    dropped: dict[str, int]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def select_images(
    classifier: Classifier,
    data: FaceDataset,
    *,
    split: str | None,
    emotions: str | None,
    drop_unknown: bool,
    sample: int | None,
    seed: int,
    allow_seen: bool,
) -> Selection:
    """Choose the images of a split that are new to a model and have labels that it can answer with.

    Arguments and errors are those of `evaluate`.
    """
    answers = choose_answers(classifier.labels, data, emotions)
    record = record_of(classifier)
    seen = SeenImages.from_record(record)
    if seen is not None or TRAIN in data.splits:
        _ = data.digests  # computed once, and kept for later evaluations on this data
    notes = []
    fold = None if split is not None or allow_seen else divided_as_trained(data, record)
    if fold is not None and fold.division is not None:
        data = fold
        notes.append(
            f"Measured on the test images of {fold.division.protocol}, fold {fold.division.fold}: the "
            "weights were trained on the others."
        )
    split = split or default_test_split(data)
    part = data.split(split)
    if sample is not None:
        part = draw_sample(part, sample, seed)
    drawn = len(part)
    part, foreign = leave_out_emotions(part, answers)
    chosen, dropped = match_labels(part, answers, drop_unknown=drop_unknown)
    copies = training_copies(chosen, data, split, seen)
    warnings, rows = list(copies.warnings), copies.rows | copies.leaked
    if copies.leaked.any() and allow_seen:
        warnings.append("Numbers on all images are too good.")
    elif copies.leaked.any():
        check_unseen(copies, split)
        warnings.append("They are left out; --allow-seen (allow_seen=True) measures on them, too.")
        chosen, rows = chosen.take(~copies.leaked), rows[~copies.leaked]
    return Selection(
        split=split,
        faces=chosen,
        answers=answers,
        copies=rows,
        known=copies.known,
        drawn=drawn,
        dropped=foreign | dropped,
        notes=(*notes, *warnings, *copies.notes),
        warnings=tuple(warnings),
    )


def draw_sample(part: FaceDataset, count: int, seed: int) -> FaceDataset:
    """Draw images at random, in their order; all of them if there are fewer.

    Raises:
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"sample is 1 image or more, got {count}.")
    if count >= len(part):
        return part
    return part.take(np.sort(np.random.default_rng(seed).choice(len(part), count, replace=False)))
