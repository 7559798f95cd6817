"""Student's t of a mean: the arithmetic under the paired, the corrected and the interaction tests."""

from __future__ import annotations

import math

from scipy import stats

from fer_attention.study.statistics.checks import Interval


def t_interval(mean: float, error: float, *, df: float, confidence: float) -> Interval | None:
    """Mean plus and minus the t quantile times its standard error; None without spread or freedom."""
    if error <= 0 or df <= 0:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, df)) * error
    return mean - half, mean + half


def t_test(mean: float, error: float, *, df: float) -> float | None:
    """Two-sided p of the mean against 0; None without spread or freedom."""
    if error <= 0 or df <= 0:
        return None
    return float(2 * stats.t.sf(abs(mean) / error, df))


def equivalence_test(mean: float, error: float, *, df: float, margin: float) -> float | None:
    """Two one-sided tests that the mean is within plus and minus the margin (Schuirmann 1987).

    The result is the larger of their p-values. Below alpha is the same as: the (1 - 2 alpha) interval lies
    within the margin.
    """
    if error <= 0 or df <= 0:
        return None
    low, high = (mean + margin) / error, (margin - mean) / error
    return float(max(stats.t.sf(low, df), stats.t.sf(high, df)))


def standard_error(sd: float, n: int) -> float:
    """Of a mean of n independent values."""
    return sd / math.sqrt(n)
