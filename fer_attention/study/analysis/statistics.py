"""Statistics of a study: tests, confidence intervals, corrections and power.

Every question is reduced to one number per replication (a difference of two runs, a difference of
differences, a slope), and `paired_test` tests the mean of these numbers. Accuracies are shares in [0, 1];
undefined results are NaN.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.power import TTestPower

POWER = 0.8
"""Power for which needed replications and detectable differences are computed."""

DECIMALS = 12
"""Decimals of differences: 0.61 - 0.60 and 0.62 - 0.61 differ in binary, but not as accuracies."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PairedTest:
    """Mean of paired differences, tested against zero and against a margin.

    With fewer than two differences, or if all are equal, intervals and p-values are undefined and NaN.

    Attributes:
        n: Number of pairs.
        mean: Mean difference.
        sd: Standard deviation of the differences, with n - 1 degrees of freedom.
        low: Lower end of the (1 - alpha) confidence interval of the mean, by Student's t.
        high: Upper end of the interval.
        p: Two-sided p-value of the hypothesis that the mean is 0.
        p_not_worse: One-sided p-value of the hypothesis that the mean is -margin or less (non-inferiority).
        p_equivalent: Larger p-value of two one-sided tests that the mean is outside the margin
            (TOST; Schuirmann 1987).
        needed: Number of pairs to detect a difference of the margin with 80 % power at this sd; NaN above
            10,000 and for overlapping training sets, since more folds would not be independent.
        detectable: True difference that this test detects with 80 % power at this sd.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p: float
    p_not_worse: float
    p_equivalent: float
    needed: float
    detectable: float


def paired_test(
    differences: ArrayLike, *, margin: float, alpha: float = 0.05, overlap: float = 0.0
) -> PairedTest:
    """Test the mean of paired differences by Student's t.

    Replications that train on overlapping parts of one data set are correlated, so that the spread of their
    differences understates the error of the mean. With `overlap`, the variance of the mean is
    (1/n + overlap) sd^2 instead of sd^2 / n: the corrected resampled t-test (Nadeau and Bengio 2003,
    doi 10.1023/A:1024068626366).

    >>> found = paired_test([0.02, 0.01, 0.03], margin=0.005)
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3), round(found.p, 3)
    (0.02, -0.005, 0.045, 0.074)

    Args:
        differences: a - b for each replication, (N,).
        margin: Difference that is too small to matter, in the same unit.
        alpha: Significance level of the tests; the interval has a confidence of 1 - alpha.
        overlap: Ratio of test to training images; 0 for independent replications.

    Raises:
        ValueError: A difference is not finite, or the margin is not positive.
    """
    values = np.round(np.asarray(differences, dtype=np.float64), DECIMALS)
    if not np.isfinite(values).all() or values.ndim != 1:
        raise ValueError(f"Differences must be finite numbers of shape (N,), got {values}.")
    if margin <= 0:
        raise ValueError(f"margin is {margin}, expected a number above 0.")
    n, mean = len(values), float(values.mean()) if len(values) else math.nan
    sd = float(values.std(ddof=1)) if n > 1 and np.ptp(values) else (0.0 if n > 1 else math.nan)
    if not sd > 0:
        return PairedTest(n, mean, sd, *[math.nan] * 7)
    error, t = math.sqrt(1 / n + overlap) * sd, stats.t(n - 1)
    half = float(t.isf(alpha / 2)) * error
    not_worse = float(t.sf((mean + margin) / error))
    return PairedTest(
        n=n,
        mean=mean,
        sd=sd,
        low=mean - half,
        high=mean + half,
        p=float(2 * t.sf(abs(mean) / error)),
        p_not_worse=not_worse,
        p_equivalent=max(not_worse, float(t.cdf((mean - margin) / error))),
        needed=math.nan if overlap else replications_needed(sd, margin, alpha=alpha),
        detectable=detectable_difference(error * math.sqrt(n), n, alpha=alpha),
    )


def holm(p_values: ArrayLike) -> Numbers:
    """Adjust p-values (N,) to control the family-wise error rate (Holm 1979).

    An undefined test (NaN) stays NaN and counts as p = 1: missing results never make others significant.

    >>> holm([0.01, 0.04, float("nan")]).tolist()
    [0.03, 0.08, nan]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(
        values
    )  # NaN comes last; statsmodels' multipletests runs the garbage collector in each call
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return np.minimum(adjusted, 1.0)


