"""How often one condition is ahead of another (Bouthillier et al. 2021, arXiv:2103.03098)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from fer_attention.study.statistics.bootstrap import percentile_interval
from fer_attention.study.statistics.checks import (
    DECIMALS,
    Interval,
    Numbers,
    at_least,
    between,
    numbers,
    pairs,
    rounded,
)

GAMMA = 0.75
"""The paper's threshold: an improvement that wins less often than this is not worth having."""


@dataclass(frozen=True)
class Outperforming:
    """P(A > B): the chance that a run of a is ahead of a run of b.

    The paper asks for 29 pairs. With few, the rule is rash, because the interval of n wins in n pairs is
    [1, 1]. Without any difference, a was called significantly better in 12.4 %, 3.1 %, 1.2 % and 2.3 % of
    20,000 simulated studies (normal differences, seed 0) with 3, 5, 10 and 20 pairs, where 2.5 % are meant:
    quote a t-test beside it.

    Attributes:
        n_a: Values of a.
        n_b: Values of b.
        probability: Share of the pairs in which a is larger, equal ones half.
        interval: Percentile bootstrap interval.
        confidence: Of the interval.
        gamma: What the upper end must be above to be meaningful.
        significant: Lower end above 0.5.
        meaningful: Upper end above gamma.
        verdict: The paper's decision.
    """

    n_a: int
    n_b: int
    probability: float
    interval: Interval
    confidence: float
    gamma: float
    significant: bool
    meaningful: bool
    verdict: Literal["not significant", "significant, not meaningful", "significant and meaningful"]


def probability_of_outperforming(
    a: ArrayLike,
    b: ArrayLike,
    *,
    paired: bool = True,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    gamma: float = GAMMA,
) -> Outperforming:
    """Estimate P(A > B) with a bootstrap interval and decide as Bouthillier et al. do.

    Args:
        a: Values (N,) of the condition in question; more is better.
        b: Values (M,) of its baseline. In pairs M = N, and b[i] belongs to the replication of a[i].
        paired: Whether they are pairs. Otherwise every value of a is set against every one of b, and both
            are resampled.
        confidence: Of the interval.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        gamma: The threshold of the paper.

    Raises:
        ValueError: Fewer than two values, unequal lengths of pairs, or values that are not finite.
    """
    between(confidence, "confidence")
    between(gamma, "gamma", 0.5)
    at_least(resamples, "resamples", 1)
    rng = np.random.default_rng(seed)
    if paired:
        first, second = pairs(a, b)
        probability, drawn = _paired(rounded(first - second), resamples, rng)
    else:
        first, second = numbers(a, "a", least=2), numbers(b, "b", least=2)
        probability, drawn = _unpaired(first, second, resamples, rng)
    low, high = percentile_interval(drawn, confidence)
    significant, meaningful = low > 0.5, high > gamma
    return Outperforming(
        n_a=len(first),
        n_b=len(second),
        probability=probability,
        interval=(low, high),
        confidence=confidence,
        gamma=gamma,
        significant=significant,
        meaningful=meaningful,
        verdict="not significant"
        if not significant
        else "significant and meaningful"
        if meaningful
        else "significant, not meaningful",
    )


def _paired(differences: Numbers, resamples: int, rng: np.random.Generator) -> tuple[float, Numbers]:
    """Only how many pairs are won, even and lost matters, so these counts are drawn."""
    n = len(differences)
    counts = np.array([(differences > 0).sum(), (differences == 0).sum(), (differences < 0).sum()])
    worth = np.array([1.0, 0.5, 0.0])
    return float(counts @ worth / n), rng.multinomial(n, counts / n, size=resamples) @ worth / n


def _unpaired(a: Numbers, b: Numbers, resamples: int, rng: np.random.Generator) -> tuple[float, Numbers]:
    """Mann and Whitney's U over n m; a resample is how often each value is in it."""
    a, b = np.sort(np.round(a, DECIMALS)), np.sort(np.round(b, DECIMALS))
    wins = (np.sign(a[:, None] - b[None, :]) + 1) / 2
    times_a = rng.multinomial(len(a), np.full(len(a), 1 / len(a)), size=resamples)
    times_b = rng.multinomial(len(b), np.full(len(b), 1 / len(b)), size=resamples)
    drawn = ((times_a @ wins) * times_b).sum(axis=1) / (len(a) * len(b))
    return float(wins.mean()), drawn
