"""Doubt of a model: a temperature for its probabilities, and the emotions that remain possible for a face."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CALIBRATION = "calibration"
"""Entry of a weights' record."""

SHOWN = 3
"""Candidates that are named in an answer; the others become an ellipsis."""


@dataclass(frozen=True)
class Calibration:
    """Temperature of a model's probabilities and rule for the candidates, as stored in the weights' record.

    The candidates of a face are its most probable emotions. An emotion is one of them if the more probable
    ones have at most `threshold` of the probability together. So the most probable emotion is always a
    candidate, and the only one if its probability is above the threshold.

    `evaluation.calibrate` fits the temperature (Guo et al. 2017, arXiv:1706.04599, section 4.2) and the
    threshold, a conformal quantile: the right emotion is among the candidates of 90 % of new faces (adaptive
    prediction sets of Romano et al. 2020, arXiv:2006.02544, without randomisation). Without a fit, the
    probabilities are taken at face value: the temperature is 1, and the candidates are the fewest emotions
    that have 90 % of the probability together.

    >>> Calibration(threshold=0.5).candidates({"sad": 0.45, "neutral": 0.35, "fear": 0.2})
    ('sad', 'neutral')
    >>> Calibration(threshold=0.4).candidates({"sad": 0.45, "neutral": 0.35, "fear": 0.2})
    ('sad',)

    Attributes:
        temperature: Divisor of the logits; above 1, the probabilities are less extreme.
        threshold: Probability of the more probable emotions up to which an emotion is a candidate.
        coverage: Share of faces whose right emotion is among the candidates.
        truth: What is right: `"votes"` of people or `"labels"` of the data; None if not fitted.
        split: Split of the data that it was fitted on.
        n: Number of faces that the threshold was fitted on.
        fingerprint: Hash of the faces that it was fitted on.

    Raises:
        ValueError: A number is out of range, or the truth is unknown.
    """

    temperature: float = 1.0
    threshold: float = 0.9
    coverage: float = 0.9
    truth: str | None = None
    split: str | None = None
    n: int = 0
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        numbers = {name: getattr(self, name) for name in ("temperature", "threshold", "coverage", "n")}
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name} of a calibration is a finite number, got {value!r}.")
        if not self.temperature > 0:
            raise ValueError(f"The temperature of a calibration is above 0, got {self.temperature}.")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"The threshold of a calibration is from 0 to 1, got {self.threshold}.")
        if not 0 < self.coverage < 1:
            raise ValueError(f"The coverage of a calibration is between 0 and 1, got {self.coverage}.")
        if self.truth not in ("votes", "labels", None):
            raise ValueError(f"The truth of a calibration is 'votes', 'labels' or None, got {self.truth!r}.")

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Calibration:
        """Read the calibration in a weights' record; one that has none gives `Calibration()`.

        Raises:
            ValueError: The entry has unknown parts, or values that are out of range.
        """
        entry = record.get(CALIBRATION, {})
        try:
            return cls(**entry)
        except TypeError as error:
            raise ValueError(f"The record's calibration is damaged: {error}.") from error

    def to_record(self) -> dict[str, Any]:
        """Return the entry for a weights' record, for JSON.

        >>> Calibration(1.5, 0.6, truth="labels").to_record()["calibration"]["threshold"]
        0.6
        """
        return {CALIBRATION: asdict(self)}

    def candidates(self, probabilities: Mapping[str, float]) -> tuple[str, ...]:
        """Return the candidates among named probabilities, the most probable first."""
        names = list(probabilities)
        values = np.array([list(probabilities.values())])
        order = most_probable_first(values)[0]
        number = int(self.contains(values)[0].sum())
        return tuple(names[index] for index in order[:number])

    def contains(self, probabilities: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Return a mask (N, classes) of the candidates among probabilities (N, classes).

        >>> Calibration(threshold=0.5).contains(np.array([[0.3, 0.6, 0.1], [0.4, 0.2, 0.4]])).tolist()
        [[False, True, False], [True, False, True]]
        """
        return mass_before(probabilities) <= self.threshold


def mass_before(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Sum the probabilities of the more probable classes, for each class: float64 (N, classes).

    Of equally probable classes, the first counts as more probable.

    >>> mass_before(np.array([[0.25, 0.5, 0.25]])).tolist()
    [[0.5, 0.0, 0.75]]
    """
    order = most_probable_first(probabilities)
    falling = np.take_along_axis(probabilities, order, axis=1).astype(np.float64)
    before = np.zeros_like(falling)
    before[:, 1:] = falling.cumsum(axis=1)[:, :-1]
    found = np.empty_like(before)
    np.put_along_axis(found, order, before, axis=1)
    return found


def most_probable_first(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return the classes (N, classes) in falling order of probability; equal ones keep their order."""
    return np.argsort(-probabilities, axis=1, kind="stable")


def answer_of(candidates: Sequence[str]) -> str:
    """Return the one candidate, or all of them as an answer in doubt.

    >>> answer_of(["happy"]), answer_of(["happy", "neutral"]), answer_of(["sad", "fear", "angry", "disgust"])
    ('happy', 'unsure (happy / neutral)', 'unsure (sad / fear / angry / …)')
    """
    if len(candidates) == 1:
        return candidates[0]
    return f"unsure ({' / '.join([*candidates[:SHOWN], *['…'] * (len(candidates) > SHOWN)])})"
