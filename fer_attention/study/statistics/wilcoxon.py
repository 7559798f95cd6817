"""Wilcoxon's signed-rank test with its exact distribution, also where differences tie."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from fer_attention.study.statistics.checks import Numbers, rounded

EXACT = 50
"""Up to so many differences the distribution is counted out."""


def signed_rank_p(differences: Numbers) -> float | None:
    """Two-sided p of the signed-rank test (Wilcoxon 1945), for differences (N,).

    Differences of zero are dropped, as Wilcoxon did; equal sizes share their mean rank. Up to 50 remaining
    differences, p is exact: the share of the 2^n choices of signs, all equally likely, whose rank sum is at
    least as far from its mean. Beyond, the normal approximation with the variance of the ranks as they are.
    With fewer than 6 differences p cannot be below 0.05.

    Returns:
        p in (0, 1], or None where all differences are zero.
    """
    values = rounded(differences)
    values = values[values != 0]
    if not len(values):
        return None
    twice = np.rint(2 * stats.rankdata(abs(values))).astype(np.int64)  # mean ranks are halves
    total = int(twice.sum())
    far = abs(2 * int(twice[values > 0].sum()) - total)
    if len(values) > EXACT:
        return float(2 * stats.norm.sf(far / (2 * math.sqrt(float((twice.astype(float) ** 2).sum()) / 4))))
    chances = np.ones(1)
    for rank in twice:
        grown = np.zeros(len(chances) + rank)
        grown[: len(chances)] += chances / 2
        grown[rank:] += chances / 2
        chances = grown
    return min(1.0, float(chances[abs(2 * np.arange(total + 1) - total) >= far].sum()))
