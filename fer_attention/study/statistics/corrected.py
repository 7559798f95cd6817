"""The t-test over overlapping training sets: folds of one data set, or random splits of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.typing import ArrayLike

from fer_attention.study.statistics.checks import Interval, at_least, between, numbers, rounded, spread
from fer_attention.study.statistics.student import t_interval, t_test


@dataclass(frozen=True)
class CorrectedTTest:
    """A mean difference over resamples that share training data; None where there is no spread.

    Attributes:
        n: Resamples: splits, or folds x repetitions.
        difference: Mean.
        sd: Standard deviation, with n - 1.
        variance_factor: 1/n + test_size/train_size, where the plain t-test has 1/n.
        t: Statistic.
        df: n - 1.
        p: Two-sided.
        interval: Of the difference.
        confidence: Of the interval.
    """

    n: int
    difference: float
    sd: float
    variance_factor: float
    t: float | None
    df: int
    p: float | None
    interval: Interval | None
    confidence: float


def corrected_resampled_t_test(
    differences: ArrayLike, *, train_size: float, test_size: float, confidence: float = 0.95
) -> CorrectedTTest:
    """The corrected resampled t-test (Nadeau and Bengio 2003, doi 10.1023/A:1024068626366).

    Models trained on overlapping parts of one data set err alike, so their differences vary less than the
    mean's true error. The variance of the mean is (1/n + test_size/train_size) sd^2 instead of sd^2 / n.

    Args:
        differences: a - b for each resample, (N,).
        train_size: Images, or a share of them, that each resample trains on.
        test_size: What it is tested on, in the same unit. 0 gives the plain t-test.
        confidence: Of the interval.

    Raises:
        ValueError: Fewer than two differences, ones that are not finite, or impossible sizes.
    """
    values = rounded(numbers(differences, "differences", least=2))
    between(train_size, "train_size", high=math.inf)
    at_least(test_size, "test_size", 0)
    between(confidence, "confidence")
    n, mean, sd = len(values), float(values.mean()), spread(values)
    factor = 1 / n + test_size / train_size
    error = math.sqrt(factor) * sd
    return CorrectedTTest(
        n=n,
        difference=mean,
        sd=sd,
        variance_factor=factor,
        t=mean / error if error else None,
        df=n - 1,
        p=t_test(mean, error, df=n - 1),
        interval=t_interval(mean, error, df=n - 1, confidence=confidence),
        confidence=confidence,
    )
