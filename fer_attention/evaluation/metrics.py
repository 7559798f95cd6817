"""Measures of a classifier's answers, overall and class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_attention.evaluation.accuracy import Accuracy, accuracy, wilson_interval
from fer_attention.evaluation.reliability import Reliability, checked, reliability
from fer_attention.optional import needs_extra


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class against all others.

    >>> found = classification_metrics(np.eye(2)[[0, 1, 1]], np.array([0, 0, 1]), ("happy", "sad"))
    >>> happy = found.classes[0]
    >>> happy.support, happy.predicted, happy.precision, happy.recall
    (2, 1, 1.0, 0.5)

    Attributes:
        label: Its name.
        support: Samples of this class.
        predicted: Samples predicted as this class.
        precision: Share of right ones among the predicted; 0 where nothing was predicted.
        recall: Share of right ones among the support, which is the accuracy on this class; NaN where the
            class does not occur.
        low: Lower end of the recall's 95 % Wilson interval; 0 where the class does not occur.
        high: Upper end; 1 where the class does not occur.
        f1: Harmonic mean of precision and recall, 2·right / (support + predicted); 0 where both are 0.
    """

    label: str
    support: int
    predicted: int
    precision: float
    recall: float
    low: float
    high: float
    f1: float

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON; the recall of a class that does not occur is null."""
        facts = asdict(self)
        facts["recall_interval_95"] = [facts.pop("low"), facts.pop("high")]
        return facts | {"recall": None if math.isnan(self.recall) else self.recall}


@dataclass(frozen=True)
class Confusion:
    """Samples of one class that were taken for another.

    >>> print(Confusion("fear", "sad", count=90, support=528))
    fear taken for sad: 90 of 528
    """

    true: str
    predicted: str
    count: int
    support: int

    def __str__(self) -> str:
        return f"{self.true} taken for {self.predicted}: {self.count} of {self.support}"


@dataclass(frozen=True, eq=False)
class ClassificationMetrics:
    """Metrics of N answers among C classes.

    >>> found = classification_metrics(np.eye(2)[[0, 1, 1]], np.array([0, 0, 1]), ("happy", "sad"))
    >>> found.confusion.tolist(), str(found.confusions(limit=1)[0])
    ([[1, 1], [0, 1]], 'happy taken for sad: 1 of 2')

    Attributes:
        accuracy: Share of right answers with its interval; `accuracy.balanced` is the mean recall of the
            classes that occur.
        macro_f1: Mean F1 of the classes that occur or are predicted, which is scikit-learn's rule.
        negative_log_likelihood: Mean of -ln p(right class), in nats; p is kept above 2.2e-16.
        reliability: Confidence against accuracy; `reliability.ece` is the expected calibration error.
        classes: Measures of each class, in the order of the labels.
        confusion: int64 (C, C); row: right class, column: answer.
    """

    accuracy: Accuracy
    macro_f1: float
    negative_log_likelihood: float
    reliability: Reliability
    classes: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Number of answers."""
        return self.accuracy.n

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes in order."""
        return tuple(one.label for one in self.classes)

    def confusions(self, limit: int | None = None) -> list[Confusion]:
        """List pairs of classes that were confused, the most frequent first, at most `limit` of them."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")
        pairs = [divmod(int(flat), len(self.classes)) for flat in order if wrong.flat[flat]]
        found = [(self.classes[a], self.classes[b], int(wrong[a, b])) for a, b in pairs[:limit]]
        return [Confusion(true.label, answer.label, count, true.support) for true, answer, count in found]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return {
            **self.accuracy.to_dict(),
            "macro_f1": self.macro_f1,
            "negative_log_likelihood": self.negative_log_likelihood,
            "expected_calibration_error": self.reliability.ece,
            "maximum_calibration_error": self.reliability.mce,
            "classes": [one.to_dict() for one in self.classes],
            "confusion_matrix": self.confusion.tolist(),
            "reliability": self.reliability.to_dict(),
        }


def classification_metrics(
    probabilities: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    label_names: Sequence[str],
    *,
    bins: int = 15,
) -> ClassificationMetrics:
    """Compute all metrics; the answer is the most probable class, the first of equal ones.

    >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    >>> found = classification_metrics(probabilities, np.array([0, 0, 1]), ("happy", "sad"))
    >>> round(found.accuracy.value, 4), round(found.macro_f1, 4), round(found.negative_log_likelihood, 4)
    (0.6667, 0.6667, 0.4149)

    Args:
        probabilities: (N, C), N > 0, C > 1, rows that sum to 1; computed in float64.
        labels: (N,), indices of the right classes.
        label_names: C names.
        bins: Of the calibration errors.

    Raises:
        ValueError: The shapes or the number of names differ, or the values are not probabilities and labels.
        ImportError: scikit-learn is not installed.
    """
    with needs_extra("train", "The metrics need scikit-learn"):
        from sklearn.metrics import confusion_matrix, f1_score, log_loss, precision_recall_fscore_support
    probabilities, labels = checked(probabilities, labels)
    classes = np.arange(probabilities.shape[1])
    if len(classes) < 2 or len(set(label_names)) != len(classes) or len(label_names) != len(classes):
        raise ValueError(
            f"Needs two classes or more, each with a name of its own; got {len(classes)} columns and "
            f"label_names={tuple(label_names)}."
        )
    answers = probabilities.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, answers, labels=classes, zero_division=0
    )
    confusion = confusion_matrix(labels, answers, labels=classes).astype(np.int64)
    support, predicted, right = confusion.sum(1), confusion.sum(0), np.diag(confusion)
    ends = [wilson_interval(*one) if one[1] else (0.0, 1.0) for one in zip(right, support, strict=True)]
    recall = np.where(support, recall, math.nan)
    numbers = (part.tolist() for part in (support, predicted, precision, recall))
    columns = (label_names, *numbers, *zip(*ends, strict=True), f1.tolist())  # as ClassMetrics has them
    return ClassificationMetrics(
        accuracy=accuracy(answers, labels),
        macro_f1=float(f1_score(labels, answers, average="macro", zero_division=0)),
        negative_log_likelihood=float(log_loss(labels, probabilities, labels=classes)),
        reliability=reliability(probabilities, labels, bins=bins),
        classes=tuple(ClassMetrics(*row) for row in zip(*columns, strict=True)),
        confusion=confusion,
    )
