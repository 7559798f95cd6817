"""Accuracy with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers among n, with its Wilson interval.

    >>> print(Accuracy(8, 10, low=0.4902, high=0.9433, balanced=0.75, balanced_low=0.43, balanced_high=0.92))
    80.00% (95 % interval 49.02% to 94.33%, n = 10)

    Attributes:
        correct: Right answers.
        n: Answers in all.
        low: Lower end of the 95 % interval, in [0, 1].
        high: Upper end.
        balanced: Mean of the per-class accuracies, over the classes that occur.
        balanced_low: Lower end of its 95 % interval, see `mean_interval`.
        balanced_high: Upper end.
    """

    correct: int
    n: int
    low: float
    high: float
    balanced: float
    balanced_low: float
    balanced_high: float

    @property
    def value(self) -> float:
        """The share, in [0, 1]."""
        return self.correct / self.n

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return {
            "accuracy": self.value,
            "interval_95": [self.low, self.high],
            "balanced_accuracy": self.balanced,
            "balanced_interval_95": [self.balanced_low, self.balanced_high],
            "correct": self.correct,
            "n": self.n,
        }

    def __str__(self) -> str:
        return f"{self.value:.2%} (95 % interval {self.low:.2%} to {self.high:.2%}, n = {self.n})"


def wilson_interval(correct: float, n: int, *, z: float = 1.959963984540054) -> tuple[float, float]:
    """Compute the score interval of a proportion (Wilson 1927); z is the normal quantile, here for 95 %.

    For the mean of n shares, whose sum is `correct`, the interval is too wide rather than too narrow.

    >>> tuple(round(end, 4) for end in wilson_interval(8, 10))
    (0.4902, 0.9433)
    """
    if not 0 <= correct <= n or n == 0:
        raise ValueError(f"Needs 0 <= correct <= n and n > 0, got correct={correct}, n={n}.")
    share = correct / n
    centre = share + z**2 / (2 * n)
    spread = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return max(0.0, float((centre - spread) / scale)), min(1.0, float((centre + spread) / scale))


def mean_interval(counts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Compute the 95 % interval of a mean of independent proportions, given as (correct, n).

    The squared distances of each proportion from the ends of its Wilson interval are added (Zou and Donner
    2008, Statistics in Medicine 27, 1693-1702), so that the interval has a width where all are 0 or 1.

    >>> tuple(round(end, 4) for end in mean_interval([(8, 10), (50, 50)]))
    (0.741, 0.9717)
    >>> mean_interval([(8, 10)]) == wilson_interval(8, 10)
    True
    """
    shares = np.array([correct / n for correct, n in counts])
    low, high = np.array([wilson_interval(correct, n) for correct, n in counts]).T
    below, above = np.sqrt(((shares - low) ** 2).sum()), np.sqrt(((high - shares) ** 2).sum())
    mean, classes = float(shares.mean()), len(counts)
    return max(0.0, mean - float(below) / classes), min(1.0, mean + float(above) / classes)


def accuracy(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> Accuracy:
    """Compute the share of equal entries of two integer arrays (N,).

    >>> found = accuracy(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
    >>> found.value, round(found.balanced, 4)
    (0.75, 0.8333)
    """
    if predicted.shape != labels.shape or predicted.ndim != 1 or not len(labels):
        raise ValueError(f"Needs two arrays (N,), N > 0, got {predicted.shape} and {labels.shape}.")
    right = predicted == labels
    classes = [right[labels == label] for label in np.unique(labels)]
    counts = [(int(of_class.sum()), len(of_class)) for of_class in classes]
    balanced = float(np.mean([correct / n for correct, n in counts]))
    low, high = wilson_interval(int(right.sum()), len(labels))
    return Accuracy(int(right.sum()), len(labels), low, high, balanced, *mean_interval(counts))
