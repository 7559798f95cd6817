"""Metrics of a run's epochs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch.

    Attributes:
        epoch: Its number, from 1.
        lr: Learning rate of its last step.
        loss: Mean training loss, as optimised: augmented, mixed and smoothed.
        train_accuracy: Share of augmented training images whose likeliest target was named, in passing.
        validation_loss: Plain cross-entropy of the averaged weights on the selection split.
        validation_accuracy: Of the averaged weights, on the selection split.
        validation_balanced_accuracy: Mean of the per-class accuracies there.
        gradient_norm: Of the last step, over all parameters.
        smallest_gradient: The smallest relative gradient of a layer, over the median layer's.
        images_per_second: Of training.
        seconds: Duration, with validation.
    """

    epoch: int
    lr: float
    loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    validation_balanced_accuracy: float
    gradient_norm: float
    smallest_gradient: float
    images_per_second: float
    seconds: float


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a run within an epoch.

    Attributes:
        epoch: The epoch that is running, from 1.
        step: Steps done in it.
        steps: Steps in it.
        loss: Mean loss of its steps so far.
        train_accuracy: Share of right answers so far.
        images_per_second: Since the epoch began or was taken up again.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    train_accuracy: float
    images_per_second: float


def to_csv(history: Sequence[Epoch]) -> bytes:
    """The epochs as a table with a header; numbers in full, so that they read back exactly."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    return text.getvalue().encode()
