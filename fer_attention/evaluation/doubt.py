"""Doubt of a classifier: coverage and number of its candidates, and how well its confidence ranks answers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_attention.calibration import Calibration
from fer_attention.evaluation.accuracy import wilson_interval
from fer_attention.evaluation.reliability import checked_truth, reliability

LABELS, PLURALITY, VOTES = "data's labels", "most votes", "each vote"
"""Kinds of truth: the data's label, the emotion with the most votes, and the votes as shares."""


@dataclass(frozen=True)
class Doubt:
    """Candidates and confidence of n answers, against one kind of truth.

    Where the truth is shares of votes, an answer is right to the share of its votes.

    >>> from fer_attention.evaluation.doubt import measure_doubt
    >>> probabilities = np.array([[0.9, 0.1], [0.6, 0.4]])
    >>> found = measure_doubt(probabilities, np.array([0, 1]), Calibration(threshold=0.65))
    >>> found.coverage, found.sure, found.sure_accuracy
    (1.0, 0.5, 1.0)

    Attributes:
        n: Number of images.
        coverage: Share of images whose truth is among the candidates.
        low: Lower end of its 95 % Wilson interval.
        high: Upper end.
        candidates: Mean number of candidates.
        sure: Share of images with one candidate.
        sure_accuracy: Accuracy on these; NaN without any.
        aurc: Area under the risk-coverage curve (Geifman and El-Yaniv 2017, arXiv:1705.08500): the mean error
            rate of the k most confident answers over k = 1 … n. 0 is best.
        ece: Expected calibration error of the confidence, in 15 bins.
    """

    n: int
    coverage: float
    low: float
    high: float
    candidates: float
    sure: float
    sure_accuracy: float
    aurc: float
    ece: float

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON; an accuracy of no images is null."""
        return asdict(self) | {
            "sure_accuracy": None if math.isnan(self.sure_accuracy) else self.sure_accuracy
        }


def measure_doubt(
    probabilities: NDArray[np.floating[Any]],
    truth: NDArray[np.integer[Any]] | NDArray[np.floating[Any]],
    calibration: Calibration,
) -> Doubt:
    """Measure candidates and confidence against the truth.

    >>> probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    >>> found = measure_doubt(probabilities, np.array([0, 1, 0]), Calibration(threshold=0.65))
    >>> found.coverage, found.candidates, found.sure  # the second image has both candidates
    (0.6666666666666666, 1.3333333333333333, 0.6666666666666666)

    Args:
        probabilities: (N, C), N > 0, rows that sum to 1.
        truth: (N,), right classes, or (N, C), shares of votes, rows that sum to 1.
        calibration: Rule for the candidates.

    Raises:
        ValueError: The shapes differ, or the values are not probabilities and a truth.
    """
    probabilities, shares = checked_truth(probabilities, truth)
    n = len(shares)
    inside = calibration.contains(probabilities)
    covered = float((shares * inside).sum())
    low, high = wilson_interval(min(covered, n), n)
    right = shares[np.arange(n), probabilities.argmax(axis=1)]
    sure = inside.sum(axis=1) == 1
    falling = np.argsort(-probabilities.max(axis=1), kind="stable")
    risks = (1 - right[falling]).cumsum() / np.arange(1, n + 1)
    return Doubt(
        n=n,
        coverage=covered / n,
        low=low,
        high=high,
        candidates=float(inside.sum(axis=1).mean()),
        sure=float(sure.mean()),
        sure_accuracy=float(right[sure].mean()) if sure.any() else math.nan,
        aurc=float(risks.mean()),
        ece=reliability(probabilities, shares).ece,
    )
