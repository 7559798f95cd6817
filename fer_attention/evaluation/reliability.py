"""Calibration: confidence against accuracy, in bins (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bin:
    """Answers with confidence in (low, high]: their number, mean confidence and accuracy."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence, the highest probability of an answer, against accuracy, in bins of equal width.

    >>> found = reliability(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]), bins=2)
    >>> found.count.tolist(), found.gaps.round(2).tolist(), round(found.ece, 2)
    ([0, 2], [0.0, 0.25], 0.25)

    Attributes:
        count: int64 (bins,), answers whose confidence falls in ((b - 1) / bins, b / bins].
        confidence: float64 (bins,), their mean confidence; NaN in empty bins.
        accuracy: float64 (bins,), the share of right answers among them, or the mean share of votes for the
            answers; NaN in empty bins.
    """

    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def edges(self) -> NDArray[np.float64]:
        """Ends of the bins, (bins + 1,), from 0 to 1."""
        return np.linspace(0, 1, len(self.count) + 1)

    @property
    def gaps(self) -> NDArray[np.float64]:
        """|accuracy - confidence| of each bin, 0 in empty ones."""
        return np.nan_to_num(np.abs(self.accuracy - self.confidence))

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean gap, weighted by the bins' counts (eq. 3)."""
        return float(self.count @ self.gaps / self.count.sum())

    @property
    def mce(self) -> float:
        """Maximum calibration error: the largest gap of a bin, however few answers it holds (eq. 5)."""
        return float(self.gaps.max())

    def filled(self) -> list[Bin]:
        """Return the bins with answers, from the least to the most confident."""
        columns = (self.edges[:-1], self.edges[1:], self.count, self.confidence, self.accuracy)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [Bin(*row) for row in rows if row[2]]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON; those of empty bins are null."""
        return {
            "edges": self.edges.tolist(),
            "count": self.count.tolist(),
            "confidence": [None if np.isnan(value) else value for value in self.confidence.tolist()],
            "accuracy": [None if np.isnan(value) else value for value in self.accuracy.tolist()],
        }


def reliability(
    probabilities: NDArray[np.floating[Any]],
    truth: NDArray[np.integer[Any]] | NDArray[np.floating[Any]],
    *,
    bins: int = 15,
) -> Reliability:
    """Sort answers into bins by confidence; the answer is the most probable class, the first of equal ones.

    >>> found = reliability(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]), bins=2)
    >>> [(one.low, one.high, one.count, one.accuracy) for one in found.filled()]
    [(0.5, 1.0, 2, 0.5)]

    Args:
        probabilities: (N, classes), N > 0, rows that sum to 1.
        truth: (N,), right classes, or (N, classes), shares of the votes, rows that sum to 1.
        bins: How many, of equal width; 15 as in the paper.

    Raises:
        ValueError: The shapes differ, or the values are not probabilities and labels.
    """
    if bins < 1:
        raise ValueError(f"Needs at least one bin, got bins={bins}.")
    probabilities, shares = checked_truth(probabilities, truth)
    confidence = probabilities.max(axis=1)
    right = shares[np.arange(len(shares)), probabilities.argmax(axis=1)]
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.searchsorted(edges, confidence, side="left") - 1  # each bin holds its upper end
    bin_of = np.minimum(bin_of, bins - 1)  # rounding may lift a confidence above 1
    count = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 of empty bins
        return Reliability(
            count=count,
            confidence=np.bincount(bin_of, weights=confidence, minlength=bins) / count,
            accuracy=np.bincount(bin_of, weights=right, minlength=bins) / count,
        )


def checked(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return probabilities in float64, their rows divided by their sums to undo rounding, and int64 labels.

    Raises:
        ValueError: The shapes differ, rows are not distributions, or labels are not class indices.
    """
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    if probabilities.ndim != 2 or not probabilities.size or labels.shape != probabilities.shape[:1]:
        raise ValueError(
            f"Needs probabilities (N, classes) and labels (N,), N > 0, got {probabilities.shape} and "
            f"{labels.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"Labels are whole numbers, got {labels.dtype}.")
    classes = probabilities.shape[1]
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"Labels run from {labels.min()} to {labels.max()}, for {classes} classes.")
    return _distributions(probabilities), labels.astype(np.int64)


def checked_truth(
    probabilities: NDArray[np.floating[Any]], truth: NDArray[np.integer[Any]] | NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities as `checked` returns them, and the truth as distributions of the same shape.

    Raises:
        ValueError: The shapes differ, rows are not distributions, or labels are not class indices.
    """
    truth = np.asarray(truth)
    if truth.ndim != 2:
        probabilities, labels = checked(probabilities, truth)  # type: ignore[arg-type]
        return probabilities, np.eye(probabilities.shape[1])[labels]
    if truth.shape != np.shape(probabilities) or not truth.size:
        raise ValueError(
            f"Needs probabilities and shares of votes, both (N, classes), N > 0, got "
            f"{np.shape(probabilities)} and {truth.shape}."
        )
    return _distributions(np.asarray(probabilities)), _distributions(truth)


def _distributions(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Divide rows by their sums, to undo rounding."""
    exact = probabilities.astype(np.float64)
    sums = exact.sum(axis=1, keepdims=True)
    if not np.isfinite(exact).all() or exact.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise ValueError(
            "Rows of probabilities are at least 0 and sum to 1; these lie between "
            f"{exact.min():.4g} and {exact.max():.4g}, with sums from {sums.min():.4g} to {sums.max():.4g}. "
            "Are they logits? Take softmax(1) first."
        )
    return exact / sums
