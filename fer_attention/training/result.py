"""Result of a training run, and what a run reports on the way."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from fer_attention.training.config import TrainConfig
from fer_attention.training.history import Epoch, TrainingProgress


class TrainingWarning(UserWarning):
    """A training problem was detected during a run.

    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", TrainingWarning)  # stop at the first problem
    ...     TrainingCallbacks().on_warning("epoch 7: overfitting")
    Traceback (most recent call last):
    fer_attention.training.result.TrainingWarning: epoch 7: overfitting
    """


@dataclass(frozen=True)
class TrainingCallbacks:
    """Functions that a run calls in its main process.

    Attributes:
        on_progress: Called after every few steps.
        on_epoch: Called after every epoch, once it is saved.
        on_warning: Called with a description of each kind of training problem, once; the default issues a
            TrainingWarning.

    >>> losses = []
    >>> callbacks = TrainingCallbacks(on_epoch=lambda epoch: losses.append(epoch.validation_loss))
    """

    on_progress: Callable[[TrainingProgress], None] = lambda progress: None
    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    on_warning: Callable[[str], None] = lambda text: warnings.warn(text, TrainingWarning, stacklevel=2)


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training run.

    Attributes:
        weights: File of the best weights.
        best: Epoch of the best weights.
        history: All epochs.
        warnings: Descriptions of the detected training problems, each kind once, including those from before
            an interruption.

    >>> def summary(result: TrainingResult) -> str:
    ...     return f"{result.weights}: {result.best.validation_accuracy:.1%}, {len(result.history)} epochs"
    """

    weights: Path
    best: Epoch
    history: tuple[Epoch, ...]
    warnings: tuple[str, ...] = ()


def result_of(
    config: TrainConfig, output: Path, history: list[Epoch], warned: dict[str, str]
) -> TrainingResult:
    """Return the result of a run with these epochs and warnings in a folder."""
    best = best_epoch(history, config)
    return TrainingResult(output / "best.safetensors", best, tuple(history), tuple(warned.values()))


def is_finished(history: list[Epoch], config: TrainConfig) -> bool:
    """Return whether a run has trained all its epochs, or has stopped early."""
    if not history or config.stop_after is None:
        return len(history) >= config.epochs
    lowest = min(history, key=lambda epoch: epoch.validation_loss)
    return len(history) >= min(config.epochs, lowest.epoch + config.stop_after)


def best_epoch(history: list[Epoch], config: TrainConfig) -> Epoch:
    """Return the first of the best epochs."""
    score = attrgetter(f"validation_{config.select_by}")
    return min(history, key=score) if config.select_by == "loss" else max(history, key=score)
