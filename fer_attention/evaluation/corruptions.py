"""FER2013-C: accuracy on corrupted faces, eleven kinds of corruption at five severities each.

The idea is that of ImageNet-C (Hendrycks and Dietterich 2019, arXiv:1903.12261). Kinds and strengths are made
for faces of 48×48 pixels: each is one of `data.DEGRADATIONS`, applied to the images as they are in the data
set, and seeded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_attention.classifiers import Classifier, as_classifier
from fer_attention.data import FaceDataset, degrade_crops
from fer_attention.evaluation.accuracy import Accuracy, accuracy
from fer_attention.evaluation.answers import restrict
from fer_attention.evaluation.crops import predict_crops
from fer_attention.evaluation.crowd import AGREEING, CLEAR, plurality_of
from fer_attention.evaluation.doubt import LABELS
from fer_attention.evaluation.selection import select_images
from fer_attention.models import FERModel

CORRUPTIONS: Mapping[str, tuple[float, ...]] = {
    "noise": (8, 16, 24, 32, 40),
    "blur": (0.6, 1.2, 1.8, 2.4, 3.0),
    "motion_blur": (3, 5, 7, 9, 11),
    "jpeg": (50, 30, 20, 12, 7),
    "pixelate": (32, 24, 18, 14, 10),
    "contrast": (0.6, 0.45, 0.3, 0.2, 0.1),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "rotation": (8, 16, 24, 32, 40),
    "scale": (1.1, 1.2, 1.3, 1.45, 1.6),
    "eyes": (0.1, 0.15, 0.2, 0.25, 0.3),
    "lower_face": (0.15, 0.23, 0.31, 0.4, 0.5),
}
"""Strengths of each kind from severity 1 to 5, in the degradation's unit."""


@dataclass(frozen=True)
class CorruptionReport:
    """Accuracy on clean and on corrupted images of one split.

    Attributes:
        split: The split.
        n: Number of images.
        seed: Seed of the corruptions and of the sample.
        clean: Accuracy without a corruption, by kind of truth: `"data's labels"` and, where the data has
            votes, `"6 votes or more"`: the emotion on which at least six of ten voters agree.
        corrupted: The same by kind of corruption, a list from severity 1 to 5.
        notes: Sentences that belong to the numbers.
        warnings: Those of the notes without which the numbers would mislead.
    """

    split: str
    n: int
    seed: int
    clean: Mapping[str, Accuracy]
    corrupted: Mapping[str, tuple[Mapping[str, Accuracy], ...]]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def truths(self) -> tuple[str, ...]:
        """Kinds of truth."""
        return tuple(self.clean)

    def mean(self, truth: str, corruption: str | None = None) -> float:
        """Return the mean accuracy over severities, of one corruption or of all."""
        chosen = self.corrupted.values() if corruption is None else [self.corrupted[corruption]]
        return float(np.mean([[one[truth].value for one in severities] for severities in chosen]))

    def to_dict(self) -> dict[str, Any]:
        """Reduce to what JSON can hold."""
        return {
            "split": self.split,
            "n": self.n,
            "seed": self.seed,
            "clean": {truth: one.to_dict() for truth, one in self.clean.items()},
            "mean": {truth: self.mean(truth) for truth in self.truths},
            "notes": list(self.notes),
            "corruptions": {
                name: {
                    "strengths": list(CORRUPTIONS[name]),
                    "mean": {truth: self.mean(truth, name) for truth in self.truths},
                    "severities": [
                        {truth: one.to_dict() for truth, one in found.items()} for found in severities
                    ],
                }
                for name, severities in self.corrupted.items()
            },
        }


def evaluate_corruptions(
    model: FERModel | Classifier,
    data: FaceDataset,
    *,
    split: str | None = None,
    emotions: str | None = None,
    drop_unknown: bool = False,
    sample: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
    allow_seen: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> CorruptionReport:
    """Measure a model on a split without and with each corruption of `CORRUPTIONS`.

    >>> report = evaluate_corruptions(model, load_fer2013("fer2013.zip"))  # doctest: +SKIP
    >>> report.mean("data's labels", "blur")  # doctest: +SKIP
    0.63

    Args:
        model: A model with labels and preprocessing, or any classifier.
        data: The whole data set, with its splits.
        split: As in `evaluate`.
        emotions: As in `evaluate`.
        drop_unknown: As in `evaluate`.
        sample: As in `evaluate`; every corruption gets the same images.
        seed: Seed of the corruptions and the sample. Equal seeds give equal images to every model.
        batch_size: Images per pass.
        allow_seen: As in `evaluate`.
        on_progress: Called with the number of finished and of all evaluations.

    Raises:
        DataError: There is no such split, it has labels that are not among the answers, or the model has
            seen all of its images.
        UnknownNameError: The label set is unknown.
        ValueError: A number is out of range, or the model lacks labels or preprocessing.
    """
    classifier = as_classifier(model)
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
    faces, answers = selection.faces, selection.answers
    truths = _truths(faces)
    total = 1 + sum(map(len, CORRUPTIONS.values()))
    done = 0

    def measured(crops: FaceDataset) -> dict[str, Accuracy]:
        nonlocal done
        probabilities = predict_crops(classifier, crops, batch_size=batch_size)
        chosen = restrict(probabilities, classifier.labels, answers).argmax(1)
        done += 1
        if on_progress is not None:
            on_progress(done, total)
        return {name: accuracy(chosen[true >= 0], true[true >= 0]) for name, true in truths.items()}

    return CorruptionReport(
        split=selection.split,
        n=len(faces),
        seed=seed,
        notes=selection.notes,
        warnings=selection.warnings,
        clean=measured(faces),
        corrupted={
            name: tuple(measured(degrade_crops(faces, name, one, seed=seed)) for one in strengths)
            for name, strengths in CORRUPTIONS.items()
        },
    )


def _truths(faces: FaceDataset) -> dict[str, NDArray[np.int64]]:
    """Return the right class of each image by kind of truth, -1 where there is none."""
    truths = {LABELS: faces.labels}
    if faces.votes is not None:
        clear = faces.votes.max(1) >= min(AGREEING)
        agreed = np.where(clear, plurality_of(faces.votes, faces.label_names), -1)
        if (agreed >= 0).any():
            truths[CLEAR] = agreed
    return truths
