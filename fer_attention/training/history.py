"""Metrics of a run's epochs and steps."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch.

    Attributes:
        epoch: Number of the epoch, from 1.
        lr: Learning rate of the last step.
        loss: Mean training loss, as optimised: augmented, mixed and smoothed.
        train_accuracy: Accuracy on the augmented training images while training.
        validation_loss: Cross-entropy of the averaged weights on the selection split.
        validation_accuracy: Accuracy of the averaged weights on the selection split.
        validation_balanced_accuracy: Mean of the per-class accuracies on the selection split.
        gradient_norm: Norm of the last step's gradient over all parameters.
        smallest_gradient: Smallest relative gradient of a layer, divided by the median layer's.
        images_per_second: Training throughput.
        seconds: Duration, including validation.

    >>> epoch = Epoch(1, lr=0.1, loss=1.9, train_accuracy=0.2, validation_loss=1.8, validation_accuracy=0.3,
    ...               validation_balanced_accuracy=0.25, gradient_norm=2.0, smallest_gradient=0.1,
    ...               images_per_second=800, seconds=40)
    >>> f"{epoch.epoch}: {epoch.validation_accuracy:.0%}"
    '1: 30%'
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
        epoch: Number of the current epoch, from 1.
        step: Steps completed in the epoch.
        steps: Total steps of the epoch.
        loss: Mean loss of the completed steps.
        train_accuracy: Accuracy over the completed steps.
        images_per_second: Throughput since the epoch started or resumed.
        epochs: Largest number of epochs of the run.
        seconds_left: Estimated time to the end of the run, without early stopping.

    >>> progress = TrainingProgress(2, 30, 120, loss=1.4, train_accuracy=0.5, images_per_second=900,
    ...                             epochs=10, seconds_left=600)
    >>> f"epoch {progress.epoch}, {progress.step / progress.steps:.0%}"
    'epoch 2, 25%'
    """

    epoch: int
    step: int
    steps: int
    loss: float
    train_accuracy: float
    images_per_second: float
    epochs: int
    seconds_left: float


def to_csv(history: Sequence[Epoch]) -> bytes:
    """Format the epochs as CSV with a header, in full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    return text.getvalue().encode()