def replications_needed(sd: float, effect: float, *, alpha: float = 0.05, most: int = 10_000) -> float:
    """Return the number of pairs for a paired t-test to detect `effect` with 80 % power; NaN above `most`.

    The sd of three to five runs is uncertain by a factor of about two, and so is this number.

    >>> replications_needed(0.01, 0.005)
    34.0
    """
    sizes = range(2, most + 1)
    at = bisect_left(sizes, POWER, key=lambda n: _power(abs(effect) / sd, n, alpha))
    return float(sizes[at]) if at < len(sizes) else math.nan


def detectable_difference(sd: float, n: int, *, alpha: float = 0.05) -> float:
    """Return the true difference that a paired t-test of n >= 2 pairs detects with 80 % power.

    >>> round(detectable_difference(0.01, 5), 4)
    0.0168
    """
    return sd * float(optimize.brentq(lambda size: _power(size, n, alpha) - POWER, 0.0, 1000.0))


def _power(size: float, n: int, alpha: float) -> float:
    """Compute the power for an effect in standard deviations; scipy gives NaN where it is 1."""
    return float(np.nan_to_num(TTestPower().power(size, n, alpha), nan=1.0))


def mean_interval(values: ArrayLike, *, alpha: float = 0.05) -> tuple[float, float]:
    """Compute Student's t interval of a mean over independent runs; NaN without spread."""
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < 2 or not np.ptp(numbers):
        return math.nan, math.nan
    low, high = stats.t.interval(1 - alpha, len(numbers) - 1, numbers.mean(), stats.sem(numbers))
    return float(low), float(high)


@dataclass(frozen=True)
class InteractionTest:
    """F test of all interactions of two factors: dependence of one factor's gain on the other."""

    f: float
    df: int
    df_residual: int
    p: float


def interaction_test(frame: pd.DataFrame) -> InteractionTest:
    """Run a type-II analysis of variance of `value` by `first` and `second`, with `block` as a fixed effect.

    Args:
        frame: One row for each run, with these four columns; replications are blocks.

    Returns:
        The test; F and p are NaN without residual variance, or if a combination has no run.
    """
    cells = frame.groupby(["first", "second"]).ngroups
    levels = frame["first"].nunique(), frame["second"].nunique()
    df = (levels[0] - 1) * (levels[1] - 1)
    residual = len(frame) - cells - frame["block"].nunique() + 1
    if min(levels) < 2 or cells < levels[0] * levels[1] or residual < 1:
        return InteractionTest(math.nan, df, max(residual, 0), math.nan)
    fit = ols("value ~ C(first) * C(second) + C(block)", data=frame).fit()
    if fit.ssr < 1e-18 or fit.df_resid < 1:
        return InteractionTest(math.nan, df, round(fit.df_resid), math.nan)
    row = anova_lm(fit, typ=2).loc["C(first):C(second)"]
    return InteractionTest(float(row["F"]), round(row["df"]), round(fit.df_resid), float(row["PR(>F)"]))


def pareto_front(costs: ArrayLike, values: ArrayLike) -> NDArray[np.bool_]:
    """Mark the points that no other point dominates by lower cost or higher value without being worse.

    >>> pareto_front([1, 2, 3], [0.6, 0.5, 0.7]).tolist()
    [True, False, True]
    """
    goals = np.column_stack([costs, -np.asarray(values)])
    no_worse = (goals[:, None] <= goals[None]).all(axis=2)
    better = (goals[:, None] < goals[None]).any(axis=2)
    return np.asarray(~(no_worse & better).any(axis=0))
