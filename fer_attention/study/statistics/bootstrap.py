"""Bootstrap intervals of a mean, and the resampling of counts that the other bootstraps share."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from scipy import stats

from fer_attention.study.statistics.checks import Interval, Numbers, at_least, rounded

Method: TypeAlias = Literal["bca", "percentile"]


def percentile_interval(drawn: Numbers, confidence: float) -> Interval:
    """The middle share of what was drawn (Efron 1979)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return float(low), float(high)


def bootstrap_means(values: Numbers, *, resamples: int, seed: int) -> Numbers:
    """Means (resamples,) of values (N,) drawn anew with replacement.

    The values are sorted before, so that their order has no say.
    """
    at_least(resamples, "resamples", 1)
    ordered = np.sort(values)
    drawn = np.random.default_rng(seed).integers(len(ordered), size=(resamples, len(ordered)))
    return np.asarray(ordered[drawn].mean(axis=1), dtype=np.float64)


def mean_interval(
    values: Numbers, *, confidence: float, resamples: int, seed: int
) -> tuple[Interval, Method] | None:
    """The BCa interval of a mean (Efron 1987, doi 10.2307/2289144), else the percentile one.

    BCa does not exist where the resampled means lie all on one side of the mean, and for two values, whose
    resamples have three means only. None where all values are equal.
    """
    if not np.ptp(values):
        return None
    values = np.sort(values)  # rounding, too, must not hang on the order
    drawn = bootstrap_means(values, resamples=resamples, seed=seed)
    centred = values - values.mean()
    share = float(
        (1 - np.sign(rounded(drawn - values.mean()))).mean() / 2
    )  # below, and half of the equal ones
    if len(values) < 3 or not 0 < share < 1:
        return percentile_interval(drawn, confidence), "percentile"
    bias = stats.norm.ppf(share)
    acceleration = (centred**3).sum() / (6 * (centred**2).sum() ** 1.5)  # of a mean's jackknife
    tails = bias + stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(drawn, stats.norm.cdf(bias + tails / (1 - acceleration * tails)))
    return (float(low), float(high)), "bca"
